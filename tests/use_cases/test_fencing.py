"""A watch that lost its lease between decision and act writes nothing: it is fenced."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from batches.decisions import decide_forward
from batches.effects import execution
from batches.models import Alert, Batch, Lease
from batches.rollback.rollback import request_rollback
from batches.runtime import leases
from batches.runtime.kept_leases import KeptLeases
from batches.runtime.leases import Keeper, LeaseLost
from plans import failpoints
from plans.models import Event, Plan
from tests.builders import FOREST, a_started, an_approved, check_invariants, kinds, states
from tests.use_cases.watched_fleet import WatchedFleet, quick_policy
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def fleet(scene, settings, tmp_path, monkeypatch) -> Iterator[WatchedFleet]:
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    with WatchedFleet(settings, tmp_path, FOREST) as made:
        yield made


@pytest.fixture
def at_point():
    """Return a way to let something happen once, when a named point is reached."""

    def set_trap(point, act):
        def spring(reached):
            if reached == point:
                failpoints.trap(None)
                act()

        failpoints.trap(spring)

    yield set_trap
    failpoints.trap(None)


def lose_every_lease():
    """Let somebody else have them, as after a freeze that was longer than they last."""
    for name in Lease.objects.filter(name__endswith=":decide").values_list("name", flat=True):
        Lease.objects.filter(name=name).update(expires_at=now() - timedelta(seconds=1))
        assert leases.acquire(name, holder="other", kind="watch", now=now())


def test_who_was_frozen_between_decision_and_act_opens_no_batch(scene, fleet, at_point):
    plan = a_started(scene, policy=quick_policy())
    told = kinds(plan)
    at_point("watch.decided", lose_every_lease)
    fleet.tick()
    assert kinds(plan) == told
    assert str(Batch.objects.get(plan=plan, number=1).state) == "pending"
    fleet.tick(5)
    assert kinds(plan) == told
    assert not Alert.objects.exists()
    check_invariants(plan)


def test_who_was_frozen_goes_on_when_the_other_has_gone(scene, fleet, at_point):
    plan = a_started(scene, policy=quick_policy())
    at_point("watch.decided", lose_every_lease)
    fleet.tick(3)
    Lease.objects.filter(holder="other").update(expires_at=now())
    fleet.until_plan(plan, "completed")
    check_invariants(plan)


def test_who_was_frozen_starts_no_plan(scene, fleet):
    fleet.tick()
    plan = an_approved(scene, policy=quick_policy())
    lose_every_lease()
    # It has not noticed yet: its own clock says that the leases are in force.
    fleet.watch.tick(now())
    assert str(Plan.objects.get(pk=plan.pk).state) == "approved"


def test_who_was_frozen_takes_in_no_sample(scene, fleet):
    plan = a_started(scene, policy=quick_policy())
    fleet.until_batch(plan, "soaking")
    lose_every_lease()
    before = (plan.samples.count(), Event.objects.count())
    fleet.tick(10)
    assert (plan.samples.count(), Event.objects.count()) == before


def test_who_was_frozen_while_it_read_everybody_back_reopens_nobody(scene, fleet):
    plan = a_started(scene, policy=quick_policy())
    fleet.until_batch(plan, "soaking")
    record = request_rollback(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    fleet.until_plan(plan, "rolled_back")
    name = execution.rollback_lease(plan.pk)
    lease = leases.acquire(name, holder="frozen", kind="watch", now=now())
    assert lease is not None
    frozen = Keeper(lease)
    Lease.objects.filter(name=name).update(expires_at=now() - timedelta(seconds=1))
    assert leases.acquire(name, holder="other", kind="watch", now=now())
    before = states(plan), kinds(plan)
    (key, *_others) = [key for key, state in before[0].items() if state == "rolled_back"]
    with pytest.raises(LeaseLost):
        execution._note_check(record.pk, [], {key: "shows 1.5.0 again"}, frozen)
    assert (states(plan), kinds(plan)) == before


def test_a_transaction_under_a_lost_lease_raises_and_forgets_it():
    kept = KeptLeases("mine", kind="watch")
    assert kept.take("a:decide", now=now())
    lose_every_lease()
    assert kept.tokens()
    with pytest.raises(LeaseLost), kept.under("a:decide"):
        pytest.fail("it must not begin")
    assert kept.tokens() == {}
    with pytest.raises(LeaseLost), kept.under("never-held"):
        pytest.fail("it must not begin")
    kept.stop()


def test_many_leases_are_renewed_together_and_given_back(monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    kept = KeptLeases("mine", kind="watch")
    for name in ("a", "b", "c"):
        assert kept.take(name, now=now())
    first = dict(Lease.objects.values_list("name", "expires_at"))
    Lease.objects.filter(name="b").update(holder="other", token=7)
    until(lambda: set(kept.tokens()) == {"a", "c"})
    until(lambda: Lease.objects.get(name="a").expires_at > first["a"])
    kept.stop()
    assert not leases.seconds_left("a", now=now() + timedelta(milliseconds=1))
    assert Lease.objects.get(name="b").holder == "other"


def test_a_lease_that_ran_out_is_not_renewed_as_if_it_had_been_held(monkeypatch):
    kept = KeptLeases("mine", kind="watch")
    kept.take("a", now=now())
    kept._held["a"].renewed -= leases.LEASE_SECONDS + 1
    assert kept.tokens() == {}
    expires = Lease.objects.get(name="a").expires_at
    kept._renew()
    assert Lease.objects.get(name="a").expires_at == expires
    kept.stop()


def until(true) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
