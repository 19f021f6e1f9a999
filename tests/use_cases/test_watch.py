"""The watch over a simulated fleet: what it does by itself, and what it leaves to people."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from batches.decisions import decide_forward
from batches.models import Alert, Batch, Heartbeat, Lease, Ruling, TenantUpgrade
from batches.rollback.rollback import request_rollback
from batches.rollout import control
from batches.runtime.watch_duties import DECIDE_LEASE
from batches.watch.loop import TICK_SECONDS
from plans import flags
from plans.approvals import approval
from plans.models import Plan
from tests.builders import FOREST, a_started, an_approved, check_invariants, kinds, states
from tests.use_cases.watched_fleet import WatchedFleet, alerts_of, quick_policy, the_rollback
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def fleet(scene, settings, tmp_path, monkeypatch) -> Iterator[WatchedFleet]:
    """Return a watch that does the hands' work at once, over acorn to fir."""
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    with WatchedFleet(settings, tmp_path, FOREST) as made:
        yield made


@pytest.fixture
def later(fleet):
    """Return a way to let time pass at once, by both clocks."""
    travels = []

    def pass_time(seconds: float) -> None:
        before = fleet.watch.steady
        fleet.watch.steady = lambda: before() + seconds
        travel = time_machine.travel(datetime.now(UTC) + timedelta(seconds=seconds), tick=True)
        travel.start()
        travels.append(travel)

    yield pass_time
    for travel in reversed(travels):
        travel.stop()


def began(scene, **more) -> Plan:
    return a_started(scene, policy=quick_policy(**more))


def live_state(plan, number=1) -> str:
    return str(Batch.objects.get(plan=plan, number=number).state)


# Forward.


def test_a_good_release_goes_to_everybody_and_completes(scene, fleet):
    plan = fleet.until_plan(began(scene), "completed")
    assert set(states(plan).values()) == {"upgraded"}
    assert fleet.versions(FOREST) == {"1.5.0"}
    assert kinds(plan).count("batch_passed") == 2
    assert plan.ended_at is not None
    check_invariants(plan)


def test_an_approved_plan_starts_by_itself_when_it_may(scene, fleet):
    plan = an_approved(scene, policy=quick_policy())
    fleet.until_plan(plan, "running")
    check_invariants(plan)


def test_a_batch_waits_for_the_soak_of_the_one_before(scene, fleet):
    plan = began(scene)
    fleet.until_batch(plan, "soaking")
    assert live_state(plan, 2) == "pending"
    assert fleet.versions(FOREST) == {"1.0.0", "1.5.0"}


def test_nothing_passes_without_a_good_measurement(scene, fleet):
    fleet.metrics.down = True
    plan = began(scene)
    fleet.until(lambda: "no good measurement" in Plan.objects.get(pk=plan.pk).waiting_for)
    fleet.tick(20)
    assert live_state(plan) == "soaking"
    fleet.metrics.down = False
    fleet.until_plan(plan, "completed")
    assert kinds(plan).count("plan_waits") == 1
    check_invariants(plan)


def test_a_failed_tenant_is_taken_back_before_the_soak(scene, fleet):
    fleet.fault("acorn", "fail", directions=frozenset({"install"}))
    plan = began(scene, limits="failure_rate: 60, success_rate: 50")
    fleet.until_plan(plan, "completed")
    assert states(plan)["acorn"] == "rolled_back"
    assert "still 1.0.0" in TenantUpgrade.objects.get(tenant_key="acorn").last_error
    check_invariants(plan)


def test_fault_30_a_tenant_that_cannot_be_read_is_left_out(scene, fleet):
    fleet.fault("acorn", "refuse", directions=frozenset({"observe"}))
    plan = began(scene, limits="failure_rate: 60, success_rate: 50")
    fleet.until_plan(plan, "completed")
    assert states(plan)["acorn"] == "excluded"
    check_invariants(plan)


def test_a_failed_tenant_that_cannot_be_taken_back_needs_a_hand(scene, fleet):
    fleet.fault("acorn", "ok", applies="never", latency_seconds=0.2)
    plan = began(scene, limits="failure_rate: 60, success_rate: 50")
    fleet.until(lambda: plan.calls.filter(upgrade__tenant_key="acorn").exists())
    fleet.fault("acorn", "refuse", directions=frozenset({"install", "restore", "observe"}))
    fleet.until_plan(plan, "needs_hand")
    assert states(plan)["acorn"] == "needs_hand"
    assert "needs_hand" in alerts_of(plan)
    check_invariants(plan)


def test_a_platform_that_refuses_the_credentials_holds_the_batch(scene, fleet):
    for tenant in FOREST:
        fleet.fault(tenant, "unauthorized", directions=frozenset({"install"}))
    plan = began(scene)
    batch = fleet.until_batch(plan, "held")
    assert batch.held_kind == "unauthorized"
    assert "unauthorized" in alerts_of(plan)
    fleet.fleet.faults.clear()
    control.release_hold(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    fleet.until_plan(plan, "completed")
    check_invariants(plan)


# Back.


def test_a_breach_takes_everybody_back(scene, fleet):
    fleet.metrics.bad_versions = {"1.5.0"}
    plan = fleet.until_plan(began(scene), "rolled_back")
    assert fleet.versions(FOREST) == {"1.0.0"}
    record = the_rollback(plan)
    assert (record.trigger, record.restored, record.missed_at) == ("breach", 2, None)
    assert record.ruling == Ruling.objects.get(plan=plan, verdict="breached")
    assert "20 %" in record.reason
    assert set(states(plan).values()) == {"rolled_back", "excluded"}
    assert live_state(plan, 2) == "skipped"
    assert alerts_of(plan) == set()
    check_invariants(plan)


def test_too_many_failures_take_everybody_back(scene, fleet):
    fleet.fault("acorn", "fail", directions=frozenset({"install"}))
    fleet.fault("birch", "fail", directions=frozenset({"install"}))
    fleet.fault("cedar", "fail", directions=frozenset({"install"}))
    plan = fleet.until_plan(began(scene), "rolled_back")
    assert the_rollback(plan).trigger == "failure_rate"
    assert fleet.versions(FOREST) == {"1.0.0"}
    check_invariants(plan)


def test_an_unresumed_pause_takes_everybody_back_and_counts_from_the_pause(scene, fleet, later):
    plan = began(scene, more="advance: manual")
    control.promote(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    fleet.until_batch(plan, "passed")
    at = now()
    control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=at, via="page")
    later(55)
    fleet.tick(3)
    assert str(Plan.objects.get(pk=plan.pk).state) == "paused"
    later(6)
    fleet.until_plan(plan, "rolled_back")
    record = the_rollback(plan)
    assert (record.trigger, record.clock_from) == ("pause", at)
    assert record.deadline == at + timedelta(seconds=180)
    assert fleet.versions(FOREST) == {"1.0.0"}
    check_invariants(plan)


def test_a_pause_that_is_resumed_in_time_goes_on(scene, fleet, later):
    plan = began(scene)
    fleet.until_batch(plan, "soaking")
    control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    fleet.tick(10)
    assert live_state(plan) == "soaking"
    control.resume(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    later(61)
    fleet.until_plan(plan, "completed")
    check_invariants(plan)


def test_a_person_takes_everybody_back_while_calls_are_under_way(scene, fleet):
    for tenant in FOREST:
        fleet.fault(tenant, "ok", latency_seconds=0.2, directions=frozenset({"install"}))
    plan = began(scene)
    fleet.until(lambda: plan.calls.exists())
    request_rollback(plan_id=plan.pk, by=scene.olga, reason="seen it", now=now(), via="page")
    fleet.until_plan(plan, "rolled_back")
    assert fleet.versions(FOREST) == {"1.0.0"}
    check_invariants(plan)


def test_a_forward_call_that_hangs_and_is_applied_late_ends_on_the_old_version(scene, fleet):
    for tenant in FOREST:
        fleet.fault(
            tenant,
            "hang",
            applies="late",
            late_seconds=0.55,
            times=1,
            directions=frozenset({"install"}),
        )
    plan = began(scene)
    fleet.until(lambda: plan.calls.exists())
    request_rollback(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    fleet.until_plan(plan, "rolled_back")
    assert fleet.versions(FOREST) == {"1.0.0"}
    check_invariants(plan)


def test_who_cannot_be_taken_back_needs_a_hand_and_the_rest_is_back(scene, fleet):
    plan = began(scene)
    batch = fleet.until_batch(plan, "soaking")
    stuck = TenantUpgrade.objects.filter(batch=batch).first().tenant_key
    fleet.fault(stuck, "refuse", directions=frozenset({"restore"}))
    request_rollback(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    plan = fleet.until_plan(plan, "needs_hand")
    assert [key for key, state in states(plan).items() if state == "needs_hand"] == [stuck]
    assert "rollback_failed" in alerts_of(plan)
    check_invariants(plan)


def test_only_a_part_is_taken_back_and_the_plan_waits_for_a_person(scene, fleet):
    plan = began(scene, more="advance: manual")
    control.promote(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    fleet.until_batch(plan, "passed")
    request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="", scope="batch", now=now(), via="page"
    )
    plan = fleet.until_plan(plan, "paused")
    fleet.tick(10)
    assert (live_state(plan, 1), live_state(plan, 2)) == ("rolled_back", "pending")
    assert str(Plan.objects.get(pk=plan.pk).state) == "paused"
    check_invariants(plan)


def test_a_breach_that_was_taken_back_in_part_does_not_take_back_the_rest(scene, fleet):
    flags.turn(name=flags.ROLLBACK, on=False, reason="", by=scene.ada, now=now(), via="page")
    plan = began(scene)
    Batch.objects.filter(plan=plan, number=2).update(soak_left=60)
    fleet.until_batch(plan, "soaking", 2)
    fleet.metrics.bad_versions = {"1.5.0"}
    fleet.until_batch(plan, "held", 2)
    fleet.metrics.bad_versions = set()
    request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="", scope="batch", now=now(), via="page"
    )
    flags.turn(name=flags.ROLLBACK, on=True, reason="", by=scene.ada, now=now(), via="page")
    fleet.until_plan(plan, "paused")
    fleet.tick(20)
    assert str(Plan.objects.get(pk=plan.pk).state) == "paused"
    assert (live_state(plan, 1), live_state(plan, 2)) == ("passed", "rolled_back")
    check_invariants(plan)


# Holds and waits.


def test_data_that_is_missing_for_ten_minutes_holds_and_takes_nobody_back_and_then_it_goes_on(
    scene, fleet, later
):
    plan = began(scene, more="advance: manual")
    control.promote(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    fleet.metrics.down = True
    fleet.until_batch(plan, "soaking")
    later(295)
    fleet.tick(3)
    assert live_state(plan) == "soaking"
    later(10)
    batch = fleet.until_batch(plan, "held")
    assert (batch.held_kind, alerts_of(plan)) == ("missing_metrics", {"missing_metrics"})
    later(300)
    fleet.tick(5)
    assert live_state(plan) == "held"
    fleet.metrics.down = False
    fleet.until(lambda: not alerts_of(plan))
    fleet.until(lambda: live_state(plan) == "passed")
    assert not plan.rollbacks.exists()
    assert kinds(plan).count("hold_released") == 1
    check_invariants(plan)


def test_a_batch_that_calls_too_long_is_held(scene, fleet, later, settings):
    settings.WATCH_MAY_RUN_BATCHES = False
    plan = began(scene)
    fleet.until_batch(plan, "deploying")
    later(1801)
    batch = fleet.until_batch(plan, "held")
    assert (batch.held_kind, alerts_of(plan)) == ("batch_overrun", {"batch_overrun"})
    check_invariants(plan)


def test_a_hold_that_nobody_decides_takes_everybody_back(scene, fleet, later):
    plan = began(scene)
    batch = fleet.until_batch(plan, "soaking")
    control.hold(batch_id=batch.pk, kind="batch_overrun", reason="late", now=now())
    later(3590)
    fleet.tick(3)
    assert live_state(plan) == "held"
    later(20)
    plan = fleet.until_plan(plan, "rolled_back")
    assert the_rollback(plan).trigger == "hold_expired"
    assert fleet.versions(FOREST) == {"1.0.0"}
    check_invariants(plan)


def test_a_batch_that_could_not_be_taken_back_in_time_waits(scene, fleet):
    plan = began(scene, limits="parallelism: 1, rollback_seconds: 65")
    fleet.until_batch(plan, "soaking")
    slow = "deployers:\n  fleet: {kind: simulated, parallelism: 1, expected_seconds: 9}\n"
    fleet.describe_deployer(slow)
    fleet.until(lambda: "quote_exceeds_limit" in alerts_of(plan))
    assert live_state(plan, 2) == "pending"
    assert "may not begin" in Plan.objects.get(pk=plan.pk).waiting_for
    check_invariants(plan)


def test_with_the_switch_off_the_next_batch_waits_and_says_so_once(scene, fleet):
    plan = began(scene)
    fleet.until_batch(plan, "soaking")
    flags.turn(name=flags.ORCHESTRATOR, on=False, reason="", by=scene.ada, now=now(), via="page")
    fleet.until(lambda: "is off" in Plan.objects.get(pk=plan.pk).waiting_for)
    fleet.tick(10)
    assert live_state(plan) == "soaking"
    flags.turn(name=flags.ORCHESTRATOR, on=True, reason="", by=scene.ada, now=now(), via="page")
    plan = fleet.until_plan(plan, "completed")
    assert (kinds(plan).count("plan_waits"), plan.waiting_for) == (1, "")
    check_invariants(plan)


def test_with_the_rollback_switch_off_a_breach_holds_until_a_person_acts(scene, fleet):
    flags.turn(name=flags.ROLLBACK, on=False, reason="", by=scene.ada, now=now(), via="page")
    fleet.metrics.bad_versions = {"1.5.0"}
    plan = began(scene)
    batch = fleet.until_batch(plan, "held")
    fleet.tick(5)
    assert (batch.held_kind, live_state(plan)) == ("breach", "held")
    told = Alert.objects.get(plan=plan, kind="breach").payload
    assert (told["kpi"], told["value"], told["threshold"], told["unit"]) == (
        "error_rate",
        20,
        5,
        "%",
    )
    request_rollback(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    fleet.until_plan(plan, "rolled_back")
    check_invariants(plan)


# Broken surroundings.


def test_a_broken_dictionary_stops_batches_and_never_a_rollback(scene, fleet, settings):
    plan = began(scene, more="advance: manual")
    control.promote(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    fleet.until_batch(plan, "soaking")
    settings.DICTIONARY_FILE.write_text("{")
    fleet.until(lambda: "configuration" in alerts_of(plan))
    fleet.tick(20)
    assert live_state(plan) == "soaking"
    request_rollback(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    fleet.until_plan(plan, "rolled_back")
    check_invariants(plan, replays=False)


def test_a_kpi_that_vanished_from_the_dictionary_lets_nothing_pass(scene, fleet, settings):
    plan = began(scene)
    fleet.until_batch(plan, "soaking")
    text = settings.DICTIONARY_FILE.read_text().replace("error_rate", "other_rate")
    settings.DICTIONARY_FILE.write_text(text)
    fleet.until(lambda: "no source for error_rate" in Plan.objects.get(pk=plan.pk).waiting_for)
    assert live_state(plan) == "soaking"
    check_invariants(plan, replays=False)


def test_a_second_watch_stands_by_until_the_first_has_gone(scene, fleet, settings, tmp_path):
    with WatchedFleet(settings, tmp_path, FOREST) as first:
        # As on SQLite; where watches share the plans out, nobody stands by (tests/postgres).
        first.watch.duties.shared = fleet.watch.duties.shared = False
        first.tick()
        plan = began(scene)
        fleet.tick(5)
        assert Lease.objects.get(name=DECIDE_LEASE).holder == first.watch.holder
        assert live_state(plan) == "pending"
    fleet.tick()
    assert Lease.objects.get(name=DECIDE_LEASE).holder == fleet.watch.holder
    assert live_state(plan) == "deploying"


def test_a_watch_that_stands_by_looks_again_as_soon_as_the_lease_could_run_out(scene, fleet):
    expires = datetime.now(UTC) + timedelta(seconds=0.4)
    Lease.objects.create(name=DECIDE_LEASE, holder="another", kind="watch", expires_at=expires)
    fleet.tick()
    assert 0 < fleet.watch._patience < 0.5
    Lease.objects.filter(name=DECIDE_LEASE).update(expires_at=expires + timedelta(seconds=60))
    fleet.tick()
    assert fleet.watch._patience == TICK_SECONDS


def test_a_plan_that_cannot_be_decided_about_keeps_no_other_plan_from_going_on(
    fleet, scene, monkeypatch
):
    good = a_started(scene, policy=quick_policy(), keys=["acorn", "birch"], external_id="good")
    sick = a_started(scene, policy=quick_policy(), keys=["cedar", "elm"], external_id="sick")
    decided = fleet.watch.deciding._one_plan

    def fail_for_the_sick(plan, at, together=None):
        if plan.pk == sick.pk:
            raise KeyError("planted")
        decided(plan, at, together)

    monkeypatch.setattr(fleet.watch.deciding, "_one_plan", fail_for_the_sick)
    fleet.until_plan(good, "completed")
    assert alerts_of(sick) == {"watch_failed"}
    assert alerts_of(good) == set()


def test_a_plan_that_cannot_be_started_keeps_no_other_plan_from_going_on(fleet, scene, monkeypatch):
    good = a_started(scene, policy=quick_policy(), keys=["acorn", "birch"], external_id="good")
    sick = an_approved(scene, policy=quick_policy(), keys=["cedar", "elm"], external_id="sick")

    def fail(plan, at):
        raise KeyError("planted")

    monkeypatch.setattr(fleet.watch.starting, "_start_one", fail)
    fleet.until_plan(good, "completed")
    assert alerts_of(sick) == {"watch_failed"}


def test_a_guardrail_that_only_warns_alerts_and_lets_the_plan_go_on(fleet, scene):
    fleet.metrics.bad_versions.add("1.5.0")
    policy = quick_policy(guardrail="action: warn, critical: false")
    plan = a_started(scene, policy=policy, keys=["acorn", "birch", "cedar"])
    fleet.until(lambda: "guardrail_warning" in alerts_of(plan) or _ended(plan))
    assert "guardrail_warning" in kinds_of_alerts(plan)
    assert not plan.rollbacks.exists()
    assert str(fleet.until_plan(plan, "completed").state) == "completed"


def _ended(plan):
    return Plan.objects.filter(pk=plan.pk, state="completed").exists()


def kinds_of_alerts(plan):
    return set(plan.alerts.values_list("kind", flat=True))


# Several watches.


def test_a_standby_tells_of_itself_once_a_second_at_most(scene, fleet):
    Lease.objects.create(
        name=DECIDE_LEASE, holder="another", kind="watch", expires_at=now() + timedelta(seconds=60)
    )
    fleet.tick()
    told = Heartbeat.objects.get(name=fleet.watch.holder).at
    fleet.tick(3)
    assert Heartbeat.objects.get(name=fleet.watch.holder).at == told


# What is known of plans that are over.


def test_the_alert_about_a_plan_that_was_never_started_ends_with_the_plan(
    fleet, scene, monkeypatch
):
    sick = an_approved(scene, policy=quick_policy(), keys=["cedar", "elm"], external_id="sick")

    def fail(plan, at):
        raise KeyError("planted")

    monkeypatch.setattr(fleet.watch.starting, "_start_one", fail)
    fleet.tick()
    assert alerts_of(sick) == {"watch_failed"}
    approval.cancel(plan_id=sick.pk, by=scene.mara, reason="", now=now(), via="page")
    fleet.tick()
    assert alerts_of(sick) == set()


def test_the_alert_about_an_approved_plan_ends_when_it_can_be_decided_about_again(
    fleet, scene, monkeypatch
):
    waits = an_approved(scene, policy=quick_policy(), keys=["cedar", "elm"])
    Plan.objects.update(not_before=now() + timedelta(hours=1))
    with monkeypatch.context() as planted:
        planted.setattr(fleet.watch.starting, "_start_one", lambda plan, at: {}["planted"])
        fleet.tick()
        assert alerts_of(waits) == {"watch_failed"}
    fleet.tick()
    assert alerts_of(waits) == set()


def test_the_policies_of_plans_that_have_ended_are_forgotten(fleet, scene):
    plan = a_started(scene, policy=quick_policy(), keys=["acorn", "birch"])
    fleet.tick()
    assert [pk for pk, _revision in fleet.watch.deciding._policies] == [plan.pk]
    fleet.until_plan(plan, "completed")
    fleet.tick()
    assert fleet.watch.deciding._policies == {}
