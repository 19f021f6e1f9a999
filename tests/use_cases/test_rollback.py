"""Taking back: from every state, once, with everybody accounted for."""

from datetime import timedelta

import pytest

from batches.models import Alert, Batch, Rollback, TenantUpgrade
from batches.rollback import ending, rollback
from batches.rollout import control, progress, settling
from plans import flags
from plans.models import Plan, PlanTenant
from plans.models.driven import NotPossibleNow
from plans.refusal import BadInput, NotAllowed, Refused
from tests.builders import (
    a_started,
    an_approved,
    called,
    kinds,
    opened,
    passed,
    policy_text,
    soaking,
    states,
)
from tests.web.api_scene import now


def take_back(scene, plan, **more) -> Rollback:
    more.setdefault("now", now())
    return rollback.request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="too many errors", via="page", **more
    )


def all_back(plan, **rows) -> None:
    """Let the effect loop's work be done."""
    TenantUpgrade.objects.filter(plan=plan, touched_at__isnull=False, **rows).exclude(
        state="needs_hand"
    ).update(state="rolled_back", restored_at=now(), observed_at=now())


def finish(record) -> Plan:
    return ending.finish(rollback_id=record.pk, now=now())


def batch_states(plan) -> list[str]:
    return [str(b.state) for b in Batch.objects.filter(plan=plan).order_by("number")]


# Begin.


def deploying(plan):
    called(opened(plan))


def held(plan):
    control.hold(batch_id=soaking(plan).pk, kind="missing_metrics", reason="", now=now())


def paused(plan):
    soaking(plan)
    control.pause(plan_id=plan.pk, by=None, reason="", now=now(), via="watch")


def completed(plan):
    passed(plan, 1)
    passed(plan, 2)
    progress.complete(plan_id=plan.pk, now=now())


def needing_a_hand(plan):
    passed(plan, 1)
    called(opened(plan, 2), "needs_hand")
    Batch.objects.filter(plan=plan, number=2).update(state="passed")
    progress.need_a_hand(plan_id=plan.pk, now=now())


@pytest.mark.parametrize(
    "bring", [deploying, soaking, held, passed, paused, completed, needing_a_hand]
)
def test_a_plan_is_taken_back_from_wherever_a_tenant_may_have_been_touched(scene, bring):
    plan = a_started(scene)
    bring(plan)
    record = take_back(scene, plan)
    assert str(Plan.objects.get(pk=plan.pk).state) == "rolling_back"
    assert record.touched == TenantUpgrade.objects.filter(touched_at__isnull=False).count() > 0
    assert "rolling_back" in batch_states(plan)


def test_a_plan_that_never_started_is_not_taken_back(scene):
    plan = an_approved(scene)
    with pytest.raises(NotPossibleNow, match="approved") as refused:
        take_back(scene, plan)
    assert "start" in refused.value.possible


def test_an_archived_plan_is_not_taken_back(scene):
    plan = a_started(scene)
    completed(plan)
    Plan.objects.filter(pk=plan.pk).update(state="archived")
    with pytest.raises(NotPossibleNow, match="archived"):
        take_back(scene, plan)


def test_asking_twice_is_the_same_rollback(scene):
    plan = a_started(scene)
    deploying(plan)
    first = take_back(scene, plan)
    assert take_back(scene, plan, now=now() + timedelta(seconds=9)) == first
    assert kinds(plan).count("rollback_begun") == 1


def test_an_auditor_takes_nothing_back(scene):
    plan = a_started(scene)
    deploying(plan)
    with pytest.raises(NotAllowed, match="roll plans back"):
        rollback.request_rollback(plan_id=plan.pk, by=scene.rita, reason="", now=now(), via="page")


def test_fault_24_switches_and_closed_windows_do_not_keep_a_person_from_it(scene):
    plan = a_started(scene)
    deploying(plan)
    for name in (flags.ROLLBACK, flags.ORCHESTRATOR, flags.POLICY):
        flags.turn(name=name, on=False, reason="", by=scene.ada, now=now(), via="page")
    assert take_back(scene, plan).finished_at is None


def test_the_clock_runs_from_the_trigger(scene):
    plan = a_started(scene)
    paused(plan)
    at = now() + timedelta(seconds=30)
    record = take_back(scene, plan, now=at)
    assert (record.clock_from, record.deadline) == (at, at + timedelta(seconds=180))


def test_the_clock_of_an_unresumed_pause_runs_from_the_pause(scene):
    plan = a_started(scene)
    paused(plan)
    at = Plan.objects.get(pk=plan.pk).paused_at
    record = take_back(scene, plan, now=at + timedelta(seconds=60), trigger="pause")
    assert (record.clock_from, record.deadline) == (at, at + timedelta(seconds=180))


def test_a_shorter_promise_is_counted_from_the_end_of_the_pause(scene):
    plan = a_started(scene, policy=policy_text(more="limits: {rollback_seconds: 90}"))
    paused(plan)
    at = Plan.objects.get(pk=plan.pk).paused_at
    assert Plan.objects.get(pk=plan.pk).pause_deadline == at + timedelta(seconds=150)
    record = take_back(scene, plan, now=at + timedelta(seconds=60), trigger="pause")
    assert record.deadline == at + timedelta(seconds=150)


def test_a_rollback_outdates_every_claim_and_ends_the_pause(scene):
    plan = a_started(scene)
    paused(plan)
    before = Plan.objects.get(pk=plan.pk)
    take_back(scene, plan)
    after = Plan.objects.get(pk=plan.pk)
    assert (after.epoch, after.resume_by, after.waiting_for) == (before.epoch + 1, None, "")


def test_tenants_that_are_not_in_the_plan_are_all_named(scene):
    plan = a_started(scene)
    deploying(plan)
    with pytest.raises(BadInput) as refused:
        take_back(scene, plan, tenants=("acorn", "yew", "zelkova"))
    assert refused.value.problems == (
        "tenants: 'yew' is not in this plan",
        "tenants: 'zelkova' is not in this plan",
    )


# Finish.


def test_at_the_end_every_tenant_and_batch_is_accounted_for(scene):
    plan = a_started(scene)
    deploying(plan)
    record = take_back(scene, plan)
    all_back(plan)
    ended = finish(record)
    assert (str(ended.state), batch_states(plan)) == ("rolled_back", ["rolled_back", "skipped"])
    assert sorted(states(plan).values()) == ["excluded"] * 4 + ["rolled_back"] * 2
    record = Rollback.objects.get()
    assert (record.restored, record.needs_hand, record.missed_at) == (2, 0, None)
    assert record.verified_at is not None
    assert not PlanTenant.objects.filter(reserved=True).exists()


def test_a_rollback_that_was_verified_too_late_was_missed(scene):
    plan = a_started(scene)
    deploying(plan)
    record = take_back(scene, plan)
    all_back(plan)
    Rollback.objects.update(deadline=now() - timedelta(seconds=1))
    finish(record)
    assert Rollback.objects.get().missed_at is not None


def test_fault_21_who_was_not_taken_back_is_listed_and_the_plan_needs_a_hand(scene):
    plan = a_started(scene)
    deploying(plan)
    record = take_back(scene, plan)
    TenantUpgrade.objects.filter(batch__number=1, position=0).update(state="needs_hand")
    all_back(plan)
    ended = finish(record)
    assert (str(ended.state), batch_states(plan)[0]) == ("needs_hand", "needs_hand")
    assert (Rollback.objects.get().needs_hand, Rollback.objects.get().verified_at) == (1, None)


def test_a_rollback_ends_once(scene):
    plan = a_started(scene)
    deploying(plan)
    record = take_back(scene, plan)
    all_back(plan)
    finish(record)
    with pytest.raises(Refused):
        finish(record)


# A part.


def test_a_batch_is_taken_back_and_the_plan_waits_paused_without_a_clock(scene):
    plan = a_started(scene)
    passed(plan, 1)
    batch = opened(plan, 2)
    some = list(TenantUpgrade.objects.filter(batch=batch).values_list("tenant_key", flat=True))
    called(batch, keys=some[:2])
    record = take_back(scene, plan, scope="batch")
    assert batch_states(plan) == ["passed", "rolling_back"]
    all_back(plan, batch=batch)
    ended = finish(record)
    assert (str(ended.state), ended.resume_by) == ("paused", None)
    assert batch_states(plan) == ["passed", "rolled_back"]
    counts = TenantUpgrade.objects.filter(batch=batch).counts()
    assert counts == {"rolled_back": 2, "excluded": 2}
    assert PlanTenant.objects.filter(reserved=True).count() == 6


def test_named_tenants_are_taken_back_and_batches_keep_their_states(scene):
    plan = a_started(scene)
    passed(plan, 1)
    one = TenantUpgrade.objects.filter(batch__number=1).first()
    record = take_back(scene, plan, tenants=(one.tenant_key,))
    assert record.touched == 1
    all_back(plan, pk=one.pk)
    assert str(finish(record).state) == "paused"
    assert batch_states(plan) == ["passed", "pending"]
    assert sorted(states(plan).values()) == ["pending"] * 4 + ["rolled_back", "upgraded"]


def test_a_part_that_needs_a_hand_still_leaves_the_rest_to_a_person(scene):
    plan = a_started(scene)
    deploying(plan)
    record = take_back(scene, plan, scope="batch")
    TenantUpgrade.objects.filter(batch__number=1, position=0).update(state="needs_hand")
    all_back(plan)
    assert str(finish(record).state) == "paused"
    assert batch_states(plan) == ["needs_hand", "pending"]
    (stuck,) = [key for key, state in states(plan).items() if state == "needs_hand"]
    settle(scene, plan, stuck)
    assert batch_states(plan) == ["rolled_back", "pending"]
    assert str(Plan.objects.get(pk=plan.pk).state) == "paused"


# By hand.


def settle(scene, plan, *keys, outcome="rolled_back", reason="looked at it") -> Plan:
    return settling.settle(
        plan_id=plan.pk,
        tenant_keys=keys,
        outcome=outcome,
        reason=reason,
        by=scene.olga,
        now=now(),
        via="page",
    )


@pytest.fixture
def stuck(scene):
    """Return a plan that was taken back, but for two tenants, and their keys."""
    plan = a_started(scene)
    soaking(plan)
    record = take_back(scene, plan)
    TenantUpgrade.objects.filter(batch__number=1).update(state="needs_hand", exhausted_at=now())
    finish(record)
    Alert.objects.create(
        plan=plan, kind="rollback_failed", key="k", sentence="two", opened_at=now()
    )
    return plan, *[key for key, state in states(plan).items() if state == "needs_hand"]


def test_the_last_tenant_that_is_settled_ends_the_plan(scene, stuck):
    plan, one, other = stuck
    assert str(settle(scene, plan, one).state) == "needs_hand"
    ended = settle(scene, plan, other, outcome="excluded")
    assert (str(ended.state), batch_states(plan)) == ("rolled_back", ["rolled_back", "skipped"])
    assert not PlanTenant.objects.filter(reserved=True).exists()
    assert not Alert.objects.filter(resolved_at=None).exists()


def test_settling_takes_a_reason_an_outcome_and_a_tenant_that_waits(scene, stuck):
    plan, one, _other = stuck
    with pytest.raises(BadInput, match="how you know"):
        settle(scene, plan, one, reason=" ")
    with pytest.raises(BadInput, match="write rolled_back, upgraded or excluded"):
        settle(scene, plan, one, outcome="fine")
    settle(scene, plan, one)
    with pytest.raises(Refused, match="does not need a hand"):
        settle(scene, plan, one)


def test_another_try_goes_for_those_that_wait_under_a_new_promise(scene, stuck):
    plan, one, other = stuck
    record = settling.retry_needs_hand(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    assert (record.trigger, record.touched) == ("retry", 2)
    all_back(plan)
    TenantUpgrade.objects.filter(tenant_key__in=[one, other]).update(
        state="rolled_back", restored_at=now(), observed_at=now()
    )
    assert str(finish(record).state) == "rolled_back"


def test_another_try_does_not_take_back_those_that_are_fine(scene):
    plan = a_started(scene)
    needing_a_hand(plan)
    record = settling.retry_needs_hand(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    assert (record.scope, record.touched) == ("tenants", 4)
    upgraded = [key for key, state in states(plan).items() if state == "upgraded"]
    assert not set(upgraded) & set(record.tenants)


def test_where_nobody_waits_there_is_nothing_to_try_again(scene):
    plan = a_started(scene)
    with pytest.raises(Refused, match="No tenant needs a hand"):
        settling.retry_needs_hand(plan_id=plan.pk, by=scene.olga, now=now(), via="page")


def test_a_plan_whose_upgrade_stuck_is_completed_when_all_is_settled(scene):
    plan = a_started(scene)
    needing_a_hand(plan)
    waiting = [key for key, state in states(plan).items() if state == "needs_hand"]
    assert str(settle(scene, plan, *waiting, outcome="upgraded").state) == "completed"


def test_asking_for_the_whole_plan_widens_a_rollback_of_a_part(scene):
    plan = a_started(scene)
    passed(plan, 1)
    soaking(plan, 2)
    part = rollback.request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="newest only", now=now(), via="page", scope="batch"
    )
    whole = rollback.request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="all of it", now=now(), via="page", scope="plan"
    )
    part.refresh_from_db()
    assert whole.pk != part.pk
    assert part.finished_at is not None
    assert "widened" in part.sentence
    assert whole.touched > part.touched
    assert rollback.open_rollback(plan).pk == whole.pk
    again = rollback.request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="newest", now=now(), via="page", scope="batch"
    )
    assert again.pk == whole.pk


def test_a_rollback_is_not_finished_while_a_tenant_of_its_scope_is_still_upgraded(scene):
    plan = a_started(scene)
    soaking(plan, 1)
    record = rollback.request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="all", now=now(), via="page"
    )
    with pytest.raises(Refused, match="Not every tenant is back"):
        ending.finish(rollback_id=record.pk, now=now())
    assert str(Plan.objects.get(pk=plan.pk).state) == "rolling_back"
    assert rollback.open_rollback(plan).pk == record.pk


def test_a_batch_that_went_back_has_ended_then(scene):
    plan = a_started(scene)
    passed(plan)
    came_back = now() + timedelta(minutes=5)
    record = take_back(scene, plan)
    all_back(plan)
    ending.finish(rollback_id=record.pk, now=came_back)
    assert Batch.objects.get(plan=plan, number=1).ended_at == came_back


def test_a_batch_whose_last_tenant_was_settled_has_ended_then(scene, stuck):
    plan, one, other = stuck
    Batch.objects.filter(plan=plan).update(ended_at=None)
    settle(scene, plan, one)
    assert Batch.objects.get(plan=plan, number=1).ended_at is None
    settle(scene, plan, other)
    assert Batch.objects.get(plan=plan, number=1).ended_at is not None


def test_a_rollback_is_told_in_the_past_tense_once_it_has_ended(scene):
    plan = a_started(scene)
    deploying(plan)
    record = take_back(scene, plan)
    assert rollback.headline(record) == "Olga rolls back the plan: too many errors."
    assert record.sentence.startswith("Olga rolls back the plan: too many errors. 2 tenants go")
    all_back(plan)
    finish(record)
    ended = Rollback.objects.get(pk=record.pk)
    assert rollback.headline(ended) == "Olga rolled back the plan: too many errors."
