"""What becomes of the Kpis after a rollback, with the watch over a simulated fleet."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from batches.decisions import decide_forward
from batches.models import AftermathCursor, AftermathSample, Alert, Lease, Rollback, TenantUpgrade
from batches.rollback import aftermath
from batches.rollback.aftermath_watch import AftermathWatch
from batches.rollback.rollback import request_rollback
from batches.rollout import control
from batches.runtime import leases
from plans.models import Event, Plan
from tests.builders import FOREST, a_started, check_invariants, kinds
from tests.use_cases.watched_fleet import WatchedFleet, alerts_of, quick_policy, the_rollback
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)
SHORT = "rollback: {watch_after_minutes: 0.06}"


@pytest.fixture
def fleet(scene, settings, tmp_path, monkeypatch) -> Iterator[WatchedFleet]:
    """Return a watch that does the hands' work at once, over acorn to fir."""
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    with WatchedFleet(settings, tmp_path, FOREST) as made:
        yield made


def a_rolled_back(scene, fleet, *, more: str = SHORT, bad: tuple[str, ...] = ("1.5.0",)) -> Plan:
    """Return a plan that a breach has taken back."""
    fleet.metrics.bad_versions = set(bad)
    plan = a_started(scene, policy=quick_policy(guardrail="", more=more))
    return fleet.until_plan(plan, "rolled_back")


def until_known(fleet: WatchedFleet, plan: Plan) -> Rollback:
    fleet.until(lambda: the_rollback(plan).aftermath not in {"", "watching"}, seconds=20)
    return the_rollback(plan)


def test_a_bad_release_that_was_taken_back_is_back_in_band(scene, fleet):
    plan = a_rolled_back(scene, fleet)
    record = the_rollback(plan)
    assert record.aftermath == "watching"
    assert record.aftermath_until > record.verified_at
    record = until_known(fleet, plan)
    assert record.aftermath == "in_band"
    (kpi,) = record.aftermath_kpis
    assert (kpi["verdict"], kpi["value"], kpi["tenants"]) == ("in_band", 0.0, 2)
    # A full window of looks that were all taken after the last tenant was read back.
    looks = AftermathSample.objects.filter(rollback=record).order_by("at")
    assert looks.first().at >= record.verified_at
    assert (record.aftermath_at - record.verified_at).total_seconds() >= 3
    assert alerts_of(plan) == set()
    assert kinds(plan).count("rollback_aftermath") == 1
    check_invariants(plan)


def test_a_rollback_that_cured_nothing_has_its_own_ending_and_alert(scene, fleet):
    plan = a_rolled_back(scene, fleet, bad=("1.5.0", "1.0.0"))
    record = until_known(fleet, plan)
    assert record.aftermath == "still_bad"
    assert "The release was not the cause" in record.aftermath_sentence
    assert str(Plan.objects.get(pk=plan.pk).state) == "rolled_back"
    alert = Alert.objects.get(plan=plan, kind="still_bad", resolved_at=None)
    assert (alert.payload["kpi"], alert.payload["threshold"]) == ("error_rate", 5)
    assert alert.payload["tenants"] == sorted(aftermath.restored_tenants(record))
    fleet.tick(10)
    assert kinds(plan).count("rollback_aftermath") == 1
    Plan.objects.filter(pk=plan.pk).update(state="archived")
    fleet.tick()
    assert alerts_of(plan) == set()
    check_invariants(plan)


def test_no_data_afterwards_is_not_back_in_band(scene, fleet):
    plan = a_rolled_back(scene, fleet)
    fleet.metrics.down = True
    record = until_known(fleet, plan)
    assert record.aftermath == "no_data"
    assert alerts_of(plan) == {"aftermath_no_data"}


def test_a_rollback_by_a_person_is_watched_too(scene, fleet):
    plan = a_started(scene, policy=quick_policy(more=SHORT))
    fleet.until_batch(plan, "soaking")
    request_rollback(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    assert until_known(fleet, plan).aftermath == "in_band"


def test_what_the_policy_does_not_want_watched_is_said(scene, fleet):
    plan = a_rolled_back(scene, fleet, more="rollback: {watch_after_minutes: 0}")
    record = the_rollback(plan)
    assert (record.aftermath, record.aftermath_until) == ("not_watched", None)
    last = Event.objects.filter(stream__key=plan.stream_key, kind="rollback_finished").get()
    assert "watch_after_minutes: 0" in last.sentence


def test_tenants_that_a_newer_plan_has_moved_on_tell_nothing_any_more(scene, fleet):
    first = a_rolled_back(scene, fleet, more="rollback: {watch_after_minutes: 15}")
    fleet.metrics.bad_versions = set()
    fleet.metrics.down = True
    record = the_rollback(first)
    moved = sorted(aftermath.restored_tenants(record))
    second = a_started(scene, policy=quick_policy(more=SHORT), keys=moved, external_id="pay-8")
    fleet.metrics.down = False
    fleet.until(lambda: TenantUpgrade.objects.filter(plan=second).touched().count() == len(moved))
    record = until_known(fleet, first)
    assert record.aftermath == "not_watched"
    assert "newer plan" in record.aftermath_sentence
    fleet.until_plan(second, "completed")


def test_a_restarted_watch_goes_on_where_it_was(scene, fleet):
    plan = a_rolled_back(scene, fleet)
    record = the_rollback(plan)
    fleet.until(lambda: AftermathSample.objects.filter(rollback=record).count() >= 3)
    before = AftermathSample.objects.filter(rollback=record).count()
    fleet.watch.aftermath.stop()
    fleet.watch.aftermath = AftermathWatch(on_answer=fleet.watch.signal.nudge)
    fleet.watch.aftermath.start()
    fleet.tick()
    followed = fleet.watch.aftermath._followed[record.pk]
    assert len(followed.looks["error_rate"]) >= min(before, 3)
    assert until_known(fleet, plan).aftermath == "in_band"


def test_another_rollback_of_the_plan_ends_the_watch_after_the_first(scene, fleet):
    plan = a_started(
        scene, policy=quick_policy(more="advance: manual\nrollback: {watch_after_minutes: 15}")
    )
    control.promote(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    fleet.until_batch(plan, "passed")
    part = request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="", scope="batch", now=now(), via="page"
    )
    fleet.until_plan(plan, "paused")
    assert Rollback.objects.get(pk=part.pk).aftermath == "watching"
    request_rollback(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    part = Rollback.objects.get(pk=part.pk)
    assert part.aftermath == "not_watched"
    assert "another rollback" in part.aftermath_sentence
    fleet.until_plan(plan, "rolled_back")
    whole = Rollback.objects.get(plan=plan, scope="plan")
    # The tenants of the part run the old version too: they are watched with the rest.
    assert set(aftermath.restored_tenants(whole)) == set(aftermath.restored_tenants(part))


def test_ending_it_twice_keeps_the_first(scene, fleet):
    plan = a_rolled_back(scene, fleet)
    record = the_rollback(plan)
    found = aftermath.Aftermath("in_band", "Back in band.")
    aftermath.end(rollback_id=record.pk, found=found, now=now())
    aftermath.end(rollback_id=record.pk, found=aftermath.Aftermath("still_bad", "Bad."), now=now())
    assert the_rollback(plan).aftermath == "in_band"
    assert kinds(plan).count("rollback_aftermath") == 1


def test_looks_go_on_when_a_clock_that_ran_ahead_is_put_right(scene, fleet):
    plan = a_rolled_back(scene, fleet, more="rollback: {watch_after_minutes: 15}")
    looks = AftermathSample.objects.filter(rollback=the_rollback(plan))
    fleet.until(looks.exists)
    fleet.watch.tick(now() + timedelta(seconds=120), fleet.watch.steady())
    seen = looks.count()
    fleet.until(lambda: looks.count() > seen + 1 or the_rollback(plan).aftermath != "watching", 20)
    assert the_rollback(plan).aftermath in {"watching", "in_band"}


@pytest.mark.parametrize("moved", [3600, -3600], ids=["forward", "back"])
def test_fault_12_a_moved_clock_neither_ends_nor_prolongs_the_watch_after_a_rollback(
    scene, fleet, moved
):
    plan = a_rolled_back(
        scene, fleet, more="rollback: {watch_after_minutes: 15}", bad=("1.5.0", "1.0.0")
    )
    record = the_rollback(plan)
    fleet.tick(3)
    start, steady = now(), fleet.watch.steady()
    by = timedelta(seconds=moved)
    fleet.watch.tick(start + by + timedelta(minutes=1), steady + 60)
    fleet.watch.tick(start + by + timedelta(minutes=14), steady + 14 * 60)
    assert the_rollback(plan).aftermath == "watching"
    fleet.watch.tick(start + by + timedelta(minutes=16), steady + 16 * 60)
    assert the_rollback(plan).aftermath in {"still_bad", "no_data"}
    assert the_rollback(plan).aftermath_until == record.aftermath_until


def test_who_was_frozen_keeps_no_look_and_ends_no_watch(scene, fleet):
    plan = a_rolled_back(scene, fleet, more="rollback: {watch_after_minutes: 15}")
    looks = AftermathSample.objects.filter(rollback=the_rollback(plan))
    fleet.until(looks.exists)
    Lease.objects.update(expires_at=now() - timedelta(seconds=1))
    for name in Lease.objects.values_list("name", flat=True):
        assert leases.acquire(name, holder="other", kind="watch", now=now())
    before = looks.count()
    time.sleep(0.3)
    # It has not noticed yet: its own clock says that the leases are in force.
    for _turn in range(5):
        fleet.watch.tick(now())
        time.sleep(0.1)
    assert looks.count() == before
    assert fleet.watch.aftermath._followed == {}


def test_old_looks_are_removed_and_what_they_came_to_stays(scene, fleet, settings):
    plan = a_rolled_back(scene, fleet)
    record = until_known(fleet, plan)
    looks, ended = AftermathSample.objects.filter(rollback=record), record.aftermath_at
    assert ended is not None
    assert not AftermathCursor.objects.exists(), "nobody counts on from there"
    aftermath.forget_old_looks(ended + timedelta(days=89))
    assert looks.exists()
    aftermath.forget_old_looks(ended + timedelta(days=91))
    assert not looks.exists()
    assert the_rollback(plan).aftermath_kpis == record.aftermath_kpis != []


def test_looks_of_a_watch_that_goes_on_are_never_removed(scene, fleet):
    plan = a_rolled_back(scene, fleet, more="rollback: {watch_after_minutes: 15}")
    looks = AftermathSample.objects.filter(rollback=the_rollback(plan))
    fleet.until(looks.exists)
    aftermath.forget_old_looks(now() + timedelta(days=400))
    assert looks.exists()
