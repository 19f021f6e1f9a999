"""REST: retry, exclude, skip, unskip, jump, stop, settle; each once, and by whom it may be."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from batches.models import Batch, TenantUpgrade
from plans.models import Plan
from tests.web.api_scene import Scene, configure, handed_in, now, post, started, touched, url

pytestmark = pytest.mark.django_db
BODIES: dict[str, dict[str, Any]] = {
    "retry": {},
    "exclude": {"tenants": ["acorn"], "reason": "x"},
    "skip": {"batch": 2, "reason": "x"},
    "unskip": {"batch": 2},
    "jump": {"batch": 2, "reason": "x"},
    "skip-rest": {"reason": "x"},
    "settle": {"tenants": ["acorn"], "outcome": "excluded", "reason": "x"},
}


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture
def plan(scene) -> Plan:
    """Return a running plan whose first batch calls its one tenant."""
    plan = started(scene)
    touched(plan)
    return plan


def key_in(plan: Plan, number: int) -> str:
    found = TenantUpgrade.objects.filter(plan=plan, batch__number=number).first()
    assert found is not None
    return found.tenant_key


def quarantine(plan: Plan) -> str:
    key = key_in(plan, 1)
    TenantUpgrade.objects.filter(tenant_key=key).update(
        state="rolled_back",
        exhausted_at=now(),
        set_aside="quarantined",
        set_aside_why="503 of the node",
    )
    return key


@pytest.mark.parametrize("act", BODIES)
def test_every_act_is_a_post_and_to_a_stranger_the_plan_is_not_there(scene, act):
    handed_in(scene)
    assert scene.client(scene.mara).get(url(act)).status_code == 405
    assert post(scene.client(scene.nils), url(act), BODIES[act]).status_code == 404
    assert post(APIClient(), url(act), BODIES[act]).status_code == 401


@pytest.mark.parametrize("act", BODIES)
def test_an_auditor_does_nothing_of_it(scene, plan, act):
    assert post(scene.client(scene.rita), url(act), BODIES[act]).status_code == 403


@pytest.mark.parametrize("act", ["exclude", "skip", "jump", "skip-rest", "settle"])
def test_what_goes_on_without_somebody_needs_its_reason(scene, plan, act):
    body = {name: value for name, value in BODIES[act].items() if name != "reason"}
    answer = post(scene.client(scene.olga), url(act), body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "reason"


@pytest.mark.parametrize("act", BODIES)
def test_a_member_that_nobody_reads_is_refused_by_name(scene, plan, act):
    answer = post(scene.client(scene.olga), url(act), BODIES[act] | {"force": True})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "force")


@pytest.mark.parametrize("act", ["retry", "exclude", "skip", "jump", "skip-rest"])
def test_a_plan_that_has_not_started_says_what_is_possible(scene, act):
    handed_in(scene)
    answer = post(scene.client(scene.olga), url(act), BODIES[act])
    assert (answer.status_code, answer.json()["code"]) == (409, "not_possible_now")
    assert "awaiting approval" in answer.json()["detail"]


def test_the_failed_are_called_again_once(scene, plan):
    key = quarantine(plan)
    olga = scene.client(scene.olga)
    assert "retry" in olga.get(url()).json()["possible"]
    answer = post(olga, url("retry"), {"tenants": [key], "reason": "mended"})
    assert answer.status_code == 200
    assert answer.json()["counts"]["pending"] == 3
    assert "retry" not in answer.json()["possible"]
    again = post(olga, url("retry"), {"tenants": [key]})
    assert (again.status_code, again.json()["code"]) == (409, "nothing_failed")
    assert "(Olga, " in again.json()["detail"]


def test_the_list_of_tenants_tells_who_is_in_quarantine_and_why(scene, plan):
    key = quarantine(plan)
    olga = scene.client(scene.olga)
    (row,) = olga.get(url("tenants"), {"quarantined": "true"}).json()["results"]
    assert (row["tenant"], row["set_aside"], row["set_aside_why"]) == (
        key,
        "quarantined",
        "503 of the node",
    )
    others = olga.get(url("tenants"), {"quarantined": "false"}).json()["results"]
    assert key not in {row["tenant"] for row in others}


def test_a_tenant_is_left_out_once(scene, plan):
    olga, key = scene.client(scene.olga), key_in(plan, 2)
    body = {"tenants": [key], "reason": "asked us to wait"}
    assert post(olga, url("exclude"), body).json()["counts"]["excluded"] == 1
    again = post(olga, url("exclude"), body)
    assert (again.status_code, again.json()["code"]) == (409, "already_excluded")
    assert post(olga, url("exclude"), body | {"tenants": ["oak"]}).status_code == 422


def test_a_batch_is_skipped_and_brought_back(scene, plan):
    olga = scene.client(scene.olga)
    assert "skip" in olga.get(url()).json()["possible"]
    told = post(olga, url("skip"), BODIES["skip"]).json()
    assert [batch["state"] for batch in told["batches"]] == ["deploying", "skipped"]
    assert "unskip" in told["possible"]
    twice = post(olga, url("skip"), BODIES["skip"])
    assert (twice.status_code, twice.json()["code"]) == (409, "already_skipped")
    told = post(olga, url("unskip"), BODIES["unskip"]).json()
    assert [batch["state"] for batch in told["batches"]] == ["deploying", "pending"]
    assert post(olga, url("unskip"), BODIES["unskip"]).json()["code"] == "not_skipped"


def test_one_jumps_over_what_lies_before(scene):
    plan = started(scene)
    olga = scene.client(scene.olga)
    assert "jump" in olga.get(url()).json()["possible"]
    told = post(olga, url("jump"), BODIES["jump"]).json()
    assert [batch["state"] for batch in told["batches"]] == ["skipped", "pending"]
    assert post(olga, url("jump"), BODIES["jump"]).json()["code"] == "already_next"
    assert Batch.objects.filter(plan=plan, state="skipped").count() == 1


def test_a_rollout_ends_where_it_stands(scene, plan):
    olga = scene.client(scene.olga)
    told = post(olga, url("skip-rest"), BODIES["skip-rest"]).json()
    assert told["counts"] == {"upgraded": 1, "excluded": 2}
    assert post(olga, url("skip-rest"), BODIES["skip-rest"]).json()["code"] == "nothing_waits"


def test_a_tenant_that_needs_a_hand_is_settled_once(scene, plan):
    key = key_in(plan, 1)
    TenantUpgrade.objects.filter(tenant_key=key).update(state="needs_hand")
    olga = scene.client(scene.olga)
    assert "settle" in olga.get(url()).json()["possible"]
    body = {"tenants": [key], "outcome": "rolled_back", "reason": "looked at it"}
    assert post(olga, url("settle"), body).json()["counts"]["rolled_back"] == 1
    assert post(olga, url("settle"), body).json()["code"] == "not_waiting"


def test_a_promotion_names_the_batch_that_was_seen(scene):
    plan = started(scene)
    Batch.objects.filter(plan=plan).update(advance="manual")
    olga = scene.client(scene.olga)
    early = post(olga, url("promote"), {"batch": 2})
    assert (early.status_code, early.json()["code"]) == (409, "not_at_the_gate")
    assert "batch 1 comes next" in early.json()["detail"]
    assert post(olga, url("promote"), {"batch": 1}).status_code == 200
    late = post(scene.client(scene.mara), url("promote"), {"batch": 1})
    assert late.json()["code"] == "already_promoted"
    assert "Olga has promoted batch 1" in late.json()["detail"]
    assert post(olga, url("promote"), {"batch": 9}).status_code == 422


def test_a_token_for_reading_does_nothing_of_it(scene, plan):
    reader = scene.client(scene.olga, scopes=("read",))
    operator = scene.client(scene.olga, scopes=("operate",))
    assert post(reader, url("skip"), BODIES["skip"]).status_code == 403
    assert post(operator, url("skip"), BODIES["skip"]).status_code == 200
