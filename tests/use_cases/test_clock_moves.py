"""Deadlines and durations while the machine's wall clock is moved, and after a restart."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from batches.decisions import clock_moves, decide_forward
from batches.decisions.plan_facts import plan_facts
from batches.models import Alert, Batch, Lease, TenantUpgrade
from batches.rollback.rollback import request_rollback
from batches.rollout.settling import retry_needs_hand
from batches.runtime import leases
from batches.runtime.steady_clock import SteadyClock, steady_seconds
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Event, Plan
from tests.builders import FOREST, a_started, check_invariants, kinds, soaking, states
from tests.use_cases.watched_fleet import WatchedFleet, alerts_of, quick_policy, the_rollback
from tests.web.api_scene import Scene, now

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Clocks:
    """The clocks of the watch's machine: real time `passed`, and how far the wall was `moved`."""

    fleet: WatchedFleet
    passed: float = 0.0
    moved: float = 0.0

    def wall(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.passed + self.moved)

    def steady(self) -> float:
        return steady_seconds() + self.passed

    def tick(self, times: int = 1) -> None:
        for _turn in range(times):
            self.fleet.watch.tick(self.wall())
            time.sleep(0.02)


@pytest.fixture
def clocks(scene, settings, tmp_path, monkeypatch) -> Iterator[Clocks]:
    """Return the clocks of a watch over acorn to fir."""
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    with WatchedFleet(settings, tmp_path, FOREST) as fleet:
        made = Clocks(fleet)
        fleet.watch.steady = made.steady
        yield made


def taking_back(scene: Scene, clocks: Clocks) -> Plan:
    """Return a plan that is taken back, with one tenant that does not come back."""
    plan = a_started(scene, policy=quick_policy())
    batch = clocks.fleet.until_batch(plan, "soaking")
    stuck = TenantUpgrade.objects.filter(batch=batch)[0].tenant_key
    clocks.fleet.fault(stuck, "fail", directions=frozenset({"restore"}))
    request_rollback(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    clocks.tick(5)
    return plan


def told(plan: Plan) -> list[str]:
    return [kind for kind in kinds(plan) if kind in {"rollback_escalated", "rollback_missed"}]


@pytest.mark.parametrize("moved", [600, -600], ids=["forward", "back"])
def test_fault_12_a_moved_clock_moves_neither_escalation_nor_the_end_of_the_promise(
    scene, clocks, moved
):
    plan = taking_back(scene, clocks)
    clocks.moved = moved
    clocks.tick(3)
    assert told(plan) == []
    clocks.passed = 140
    clocks.tick(3)
    assert told(plan) == []
    clocks.passed = 151
    clocks.tick(2)
    assert told(plan) == ["rollback_escalated"]
    assert "rollback_late" in alerts_of(plan)
    clocks.passed = 181
    clocks.tick(2)
    assert told(plan) == ["rollback_escalated", "rollback_missed"]
    assert "rollback_failed" in alerts_of(plan)
    missed = Event.objects.get(stream__key=plan.stream_key, kind="rollback_missed")
    assert len(missed.payload["left"]) == 1
    assert missed.payload["left"][0] in missed.sentence
    assert str(Plan.objects.get(pk=plan.pk).state) == "rolling_back"
    check_invariants(plan)


def test_the_record_tells_how_long_it_took_and_not_what_the_clock_said(scene, clocks):
    plan = taking_back(scene, clocks)
    clocks.moved = 600
    clocks.tick(2)
    clocks.fleet.fleet.faults.clear()
    end = time.monotonic() + 10
    while str(Plan.objects.get(pk=plan.pk).state) == "rolling_back":
        assert time.monotonic() < end
        clocks.tick()
    record = the_rollback(plan)
    assert record.missed_at is None
    assert 0 < (record.seconds() or 0) < 60
    assert "rollback_failed" not in alerts_of(plan)


def test_the_move_is_told_with_an_alert_that_ends_by_itself(scene, clocks):
    clocks.tick(2)
    clocks.moved = -600
    clocks.tick(3)
    event = Event.objects.get(stream__key="system", kind="clock_moved")
    assert "moved back by 600.0 s" in event.sentence
    assert Alert.objects.filter(kind="clock_jump", resolved_at=None).count() == 1
    clocks.passed = 601
    clocks.tick(2)
    assert not Alert.objects.filter(kind="clock_jump", resolved_at=None).exists()
    assert Event.objects.filter(kind="clock_moved").count() == 1


def test_after_a_restart_the_absolute_deadline_counts(scene, clocks):
    plan = taking_back(scene, clocks)
    clocks.moved = 600
    again = SteadyClock()
    again.look(clocks.wall(), clocks.steady())
    facts = facts_of(plan, clocks.wall(), again)
    assert facts.rollback is not None
    assert facts.rollback.deadline == the_rollback(plan).deadline < facts.now


def facts_of(plan: Plan, at: datetime, clock: SteadyClock):
    plan = Plan.objects.select_related("release", "plugin").get(pk=plan.pk)
    return plan_facts(plan, policy_of(current_revision(plan)), at, clock=clock)


@pytest.mark.parametrize("moved", [600, -600], ids=["forward", "back"])
def test_fault_12_a_moved_clock_neither_shortens_nor_lengthens_a_soak(scene, moved):
    plan = a_started(scene)
    batch = soaking(plan)
    clock, at, steady = SteadyClock(), now(), 1000.0
    clock.look(at, steady)
    assert facts_of(plan, at, clock).live.soak_left == pytest.approx(60, abs=5)
    at, steady = at + timedelta(seconds=20 + moved), steady + 20
    seconds = clock.look(at, steady)
    assert facts_of(plan, at, clock).live.soak_left == pytest.approx(40, abs=5)
    # It is written down, so that a pause by another process counts right as well.
    clock_moves.note_move(seconds=seconds, clock=clock, now=at)
    kept = Batch.objects.get(pk=batch.pk)
    assert kept.soak_left == pytest.approx(40, abs=5)
    assert kept.soak_counted_at == at
    assert facts_of(plan, at, clock).live.soak_left == pytest.approx(40, abs=5)


def test_a_moved_clock_moves_the_end_of_a_pause_with_it(scene):
    plan = a_started(scene)
    Plan.objects.filter(pk=plan.pk).update(resume_by=now() + timedelta(seconds=60))
    clock, at = SteadyClock(), now()
    clock.look(at, 0.0)
    facts_of(plan, at, clock)
    at -= timedelta(seconds=570)
    clock.look(at, 30.0)
    resume_by = facts_of(plan, at, clock).resume_by
    assert (resume_by - at).total_seconds() == pytest.approx(30, abs=5)


def test_looks_come_when_due_although_the_clock_went_back(scene, clocks):
    plan = a_started(scene, policy=quick_policy())
    clocks.fleet.until_batch(plan, "soaking")
    watched = clocks.fleet.watch.observer._plans[plan.pk]
    clocks.moved = -600
    clocks.tick()
    assert (watched.next_look - clocks.wall()).total_seconds() < 5


def test_who_holds_a_lease_and_never_renews_it_loses_it_by_our_own_clock(monkeypatch):
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.1)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)
    far = now() + timedelta(seconds=600)
    Lease.objects.create(name="work", holder="dead", kind="watch", expires_at=far)
    assert leases.acquire("work", holder="me", kind="watch", now=now()) is None
    Lease.objects.filter(name="work").update(expires_at=far + timedelta(seconds=2))
    time.sleep(0.2)
    assert leases.acquire("work", holder="me", kind="watch", now=now()) is None, "it was renewed"
    time.sleep(0.2)
    mine = leases.acquire("work", holder="me", kind="watch", now=now())
    assert mine is not None
    assert mine.token == 2


def test_what_is_left_after_the_last_try_needs_a_hand_and_can_be_tried_again(
    scene, clocks, monkeypatch
):
    monkeypatch.setattr("batches.effects.runs.EXTRA_TRIES", timedelta(seconds=-179))
    plan = taking_back(scene, clocks)
    plan = clocks.fleet.until_plan(plan, "needs_hand")
    stuck = [key for key, state in states(plan).items() if state == "needs_hand"]
    assert len(stuck) == 1
    assert "rollback_failed" in alerts_of(plan)
    clocks.fleet.fleet.faults.clear()
    retry_needs_hand(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    plan = clocks.fleet.until_plan(plan, "rolled_back")
    assert clocks.fleet.versions(FOREST) == {"1.0.0"}
    check_invariants(plan)
