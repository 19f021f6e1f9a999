"""What happens when twenty do the same thing, or the opposite, at the same moment."""

import random
from datetime import timedelta
from functools import partial

import pytest
from django.db import transaction

from batches.alerting import alerts
from batches.effects.ledger_claims import Scope
from batches.effects.ledger_writes import Writes
from batches.models import Alert, Batch, Lease, Rollback, TenantUpgrade
from batches.rollback.rollback import request_rollback
from batches.rollout import control, launch, progress
from batches.rollout.settling import settle
from batches.runtime import leases
from plans.approvals import approval
from plans.models import Approval, Event, Plan, PlanTenant
from plans.refusal import Refused
from plans.trail import events
from reports import issuing
from tests.builders import (
    BATCHES,
    FOREST,
    a_draft,
    a_started,
    an_approved,
    called,
    check_invariants,
    kinds,
    opened,
    passed,
    policy_text,
    soaking,
    states,
)
from tests.postgres.at_once import at_once, lost, won
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)
CROWD = 20
MANUAL = policy_text(batches=BATCHES, more="advance: manual")


def seqs(plan, kind):
    """Return the sequence numbers of the plan's events of a kind."""
    rows = Event.objects.filter(stream__key=plan.stream_key, kind=kind).order_by("seq")
    return list(rows.values_list("seq", flat=True))


def pausing(plan, by):
    return lambda: control.pause(plan_id=plan.pk, by=by, reason="", now=now(), via="page")


def promoting(plan, by):
    return lambda: control.promote(plan_id=plan.pk, by=by, now=now(), via="page")


def taking_back(plan, by):
    return lambda: request_rollback(plan_id=plan.pk, by=by, reason="", now=now(), via="page")


# The same thing.


def test_of_twenty_clicks_of_one_approver_one_counts(scene):
    plan = a_draft(scene)
    approval.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")

    def agree():
        return approval.approve(plan_id=plan.pk, approver=scene.aram, now=now(), via="page")

    results = at_once(*[agree] * CROWD)
    assert len(won(results)) == 1
    assert {refused.code for refused in lost(results, Refused)} == {"already_decided"}
    assert Approval.objects.filter(request__plan=plan).count() == 1
    check_invariants(plan)


def test_the_last_two_approvals_at_once_approve_the_plan_once(scene):
    plan = a_draft(scene)
    approval.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")

    def agree(person):
        return approval.approve(plan_id=plan.pk, approver=person, now=now(), via="page")

    results = at_once(partial(agree, scene.aram), partial(agree, scene.sona))
    assert len(won(results)) == 2
    assert str(Plan.objects.get(pk=plan.pk).state) == "approved"
    assert len(seqs(plan, "plan_approved")) == 1


def test_a_yes_and_a_no_at_once_leave_one_ending(scene):
    plan = a_draft(scene)
    approval.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")
    approval.approve(plan_id=plan.pk, approver=scene.aram, now=now(), via="page")
    at_once(
        lambda: approval.approve(plan_id=plan.pk, approver=scene.sona, now=now(), via="page"),
        lambda: approval.reject(
            plan_id=plan.pk, approver=scene.sona, reason="no", now=now(), via="page"
        ),
        lambda: approval.cancel(plan_id=plan.pk, by=scene.mara, reason="", now=now(), via="page"),
    )
    ended = [kind for kind in kinds(plan) if kind in {"plan_approved", "plan_rejected"}]
    assert len(ended) <= 1
    assert str(Plan.objects.get(pk=plan.pk).state) in {"approved", "rejected", "cancelled"}
    check_invariants(plan)


def test_of_twenty_starts_one_starts(scene):
    plan = an_approved(scene)

    def begin():
        return launch.start(plan_id=plan.pk, by=scene.olga, now=now(), via="page")

    results = at_once(*[begin] * CROWD)
    assert len(won(results)) == 1
    assert len(lost(results, Refused)) == CROWD - 1
    assert Batch.objects.filter(plan=plan).count() == 2
    assert TenantUpgrade.objects.filter(plan=plan).count() == len(FOREST)
    check_invariants(plan)


def test_fault_19_twenty_rollbacks_are_one(scene):
    plan = a_started(scene)
    soaking(plan)
    results = at_once(*[taking_back(plan, scene.olga)] * CROWD)
    assert {record.pk for record in results} == {Rollback.objects.get(plan=plan).pk}
    assert len(seqs(plan, "rollback_begun")) == 1


def test_twenty_pauses_are_one(scene):
    plan = a_started(scene)
    results = at_once(*[pausing(plan, scene.olga)] * CROWD)
    assert len(won(results)) == CROWD
    assert len(seqs(plan, "plan_paused")) == 1
    assert Plan.objects.get(pk=plan.pk).epoch == 1


def test_fault_20_of_two_promotions_one_wins_and_the_other_learns_who_and_when(scene):
    plan = a_started(scene, policy=MANUAL)
    results = at_once(promoting(plan, scene.olga), promoting(plan, scene.mara))
    assert len(won(results)) == 1
    (refused,) = lost(results, Refused)
    batch = Batch.objects.get(plan=plan, number=1)
    assert refused.code == "already_promoted"
    assert f"{batch.promoted_by.get_full_name()} has promoted" in refused.sentence
    assert f"{batch.promoted_at:%H:%M:%S} UTC" in refused.sentence


def test_of_twenty_promotions_one_wins(scene):
    plan = a_started(scene, policy=MANUAL)
    results = at_once(*[promoting(plan, scene.olga)] * CROWD)
    assert len(won(results)) == 1
    assert {refused.code for refused in lost(results, Refused)} == {"already_promoted"}
    assert len(seqs(plan, "batch_promoted")) == 1


def test_of_twenty_who_settle_a_tenant_one_does(scene):
    plan = a_started(scene)
    batch = opened(plan)
    called(batch, "needs_hand")
    (key, *_others) = TenantUpgrade.objects.filter(batch=batch).values_list("tenant_key", flat=True)

    def say():
        return settle(
            plan_id=plan.pk,
            tenant_keys=[key],
            outcome="excluded",
            reason="seen",
            by=scene.olga,
            now=now(),
            via="page",
        )

    results = at_once(*[say] * CROWD)
    assert len(won(results)) == 1
    assert {refused.code for refused in lost(results, Refused)} == {"not_waiting"}
    assert len(seqs(plan, "tenants_settled")) == 1


def test_twenty_who_fire_an_alert_open_one(scene):
    plan = a_started(scene)

    def fire():
        return alerts.fire(plan=plan, kind="breach", sentence="bad", now=now())

    results = at_once(*[fire] * CROWD)
    assert len(won(results)) == CROWD
    assert Alert.objects.filter(plan=plan).count() == 1
    assert len(seqs(plan, "alert_firing")) == 1


@pytest.mark.parametrize("was_held", [False, True])
def test_of_twenty_who_want_a_lease_one_gets_it(was_held):
    if was_held:
        leases.acquire("work", holder="dead", kind="watch", now=now() - timedelta(seconds=60))

    def want(name):
        return leases.acquire("work", holder=name, kind="watch", now=now())

    results = at_once(*[partial(want, f"holder-{n}") for n in range(CROWD)])
    holders = {lease.holder for lease in won(results) if lease is not None}
    assert not lost(results, Refused)
    assert holders == {Lease.objects.get(name="work").holder}
    assert Lease.objects.get(name="work").token == (2 if was_held else 1)


def test_a_report_is_handed_out_once(scene):
    plan = a_started(scene)
    for number in (1, 2):
        passed(plan, number)
    progress.complete(plan_id=plan.pk, now=now())

    def want():
        with transaction.atomic():
            return issuing.due_reports(now())

    results = at_once(*[want] * CROWD)
    assert not lost(results, Refused)
    assert [pk for claimed in results for pk in claimed] == [plan.pk]


# Opposites.


def test_fault_20_a_pause_is_always_accepted_and_beats_a_promotion(scene):
    plan = a_started(scene, policy=MANUAL)
    paused, promoted = at_once(pausing(plan, scene.olga), promoting(plan, scene.mara))
    assert not isinstance(paused, Exception), paused
    assert str(Plan.objects.get(pk=plan.pk).state) == "paused"
    if not isinstance(promoted, Exception):
        assert seqs(plan, "batch_promoted") < seqs(plan, "plan_paused")
    else:
        assert lost([promoted], Refused)


def test_fault_20_a_rollback_is_always_accepted_and_beats_promotions_and_passing_soaks(scene):
    plan = a_started(scene, policy=MANUAL)
    batch = soaking(plan)
    results = at_once(
        taking_back(plan, scene.olga),
        *[promoting(plan, scene.mara)] * 4,
        *[lambda: progress.pass_soak(batch_id=batch.pk, why="", now=now())] * 4,
        pausing(plan, scene.olga),
    )
    lost(results, Refused)
    assert not isinstance(results[0], Exception), results[0]
    assert str(Plan.objects.get(pk=plan.pk).state) == "rolling_back"
    assert str(Batch.objects.get(pk=batch.pk).state) == "rolling_back"
    assert events.check_chain(plan.stream_key).intact


def test_no_batch_opens_after_a_pause(scene):
    plan = a_started(scene)
    first = Batch.objects.get(plan=plan, number=1)
    results = at_once(
        pausing(plan, scene.olga),
        *[lambda: launch.open_batch(batch_id=first.pk, now=now())] * 4,
    )
    lost(results, Refused)
    assert not isinstance(results[0], Exception), results[0]
    assert str(Plan.objects.get(pk=plan.pk).state) == "paused"
    assert seqs(plan, "batch_opened") < seqs(plan, "plan_paused")


def scope_of(plan, batch):
    plan = Plan.objects.get(pk=plan.pk)
    return Scope(
        plan_id=plan.pk,
        plugin_id=plan.plugin_id,
        direction="install",
        epoch=plan.epoch,
        executor="hands",
        target_version="1.5.0",
        target_digest="",
        call_timeout=20,
        deployer="fleet",
        lease_lost=lambda: False,
        batch_id=batch.pk,
    )


def claiming(plan, batch):
    writes = Writes(scope_of(plan, batch))

    def claim():
        with transaction.atomic():
            (tasks,) = writes.apply([("claim", [1])])
        return tasks

    return claim


def test_no_two_claims_carry_the_same_key(scene):
    plan = a_started(scene)
    batch = opened(plan)
    results = at_once(*[claiming(plan, batch) for _ in range(CROWD)])
    assert not lost(results, Refused)
    claimed = [task for tasks in results for task in tasks]
    assert len({task.key for task in claimed}) == len(claimed) == CROWD
    fences = sorted((task.tenant, task.fence) for task in claimed)
    assert len(set(fences)) == len(fences)
    check_invariants(plan)


def test_nothing_is_claimed_after_a_pause(scene):
    plan = a_started(scene)
    batch = opened(plan)
    results = at_once(pausing(plan, scene.olga), *[claiming(plan, batch) for _ in range(CROWD)])
    assert not lost(results, Refused)
    (paused,) = seqs(plan, "plan_paused")
    assert all(seq < paused for seq in seqs(plan, "tenants_moved"))
    check_invariants(plan)


def test_of_plans_that_want_the_same_tenants_one_starts_and_the_others_are_told_which(scene):
    plans = [
        an_approved(scene, external_id=f"pay-{n}", keys=random.sample(FOREST, 4)) for n in range(6)
    ]
    starts = [
        partial(launch.start, plan_id=plan.pk, by=scene.olga, now=now(), via="page")
        for plan in plans
    ]
    results = at_once(*starts)
    lost(results, Refused)
    held = PlanTenant.objects.filter(reserved=True)
    assert held.count() == len(set(held.values_list("tenant_id", flat=True)))
    started = {plan.external_id for plan in won(results)}
    assert len(started) == 1
    for refused in lost(results, Refused):
        assert refused.code == "tenants_taken"
        assert any(name in refused.sentence for name in started)


# The trail.


def test_sequences_stay_gapless_under_sixteen_writers(scene):
    plan = a_draft(scene)

    def tell():
        for _turn in range(15):
            with transaction.atomic():
                events.record(
                    stream=plan, kind="told", sentence="x", actor=None, via="watch", now=now()
                )

    assert not lost(at_once(*[tell] * 16), Refused)
    assert seqs(plan, "told") == list(range(2, 2 + 16 * 15))
    assert events.check_chain(plan.stream_key).intact


def test_a_new_stream_begins_once():
    def tell():
        with transaction.atomic():
            events.record(
                stream=None, kind="told", sentence="x", actor=None, via="watch", now=now()
            )

    assert not lost(at_once(*[tell] * CROWD), Refused)
    assert events.check_chain("system").events == CROWD


# Everything.


def test_a_wild_mix_of_everything_never_waits_crosswise(scene):
    """A deadlock would show as an error here, and in the server's log, which the launcher reads."""
    plans = [
        a_started(scene, policy=MANUAL, external_id="a", keys=FOREST[:3]),
        a_started(scene, policy=MANUAL, external_id="b", keys=FOREST[3:]),
    ]
    batches = [opened(plan) for plan in plans]

    def one_of(dice, plan, batch):
        at = now()
        acts = [
            pausing(plan, scene.olga),
            promoting(plan, scene.olga),
            lambda: control.resume(plan_id=plan.pk, by=scene.olga, now=at, via="page"),
            lambda: control.hold(batch_id=batch.pk, kind="x", reason="y", now=at),
            lambda: control.release_hold(
                plan_id=plan.pk, by=scene.olga, reason="", now=at, via="page"
            ),
            lambda: progress.settle_calls(batch_id=batch.pk, now=at),
            lambda: progress.say_waiting(plan_id=plan.pk, sentence=str(dice.random()), now=at),
            lambda: alerts.fire(plan=plan, kind=dice.choice("abc"), sentence="z", now=at),
            lambda: alerts.resolve_all(plan=plan, now=at),
            claiming(plan, batch),
            claiming(plan, batch),
            lambda: request_rollback(
                plan_id=plan.pk, by=scene.olga, reason="", scope="batch", now=at, via="page"
            ),
        ]
        # A rollback ends the rest; let it be rare.
        weights = [4] * (len(acts) - 1) + [1]
        return dice.choices(acts, weights)[0]

    def live(seed):
        dice = random.Random(seed)
        for _turn in range(25):
            place = dice.randrange(2)
            try:
                one_of(dice, plans[place], batches[place])()
            except Refused:
                continue

    assert not lost(at_once(*[partial(live, seed) for seed in range(12)]), Refused)
    for plan in plans:
        check_invariants(plan)
        assert set(states(plan).values()) <= {"pending", "upgrading"}
