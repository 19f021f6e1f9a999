"""What happens when somebody acts at the very moment at which a plan or a rollback ends."""

from functools import partial

import pytest

from batches.models import Rollback, TenantUpgrade
from batches.rollback import ending, rollback
from batches.rollout import control, progress
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Adjustment, Event, Plan, PlanRevision, PlanTenant
from plans.refusal import Refused
from plans.trail import events
from tests.builders import (
    FOREST,
    a_started,
    check_invariants,
    kinds,
    opened,
    passed,
    soaking,
)
from tests.postgres.at_once import at_once, lost, won
from tests.use_cases.adjusted import change, three_waves
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)
CROWD = 8


def state_of(plan):
    return str(Plan.objects.get(pk=plan.pk).state)


def seq_of(plan, kind):
    """Return where in the plan's trail the one event of a kind stands."""
    (seq,) = Event.objects.filter(stream__key=plan.stream_key, kind=kind).values_list(
        "seq", flat=True
    )
    return seq


def taking_back(plan, by, **more):
    return partial(
        rollback.request_rollback,
        plan_id=plan.pk, by=by, reason="", now=now(), via="page", **more,
    )  # fmt: skip


def completing(plan):
    return partial(progress.complete, plan_id=plan.pk, now=now())


def finishing(record):
    return partial(ending.finish, rollback_id=record.pk, now=now())


def about_to_complete(scene):
    plan = a_started(scene)
    passed(plan, 1)
    passed(plan, 2)
    return plan


def back_again(scene, *, scope="plan"):
    """Return a plan whose rollback has restored everybody and is about to be closed."""
    plan = a_started(scene)
    passed(plan, 1)
    soaking(plan, 2)
    record = taking_back(plan, scene.olga, scope=scope)()
    restored = rollback.in_scope(record).filter(touched_at__isnull=False)
    restored.update(state="rolled_back", restored_at=now(), observed_at=now())
    return plan, record


# A plan completes.


def test_a_rollback_is_accepted_at_the_moment_at_which_the_plan_completes(scene):
    plan = about_to_complete(scene)
    results = at_once(taking_back(plan, scene.olga), *[completing(plan)] * CROWD)
    lost(results, Refused)
    assert isinstance(results[0], Rollback), results[0]
    assert state_of(plan) == "rolling_back"
    assert results[0].touched == len(FOREST)
    if "plan_completed" in kinds(plan):
        assert seq_of(plan, "plan_completed") < seq_of(plan, "rollback_begun")
    assert events.check_chain(plan.stream_key).intact


def test_a_plan_completes_once_or_is_paused(scene):
    plan = about_to_complete(scene)
    pausing = partial(
        control.pause, plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page"
    )
    results = at_once(pausing, *[completing(plan)] * CROWD)
    lost(results, Refused)
    assert kinds(plan).count("plan_completed") + kinds(plan).count("plan_paused") == 1
    ended = "plan_completed" in kinds(plan)
    assert state_of(plan) == ("completed" if ended else "paused")
    reserved = PlanTenant.objects.filter(plan=plan, reserved=True).count()
    assert reserved == (0 if ended else len(FOREST))
    assert events.check_chain(plan.stream_key).intact


# A rollback ends.


def test_a_rollback_ends_once_whoever_asks_again_meanwhile(scene):
    plan, record = back_again(scene)
    again = taking_back(plan, scene.olga)
    results = at_once(*[finishing(record)] * CROWD, *[again] * CROWD)
    refused = {one.code for one in lost(results, Refused)}
    assert refused <= {"rollback_ended", "not_possible_now"}
    assert len(won(results[:CROWD])) == 1
    assert {one.pk for one in won(results[CROWD:])} <= {record.pk}
    assert Rollback.objects.filter(plan=plan).count() == 1
    assert state_of(plan) == "rolled_back"
    assert kinds(plan).count("rollback_finished") == 1
    assert events.check_chain(plan.stream_key).intact


def test_the_whole_plan_goes_back_although_a_part_of_it_ends_at_that_moment(scene):
    plan, part = back_again(scene, scope="batch")
    whole, *ends = at_once(taking_back(plan, scene.olga), *[finishing(part)] * CROWD)
    lost(ends, Refused)
    assert isinstance(whole, Rollback), whole
    assert (whole.scope, state_of(plan)) == ("plan", "rolling_back")
    part = Rollback.objects.get(pk=part.pk)
    assert part.finished_at is not None
    # Either it ended or it was widened: its record says one of both.
    assert kinds(plan).count("rollback_finished") == (0 if "widened" in part.sentence else 1)
    assert Rollback.objects.filter(plan=plan, finished_at=None).get() == whole
    left = TenantUpgrade.objects.filter(plan=plan, state="upgraded").count()
    assert whole.touched == left > 0


# A batch ends.


def test_the_soak_of_a_batch_passes_once_and_the_next_one_opens_once(scene):
    plan = a_started(scene)
    first = soaking(plan)
    passing = partial(progress.pass_soak, batch_id=first.pk, why="", now=now())
    results = at_once(*[passing] * CROWD)
    assert len(won(results)) == 1
    assert len(lost(results, Refused)) == CROWD - 1
    results = at_once(*[partial(opened, plan, 2)] * CROWD)
    assert len(won(results)) == 1
    assert len(lost(results, Refused)) == CROWD - 1
    assert kinds(plan).count("batch_passed") == 1
    assert kinds(plan).count("batch_opened") == 2
    assert events.check_chain(plan.stream_key).intact


def test_a_plan_is_resumed_once_or_goes_back(scene):
    plan = a_started(scene)
    soaking(plan)
    control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    resuming = partial(control.resume, plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    results = at_once(taking_back(plan, scene.mara), *[resuming] * CROWD)
    lost(results, Refused)
    assert isinstance(results[0], Rollback), results[0]
    assert state_of(plan) == "rolling_back"
    assert kinds(plan).count("plan_resumed") <= 1
    if "plan_resumed" in kinds(plan):
        assert seq_of(plan, "plan_resumed") < seq_of(plan, "rollback_begun")


# A running plan is changed.


def test_of_tightenings_at_once_the_tightest_is_in_force_and_looser_ones_wait(scene):
    plan = a_started(scene, policy=three_waves())
    numbers = (4, 3, 2, 1)
    results = at_once(
        *[partial(change, scene, plan, guardrails={"error_rate": number}) for number in numbers]
    )
    lost(results, Refused)
    assert len(won(results)) == len(numbers)
    revision = current_revision(Plan.objects.get(pk=plan.pk))
    assert policy_of(revision).guardrails[0].at_most == 1
    made = PlanRevision.objects.filter(plan=plan).order_by("number")
    assert list(made.values_list("number", flat=True)) == list(range(1, 2 + len(numbers)))
    assert Adjustment.objects.filter(plan=plan, state=Adjustment.WAITING).count() <= 1
    check_invariants(plan)
