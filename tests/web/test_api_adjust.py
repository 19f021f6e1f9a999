"""REST: a running plan is changed, previewed, approved, and changed by handing it in again."""

from datetime import timedelta
from typing import Any

import pytest

from batches.rollout import control
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Adjustment, Plan
from plans.policies.keeping import save_policy_text
from tests.live.live_scene import upgraded
from tests.use_cases.adjusted import looked, read_back
from tests.web.api_scene import (
    HAND_IN,
    POLICY_TEXT,
    Scene,
    body,
    configure,
    handed_in,
    now,
    post,
    started,
    url,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(settings: Any, tmp_path: Any) -> Scene:
    configure(settings, tmp_path)
    return Scene()


def adjusted(scene: Scene, given: dict[str, Any], who: str = "mara", query: str = "") -> Any:
    client = scene.client(getattr(scene, who))
    return post(client, url(f"adjust{query}"), {"reason": "OPS-7"} | given)


def limit_now() -> float | None:
    return policy_of(current_revision(Plan.objects.get())).guardrails[0].at_most


TIGHT, LOOSE = {"guardrails": {"error_rate": 2}}, {"guardrails": {"error_rate": 9}}


def test_what_is_tighter_is_answered_as_applied(scene):
    started(scene)
    answer = adjusted(scene, TIGHT)
    assert answer.status_code == 200
    told = answer.json()
    assert told["revision"] == 2
    assert told["adjustment"]["waiting_for_approval"] == []
    assert told["adjustment"]["request"] is None
    [applied] = told["adjustment"]["applied"]
    assert applied == {
        "path": "guardrails.error_rate.limit",
        "direction": "tighter",
        "sentence": "error_rate: at most 5 % → at most 2 %: tighter",
    }
    assert limit_now() == 2


def test_what_is_looser_is_accepted_and_approved_over_the_same_door(scene):
    started(scene)
    answer = adjusted(scene, LOOSE | {"expires_in_minutes": 30})
    assert answer.status_code == 202
    request = answer.json()["adjustment"]["request"]
    assert (request["roles"], request["revision"]) == (["system_admin", "role_admin"], 2)
    assert "approve" in scene.client(scene.aram).get(url()).json()["possible"]
    assert "approve" not in scene.client(scene.mara).get(url()).json()["possible"]
    assert post(scene.client(scene.aram), url("approve")).status_code == 200
    assert limit_now() == 5
    assert post(scene.client(scene.sona), url("approve")).status_code == 200
    assert limit_now() == 9
    done = Adjustment.objects.get()
    assert done.expires_at - done.applied_at == timedelta(minutes=30)
    assert post(scene.client(scene.sona), url("approve")).status_code == 409


def test_a_rejected_loosening_leaves_the_plan_as_it_is(scene):
    started(scene)
    adjusted(scene, LOOSE)
    answer = post(scene.client(scene.aram), url("reject"), {"reason": "no"})
    assert answer.status_code == 200
    assert answer.json()["state"] == "running"
    assert limit_now() == 5


def test_a_preview_writes_nothing_and_says_that_the_plan_would_go_back(scene):
    plan = upgraded(scene)
    read_back(plan)
    looked(plan, 3, 3, 3, end=now() + timedelta(seconds=20))
    answer = adjusted(scene, TIGHT | {"limits": {"failure_rate": 9}}, query="?preview=1")
    assert answer.status_code == 200
    told = answer.json()
    assert told["problems"] == []
    assert "would roll the plan back at the next look" in told["warnings"][0]
    [rail] = told["guardrails"]
    assert (rail["verdict"], rail["failed"], rail["looks"]) == ("breached", 3, 3)
    assert rail["at_next_look"] == "rollback"
    assert [c["path"] for c in told["waiting_for_approval"]] == ["limits.failure_rate"]
    assert [b["after"] for b in told["batches"]] == [1, 2]
    assert Plan.objects.get().revision == 1
    assert not Adjustment.objects.exists()


def test_a_preview_says_what_is_wrong(scene):
    started(scene)
    told = adjusted(scene, {"limits": {"rollback_seconds": 200}}, query="?preview=1").json()
    assert "limits.rollback_seconds" in told["problems"][0]


@pytest.mark.parametrize("who", ["olga", "aram", "rita"])
def test_only_release_managers_adjust(scene, who):
    started(scene)
    assert adjusted(scene, TIGHT, who).status_code == 403
    assert adjusted(scene, TIGHT, who, "?preview=1").status_code == 403
    assert limit_now() == 5


def test_a_stranger_sees_no_plan_and_a_get_is_refused(scene):
    started(scene)
    assert adjusted(scene, TIGHT, "nils").status_code == 404
    assert scene.client(scene.mara).get(url("adjust")).status_code == 405


def test_a_token_for_operators_does_not_reach_it(scene):
    started(scene)
    narrow = scene.client(scene.mara, scopes=("operate",))
    assert post(narrow, url("adjust"), TIGHT | {"reason": "x"}).status_code == 403
    wide = scene.client(scene.mara, scopes=("plan",))
    assert post(wide, url("adjust"), TIGHT | {"reason": "x"}).status_code == 200


def test_a_plan_that_does_not_run_is_not_adjusted(scene):
    handed_in(scene)
    answer = adjusted(scene, TIGHT)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_adjustable")


@pytest.mark.parametrize(
    ("given", "status", "named"),
    [
        ({"guardrail": {"error_rate": 2}}, 400, "guardrail"),
        ({"guardrails": {"error_rate": {"at_mots": 2}}}, 422, "at_mots"),
        (TIGHT | {"reason": ""}, 422, "reason"),
        (TIGHT | {"expires_in_minutes": -1}, 422, "expires_in_minutes"),
        (LOOSE | {"expires_in_minutes": 5, "expires_at": "2031-01-01T00:00:00Z"}, 400, "not both"),
        ({}, 422, "write either"),
    ],
)
def test_bad_input_is_named(scene, given, status, named):
    started(scene)
    answer = adjusted(scene, given)
    assert answer.status_code == status
    assert named in answer.content.decode()


def test_asking_for_the_same_again_is_the_same_request(scene):
    started(scene)
    first, again = adjusted(scene, LOOSE), adjusted(scene, LOOSE)
    assert again.json()["adjustment"] == first.json()["adjustment"]
    assert Adjustment.objects.count() == 1


def newer_policy(change: tuple[str, str]) -> None:
    text = POLICY_TEXT.replace(*change)
    save_policy_text(text=text, source="test", by=None, now=now(), via="command")


def test_handing_a_running_plan_in_again_adjusts_it_to_the_newest_text(scene):
    started(scene)
    newer_policy(("error_rate: 5", "error_rate: 3"))
    answer = post(scene.client(scene.mara), HAND_IN, body())
    assert answer.status_code == 200
    told = answer.json()
    assert (told["state"], told["revision"]) == ("running", 2)
    assert [change["direction"] for change in told["adjustment"]["applied"]] == ["tighter"]
    assert [batch["tenants"] for batch in told["batches"]] == [1, 2]
    again = post(scene.client(scene.mara), HAND_IN, body())
    assert (again.status_code, again.json()["revision"]) == (200, 2)
    assert "adjustment" not in again.json()


def test_a_looser_text_is_accepted_and_waits_and_can_be_sent_again(scene):
    started(scene)
    newer_policy(("error_rate: 5", "error_rate: 8"))
    for _time in range(2):
        answer = post(scene.client(scene.mara), HAND_IN, body())
        assert answer.status_code == 202
        assert answer.json()["adjustment"]["waiting_for_approval"][0]["direction"] == "looser"
    assert limit_now() == 5
    assert Adjustment.objects.count() == 1


def test_another_release_is_refused_with_what_is_possible(scene):
    plan = started(scene)
    control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    answer = post(scene.client(scene.mara), HAND_IN, body(tenants=["acorn"], to_version="1.6.0"))
    assert (answer.status_code, answer.json()["code"]) == (409, "plan_runs")
    assert "another to_version and another tenants" in answer.json()["detail"]
