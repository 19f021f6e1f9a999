"""REST: plans are approved, run and taken back; each act once, and by whom it may be."""

import pytest
from rest_framework.test import APIClient

from batches.models import Batch, Rollback
from plans.models import Event
from tests.web.api_scene import (
    Scene,
    approved,
    configure,
    handed_in,
    post,
    started,
    touched,
    url,
)

pytestmark = pytest.mark.django_db
ROLL_BACK = "/internal/version/upgrade/rollback"


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


def test_both_roles_approve_and_the_trail_says_through_which_door(scene):
    plan = approved(scene)
    assert str(plan.state) == "approved"
    assert Event.objects.filter(kind="plan_approved", via="api").count() == 1


def test_the_command_line_is_a_door_of_its_own(scene):
    handed_in(scene)
    cli = scene.client(scene.aram)
    cli.post(url("approve"), {}, format="json", HTTP_USER_AGENT="powerx/0.1.0")
    assert Event.objects.filter(kind="approval_given", via="cli").exists()


def test_nobody_approves_twice_or_without_the_role(scene):
    handed_in(scene)
    aram = scene.client(scene.aram)
    given = post(aram, url("approve"), {"comment": "fine"})
    assert given.json()["possible"] == []
    twice = post(aram, url("approve"))
    assert (twice.status_code, twice.json()["code"]) == (409, "already_decided")
    assert post(scene.client(scene.olga), url("approve")).status_code == 403


def test_a_rejection_needs_its_reason(scene):
    handed_in(scene)
    aram = scene.client(scene.aram)
    assert post(aram, url("reject")).status_code == 400
    assert post(aram, url("reject"), {"reason": "late"}).json()["state"] == "rejected"


def test_a_draft_is_submitted_once(scene):
    handed_in(scene, submit=False)
    mara = scene.client(scene.mara)
    assert post(mara, url("submit")).json()["state"] == "awaiting_approval"
    assert post(mara, url("submit")).status_code == 409
    assert post(scene.client(scene.rita), url("submit")).status_code == 403


def test_a_plan_is_cancelled_before_it_starts(scene):
    handed_in(scene)
    assert post(scene.client(scene.olga), url("cancel")).status_code == 403
    mara = scene.client(scene.mara)
    assert post(mara, url("cancel"), {"reason": "no need"}).json()["state"] == "cancelled"
    assert post(mara, url("cancel")).status_code == 409


def test_an_approved_plan_starts_once(scene):
    approved(scene)
    olga = scene.client(scene.olga)
    assert post(scene.client(scene.rita), url("start")).status_code == 403
    told = post(olga, url("start")).json()
    assert told["state"] == "running"
    assert [batch["name"] for batch in told["batches"]] == ["canary", "rest"]
    assert post(olga, url("start")).status_code == 409


def test_a_plan_that_is_not_approved_does_not_start(scene):
    handed_in(scene)
    assert post(scene.client(scene.olga), url("start")).status_code == 409


def test_pausing_twice_is_one_pause_and_resuming_goes_on(scene):
    started(scene)
    olga = scene.client(scene.olga)
    first = post(olga, url("pause"), {"reason": "odd graphs"}).json()
    second = post(olga, url("pause"))
    assert second.status_code == 200
    assert second.json()["pause_deadline"] == first["pause_deadline"]
    assert Event.objects.filter(kind="plan_paused").count() == 1
    assert post(scene.client(scene.rita), url("pause")).status_code == 403
    assert post(olga, url("resume"), {"reason": "false alarm"}).json()["state"] == "running"
    assert Event.objects.filter(sentence__contains="false alarm").exists()
    assert post(olga, url("resume")).status_code == 409


def test_a_pause_from_an_old_page_of_a_plan_that_rolls_back_is_no_error(scene):
    plan = started(scene)
    touched(plan)
    olga = scene.client(scene.olga)
    post(olga, url("rollback"))
    answer = post(olga, url("pause"))
    assert (answer.status_code, answer.json()["state"]) == (200, "rolling_back")


def test_a_held_batch_goes_on_by_resume(scene):
    plan = started(scene)
    touched(plan)
    batch = Batch.objects.get(plan=plan, state="deploying")
    batch.move("hold")
    batch.held_from = "deploying"
    batch.save()
    olga = scene.client(scene.olga)
    assert "resume" in olga.get(url()).json()["possible"]
    assert post(olga, url("resume"), {"reason": "seen"}).status_code == 200
    assert str(Batch.objects.get(pk=batch.pk).state) == "deploying"


def test_promoting_opens_a_manual_gate_once(scene):
    plan = started(scene)
    Batch.objects.filter(plan=plan, number=1).update(advance="manual")
    olga = scene.client(scene.olga)
    assert "promote" in olga.get(url()).json()["possible"]
    assert post(scene.client(scene.rita), url("promote")).status_code == 403
    assert post(olga, url("promote")).status_code == 200
    assert Batch.objects.get(plan=plan, number=1).promoted_by == scene.olga
    assert post(olga, url("promote")).json()["code"] == "already_promoted"


def test_a_rollback_is_accepted_and_asking_again_is_the_same_rollback(scene):
    plan = started(scene)
    touched(plan)
    olga = scene.client(scene.olga)
    first = post(olga, url("rollback"), {"reason": "errors"})
    assert first.status_code == 202
    assert first.json()["plan"] == str(plan.pk)
    assert first.json()["touched"] == 1
    by_name = post(olga, ROLL_BACK, {"external_id": "pay-7", "reason": "errors"})
    assert (by_name.status_code, by_name.json()) == (202, first.json())
    assert Rollback.objects.count() == 1


def test_a_rollback_names_its_plan_by_one_name_only(scene):
    started(scene)
    olga = scene.client(scene.olga)
    assert post(olga, ROLL_BACK, {"reason": "x"}).status_code == 400
    both = {"plan": "pay-7", "external_id": "pay-7", "reason": "x"}
    assert post(olga, ROLL_BACK, both).status_code == 400
    assert olga.get(ROLL_BACK).status_code == 405


def test_a_rollback_of_some_tenants_names_those_of_the_plan(scene):
    plan = started(scene)
    touched(plan)
    olga = scene.client(scene.olga)
    wrong = post(olga, url("rollback"), {"tenants": ["elm"]})
    assert wrong.status_code == 422
    assert "elm" in wrong.json()["errors"][0]["detail"]
    two = {"tenants": ["acorn"], "scope": "batch"}
    assert post(olga, url("rollback"), two).status_code == 400


def test_a_rollback_needs_the_right_and_something_to_take_back(scene):
    handed_in(scene)
    assert post(scene.client(scene.rita), url("rollback")).status_code == 403
    early = post(scene.client(scene.olga), url("rollback"))
    assert early.status_code == 409
    assert early.json()["possible"] == ["approve", "reject", "cancel"]


@pytest.mark.parametrize(
    "act", ["submit", "approve", "reject", "start", "pause", "resume", "promote", "rollback",
            "cancel"],
)  # fmt: skip
def test_every_act_is_a_post_and_to_a_stranger_the_plan_is_not_there(scene, act):
    handed_in(scene)
    answer = scene.client(scene.mara).get(url(act))
    assert answer.status_code == 405
    assert answer.json()["code"] == "method_not_allowed"
    given = {"reason": "x"} if act == "reject" else {}
    assert post(scene.client(scene.nils), url(act), given).status_code == 404
    assert post(APIClient(), url(act), given).status_code == 401
