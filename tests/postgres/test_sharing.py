"""Several watches at once: plans are shared out, taken over from the dead, decided about once."""

from contextlib import ExitStack
from functools import partial

import pytest
from django.db import connection

from batches.decisions import decide_forward
from batches.models import Batch, Heartbeat, Lease
from batches.runtime import leases
from batches.runtime.leases import acquire
from batches.runtime.watch_duties import Duties, decide_lease
from plans.models import Plan
from plans.refusal import Refused
from tests.builders import FOREST, a_started, check_invariants, kinds
from tests.journeys.stack import wait_until
from tests.postgres.at_once import at_once, lost
from tests.use_cases.watched_fleet import WatchedFleet, quick_policy
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def fleets(scene, settings, tmp_path, monkeypatch):
    """Return two watches over the same fleet."""
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    with ExitStack() as stack:
        first = stack.enter_context(WatchedFleet(settings, tmp_path, FOREST))
        other = stack.enter_context(WatchedFleet(settings, tmp_path, FOREST))
        # One platform: what one watch does, the other one sees.
        other.watch.effects.effects = first.watch.effects.effects
        yield first, other


def plans_of(scene):
    policy = quick_policy(more="advance: manual")
    return [
        a_started(scene, policy=policy, external_id=f"p{n}", keys=[key])
        for n, key in enumerate(FOREST[:4])
    ]


def decided_by(fleet, plans):
    names = [decide_lease(plan.pk) for plan in plans]
    return set(
        Lease.objects.filter(
            name__in=names, holder=fleet.watch.holder, expires_at__gt=now()
        ).values_list("name", flat=True)
    )


def both(fleets, times=6):
    for _turn in range(times):
        for fleet in fleets:
            fleet.tick()


def test_live_plans_are_shared_out_and_each_is_told_about_once(scene, fleets):
    plans = plans_of(scene)
    both(fleets, 4)
    # The heartbeats are a second apart: until then the first one may hold more than its share.
    Heartbeat.objects.update(at=now())
    both(fleets)
    shares = [decided_by(fleet, plans) for fleet in fleets]
    assert [len(share) for share in shares] == [2, 2]
    assert not shares[0] & shares[1]
    for plan in plans:
        assert kinds(plan).count("plan_waits") == 1
        check_invariants(plan)


def test_the_plans_of_a_watch_that_died_are_taken_over(scene, fleets, monkeypatch):
    plans = plans_of(scene)
    both(fleets, 4)
    Heartbeat.objects.update(at=now())
    both(fleets)
    alive, dead = fleets
    # It renews nothing any more and gives nothing back, like after SIGKILL.
    dead.watch.duties.leases._stop.set()
    Lease.objects.filter(holder=dead.watch.holder).update(expires_at=now())
    Heartbeat.objects.filter(name=dead.watch.holder).delete()
    alive.tick(2)
    assert len(decided_by(alive, plans)) == 4
    assert Lease.objects.get(name="watch:decide").holder == alive.watch.holder


def test_both_watches_bring_their_plans_to_the_end(scene, fleets):
    plans = [
        a_started(scene, policy=quick_policy(), external_id=f"q{n}", keys=[key])
        for n, key in enumerate(FOREST[:2])
    ]
    Heartbeat.objects.create(name=fleets[1].watch.holder, kind="watch", at=now())
    fleets[0].tick()

    def ended():
        fleets[1].tick()
        return Plan.objects.filter(state="completed").count() == len(plans)

    fleets[0].until(ended, seconds=60)
    for plan in plans:
        check_invariants(plan)
        assert kinds(plan).count("plan_completed") == 1


def test_a_plan_that_has_ended_needs_no_decider(scene, fleets):
    plan = a_started(scene, policy=quick_policy(), keys=[FOREST[0]])
    fleets[0].until_plan(plan, "completed")
    fleets[0].tick(2)
    assert not leases.seconds_left(decide_lease(plan.pk), now=now())


def test_a_plan_that_another_watch_holds_is_left_alone(scene, fleets):
    plan = a_started(scene, policy=quick_policy(), keys=[FOREST[0]])
    assert acquire(decide_lease(plan.pk), holder="other", kind="watch", now=now())
    told = kinds(plan)
    fleets[0].tick(5)
    assert kinds(plan) == told


# At the very same moment.


def test_of_many_watches_one_takes_a_plan(scene):
    plan = a_started(scene, policy=quick_policy(), keys=[FOREST[0]])
    everybody = [Duties(f"watch-{n}") for n in range(12)]
    try:
        assert not lost(at_once(*[partial(duties.refresh, now()) for duties in everybody]), Refused)
        (decider,) = [duties for duties in everybody if duties.decides(plan.pk)]
        assert Lease.objects.get(name=decide_lease(plan.pk)).holder == decider.holder
        assert len([duties for duties in everybody if duties.leads]) == 1
    finally:
        for duties in everybody:
            duties.leases.stop()


def test_watches_that_tick_at_the_same_time_bring_their_plans_to_the_end(scene, fleets):
    plans = [
        a_started(scene, policy=quick_policy(), external_id=f"r{n}", keys=[key])
        for n, key in enumerate(FOREST[:4])
    ]
    for fleet in fleets:
        Heartbeat.objects.create(name=fleet.watch.holder, kind="watch", at=now())

    def ended():
        return Plan.objects.filter(state="completed").count() == len(plans)

    results = at_once(*[partial(fleet.until, ended, seconds=50) for fleet in fleets])
    assert not lost(results, Refused)
    for plan in plans:
        check_invariants(plan)
        told = kinds(plan)
        assert told.count("plan_completed") == 1
        there = Batch.objects.filter(plan=plan).count()
        assert told.count("batch_opened") == told.count("batch_passed") == there


# The server ends connections.


def test_a_run_keeps_its_lease_although_the_connection_that_renews_it_was_ended(monkeypatch):
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    lease = acquire("work", holder="me", kind="hands", now=now())
    assert lease is not None
    keeper = leases.Keeper(lease).start()

    def renewed(since):
        return Lease.objects.get(name="work").expires_at > since

    try:
        began = lease.expires_at
        wait_until(lambda: renewed(began), 30, "it was renewed")
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        ended = Lease.objects.get(name="work").expires_at
        wait_until(lambda: renewed(ended), 30, "it was renewed by a new connection")
        assert not keeper.lost
    finally:
        keeper.stop()
    assert leases.seconds_left("work", now=now()) == 0
