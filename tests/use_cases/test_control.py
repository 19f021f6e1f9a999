"""Pause, resume, hold, release and promote: what a person does to a running plan."""

from datetime import timedelta

import pytest

from batches.models import Batch
from batches.rollout import control, going_on, launch, progress
from plans.models import Plan
from plans.models.driven import NotPossibleNow
from plans.refusal import NotAllowed, Refused
from tests.builders import a_started, kinds, opened, passed, policy_text, soaking
from tests.web.api_scene import now


def later(seconds: float):
    return now() + timedelta(seconds=seconds)


def pause(scene, plan, at=None) -> Plan:
    return control.pause(
        plan_id=plan.pk, by=scene.olga, reason="a call came in", now=at or now(), via="page"
    )


def resume(scene, plan, at=None) -> Plan:
    return control.resume(plan_id=plan.pk, by=scene.olga, now=at or now(), via="page")


def the_batch(plan, number=1) -> Batch:
    return Batch.objects.get(plan=plan, number=number)


def test_a_pause_sets_its_two_clocks_and_outdates_every_claim(scene):
    plan = a_started(scene)
    at = now()
    paused = pause(scene, plan, at)
    assert str(paused.state) == "paused"
    assert paused.resume_by == at + timedelta(seconds=60)
    assert paused.pause_deadline == at + timedelta(seconds=180)
    assert paused.epoch == plan.epoch + 1


def test_pausing_twice_is_the_same_pause(scene):
    plan = a_started(scene)
    first = pause(scene, plan)
    again = pause(scene, plan, later(30))
    assert (again.resume_by, again.epoch) == (first.resume_by, first.epoch)
    assert kinds(plan).count("plan_paused") == 1


def test_the_soak_clock_stands_still_while_paused(scene):
    plan = a_started(scene)
    soaking(plan)
    pause(scene, plan, later(20))
    assert 39 < the_batch(plan).soak_left < 41
    assert the_batch(plan).soak_counted_at is None
    resume(scene, plan, later(50))
    assert 39 < the_batch(plan).soak_left < 41
    assert the_batch(plan).soak_counted_at is not None


def test_a_resume_takes_the_clocks_away_and_hands_the_calls_out_again(scene):
    plan = a_started(scene)
    opened(plan)
    pause(scene, plan)
    at = later(30)
    resumed = resume(scene, plan, at)
    assert (str(resumed.state), resumed.resume_by, resumed.pause_deadline) == (
        "running",
        None,
        None,
    )
    assert the_batch(plan).handed_out_at == at


def test_a_plan_that_does_not_run_cannot_be_paused_or_resumed(scene):
    plan = a_started(scene)
    with pytest.raises(NotPossibleNow, match="running") as refused:
        resume(scene, plan)
    assert "pause" in refused.value.possible


def test_an_auditor_pauses_nothing(scene):
    plan = a_started(scene)
    with pytest.raises(NotAllowed, match="pause plans"):
        control.pause(plan_id=plan.pk, by=scene.rita, reason="", now=now(), via="page")


def test_no_batch_opens_in_a_paused_plan(scene):
    plan = a_started(scene)
    pause(scene, plan)
    with pytest.raises(Refused, match="only while its plan runs"):
        launch.open_batch(batch_id=the_batch(plan).pk, now=now())


def hold(batch, kind="missing_metrics", at=None) -> Batch:
    return control.hold(batch_id=batch.pk, kind=kind, reason="no data", now=at or now())


def release(scene, plan, at=None) -> Plan:
    return control.release_hold(
        plan_id=plan.pk, by=scene.olga, reason="seen it", now=at or now(), via="page"
    )


@pytest.mark.parametrize("state", ["deploying", "soaking"])
def test_a_held_batch_goes_back_to_where_it_was(scene, state):
    plan = a_started(scene)
    batch = opened(plan) if state == "deploying" else soaking(plan)
    hold(batch)
    assert str(the_batch(plan).state) == "held"
    release(scene, plan)
    assert str(the_batch(plan).state) == state


def test_a_hold_outdates_every_claim_and_stops_the_soak_clock(scene):
    plan = a_started(scene)
    hold(soaking(plan), at=later(25))
    assert Plan.objects.get(pk=plan.pk).epoch == plan.epoch + 1
    assert 34 < the_batch(plan).soak_left < 36
    release(scene, plan, later(500))
    assert 34 < the_batch(plan).soak_left < 36


def test_holding_twice_is_the_same_hold(scene):
    plan = a_started(scene)
    batch = opened(plan)
    hold(batch)
    hold(batch, "batch_overrun")
    assert the_batch(plan).held_kind == "missing_metrics"


def test_what_a_person_let_pass_is_written_down(scene):
    plan = a_started(scene)
    hold(opened(plan))
    at = later(10)
    release(scene, plan, at)
    assert the_batch(plan).acknowledged == {"missing_metrics": at.isoformat()}
    assert the_batch(plan).held_kind == ""


def test_nothing_held_is_nothing_to_release(scene):
    with pytest.raises(Refused, match="No batch is held"):
        release(scene, a_started(scene))


def test_a_hold_that_is_released_in_a_pause_does_not_start_the_soak_clock(scene):
    plan = a_started(scene)
    hold(soaking(plan))
    pause(scene, plan)
    release(scene, plan)
    assert the_batch(plan).soak_counted_at is None
    resume(scene, plan)
    assert the_batch(plan).soak_counted_at is not None


def test_going_on_ends_a_pause_and_a_hold_at_once(scene):
    plan = a_started(scene)
    hold(soaking(plan))
    pause(scene, plan)
    going_on.go_on(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    assert str(Plan.objects.get(pk=plan.pk).state) == "running"
    assert str(the_batch(plan).state) == "soaking"


def gated(scene) -> Plan:
    return a_started(scene, policy=policy_text(more="advance: manual"))


def promote(scene, plan) -> Plan:
    return control.promote(plan_id=plan.pk, by=scene.olga, now=now(), via="page")


def test_a_promotion_is_for_the_next_batch_only(scene):
    plan = gated(scene)
    promote(scene, plan)
    assert the_batch(plan, 1).promoted_by == scene.olga
    assert the_batch(plan, 2).promoted_at is None


def test_promoting_twice_tells_who_was_first(scene):
    plan = gated(scene)
    promote(scene, plan)
    with pytest.raises(Refused, match=r"Olga has promoted batch 1") as refused:
        promote(scene, plan)
    assert refused.value.code == "already_promoted"


def test_a_batch_without_a_gate_is_not_promoted(scene):
    with pytest.raises(Refused, match="begins by itself"):
        promote(scene, a_started(scene))


def test_a_paused_plan_is_not_promoted(scene):
    plan = gated(scene)
    pause(scene, plan)
    with pytest.raises(Refused, match=r"paused \(Olga, .*for a plan that is running"):
        promote(scene, plan)


def test_after_the_last_batch_nothing_waits_at_a_gate(scene):
    plan = a_started(scene)
    passed(plan, 1)
    passed(plan, 2)
    with pytest.raises(Refused, match="No batch waits"):
        promote(scene, plan)


def test_what_a_plan_waits_for_is_said_once_per_reason(scene):
    plan = a_started(scene)
    for sentence in ("the window opens at 22:00", "the window opens at 22:00", "a person"):
        progress.say_waiting(plan_id=plan.pk, sentence=sentence, now=now())
    assert kinds(plan).count("plan_waits") == 2
    progress.stop_waiting(plan_id=plan.pk)
    assert Plan.objects.get(pk=plan.pk).waiting_for == ""


def test_a_paused_plan_does_not_say_any_more_what_it_waited_for(scene):
    plan = a_started(scene)
    progress.say_waiting(plan_id=plan.pk, sentence="the window opens at 22:00", now=now())
    pause(scene, plan)
    assert Plan.objects.get(pk=plan.pk).waiting_for == ""
