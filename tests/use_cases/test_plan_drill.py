"""The drill within a plan: one tenant back and forward again before the plan widens."""

from collections.abc import Iterator

import pytest

from batches.decisions import decide_forward, plan_rows
from batches.decisions.decide import decide
from batches.decisions.plan_facts import plan_facts
from batches.drills import drilling
from batches.models import Batch, DeployerCall, DeployerMeasurement, RollbackDrill, TenantUpgrade
from batches.rollback.rollback import request_rollback
from batches.rollout import control
from batches.rollout.success_rate import success_rates
from plans import flags
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Freeze, Plan
from plans.openings.freezing import declare_freeze, lift_freeze
from plans.refusal import Refused
from tests.builders import FOREST, a_started, check_invariants, kinds, soaking, states
from tests.use_cases.watched_fleet import WatchedFleet, alerts_of, quick_policy
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)
DRILL = "rollback: {drill: true, watch_after_minutes: 0}"


@pytest.fixture
def fleet(scene, settings, tmp_path, monkeypatch) -> Iterator[WatchedFleet]:
    """Return a watch that does the hands' work at once, over acorn to fir."""
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    with WatchedFleet(settings, tmp_path, FOREST) as made:
        yield made


def began(scene, *, limits: str = "") -> Plan:
    return a_started(scene, policy=quick_policy(more=DRILL, limits=limits))


def drill_of(plan: Plan) -> RollbackDrill | None:
    return RollbackDrill.objects.filter(plan=plan).first()


def until_drill(fleet: WatchedFleet, plan: Plan, **wanted: str) -> RollbackDrill:
    fleet.until(lambda: RollbackDrill.objects.filter(plan=plan, **wanted).exists())
    return RollbackDrill.objects.get(plan=plan)


def drilled(plan: Plan) -> TenantUpgrade:
    drill = drill_of(plan)
    assert drill is not None
    return TenantUpgrade.objects.get(plan=plan, tenant_key=drill.tenants[0])


def test_one_tenant_goes_back_and_forward_again_and_the_plan_completes(scene, fleet):
    plan = fleet.until_plan(began(scene), "completed")
    drill = drill_of(plan)
    assert (drill.outcome, drill.phase, len(drill.tenants)) == ("passed", "ended", 1)
    assert 0 < drill.seconds < drill.quote_seconds
    assert drill.started_at < drill.restored_at < drill.forward_at <= drill.ended_at
    row = drilled(plan)
    calls = DeployerCall.objects.filter(upgrade=row).order_by("pk")
    assert [(c.direction, c.generation) for c in calls] == [
        ("install", 1),
        ("restore", 2),
        ("install", 3),
    ]
    # Every intent has its own fence, and the tenant counts anew from its last confirmation.
    assert len({call.fence for call in calls}) == 3
    assert row.upgraded_at > drill.restored_at
    # Nothing failed: it is not among those that are in quarantine.
    assert (row.state, row.set_aside, row.set_aside_at) == ("upgraded", "", None)
    assert DeployerCall.objects.filter(plan=plan, direction="restore").count() == 1
    assert fleet.versions(FOREST) == {"1.5.0"}
    told = kinds(plan)
    assert told.index("drill_passed") < told.index("batch_passed")
    # What the drill's restore took feeds the quote.
    assert DeployerMeasurement.objects.get(deployer="fleet", direction="restore").count == 1
    check_invariants(plan)


def test_nobody_is_drilled_unless_the_policy_says_so(scene, fleet):
    plan = fleet.until_plan(a_started(scene, policy=quick_policy()), "completed")
    assert drill_of(plan) is None


def test_a_freeze_lets_no_drill_begin(scene, fleet):
    for tenant in FOREST:
        fleet.fault(tenant, "ok", latency_seconds=0.2, directions=frozenset({"install"}))
    plan = began(scene)
    # Both calls are under way: they end, and what follows them is frozen.
    fleet.until(lambda: DeployerCall.objects.filter(plan=plan).count() == 2)
    freeze = frozen(scene)
    fleet.until_batch(plan, "soaking")
    fleet.tick(3)
    assert drill_of(plan) is None
    assert "the drill waits" in Plan.objects.get(pk=plan.pk).waiting_for
    lift_freeze(freeze_id=freeze.pk, why="done", by=scene.olga, now=now(), via="page")
    fleet.until_plan(plan, "completed")
    assert drill_of(plan).outcome == "passed"


def test_a_drilled_tenant_does_not_go_forward_during_a_freeze(scene, fleet):
    for tenant in FOREST:
        fleet.fault(tenant, "ok", latency_seconds=0.3, directions=frozenset({"restore"}))
    plan = began(scene)
    until_drill(fleet, plan, phase="back")
    freeze = frozen(scene)
    fleet.until(lambda: drilled(plan).state == "rolled_back")
    fleet.until(lambda: "the drill waits" in Plan.objects.get(pk=plan.pk).waiting_for)
    assert (drilled(plan).state, drilled(plan).generation) == ("rolled_back", 2)
    lift_freeze(freeze_id=freeze.pk, why="done", by=scene.olga, now=now(), via="page")
    fleet.until_plan(plan, "completed")
    assert drilled(plan).generation == 3


def frozen(scene) -> Freeze:
    return declare_freeze(
        name="quiet", reason="the books are closed", by=scene.olga, now=now(), via="page"
    )


def test_a_drill_is_no_failure_of_its_tenant(scene, fleet):
    for tenant in FOREST:
        fleet.fault(tenant, "ok", latency_seconds=0.2, directions=frozenset({"restore"}))
    plan = began(scene, limits="failure_rate: 0, success_rate: 100")
    fleet.until(lambda: TenantUpgrade.objects.filter(plan=plan, state="restoring").exists())
    assert success_rates(now())["pay"].share == 1.0
    fleet.until_plan(plan, "completed")
    assert "batch_held" not in kinds(plan)


def test_a_drill_that_cannot_go_forward_again_holds_the_plan(scene, fleet):
    plan = began(scene)
    until_drill(fleet, plan, phase="back")
    fleet.fault(drilled(plan).tenant_key, "fail", directions=frozenset({"install"}))
    batch = fleet.until_batch(plan, "held")
    assert batch.held_kind == "drill_failed"
    assert alerts_of(plan) == {"drill_failed"}
    assert drill_of(plan).outcome == "failed"
    assert "did not go forward again" in drill_of(plan).sentence
    # It stays on the version that works, not half way.
    assert (drilled(plan).state, drilled(plan).set_aside) == ("rolled_back", "quarantined")
    assert drilled(plan).set_aside_why
    assert str(Batch.objects.get(plan=plan, number=2).state) == "pending"
    fleet.fleet.faults.clear()
    control.release_hold(plan_id=plan.pk, by=scene.olga, reason="known", now=now(), via="page")
    fleet.until_plan(plan, "completed")
    assert sorted(states(plan).values()) == ["rolled_back"] + ["upgraded"] * 5
    check_invariants(plan)


def test_a_drill_that_cannot_come_back_holds_the_plan_and_calls_a_person(scene, fleet):
    plan = began(scene)
    fleet.until_batch(plan, "deploying")
    for tenant in FOREST:
        fleet.fault(tenant, "refuse", directions=frozenset({"restore"}))
    batch = fleet.until_batch(plan, "held")
    assert batch.held_kind == "drill_failed"
    assert "could not be taken back" in drill_of(plan).sentence
    assert drilled(plan).state == "needs_hand"
    check_invariants(plan)


def test_a_rollback_in_the_middle_wins_and_takes_everybody_back(scene, fleet):
    plan = began(scene)
    until_drill(fleet, plan, phase="back")
    fleet.fault(
        drilled(plan).tenant_key,
        "hang",
        applies="late",
        late_seconds=0.4,
        times=1,
        directions=frozenset({"install"}),
    )
    fleet.until(lambda: DeployerCall.objects.filter(plan=plan, generation=3).exists())
    request_rollback(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    assert drill_of(plan).outcome == "cut_short"
    fleet.until_plan(plan, "rolled_back")
    assert fleet.versions(FOREST) == {"1.0.0"}
    check_invariants(plan)


def test_a_pause_stops_the_drill_and_a_resume_goes_on_with_a_new_clock(scene, fleet):
    for tenant in FOREST:
        fleet.fault(tenant, "fail", times=1, directions=frozenset({"restore"}))
    plan = began(scene)
    fleet.until(lambda: TenantUpgrade.objects.filter(plan=plan, state="restoring").exists())
    control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    fleet.tick(15)
    assert drill_of(plan).outcome == ""
    begun = drill_of(plan).clock_from
    control.resume(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    fleet.until_plan(plan, "completed")
    assert drill_of(plan).outcome == "passed"
    assert drill_of(plan).clock_from > begun
    check_invariants(plan)


def test_a_stopped_orchestrator_starts_no_drill(scene, fleet):
    plan = began(scene)
    fleet.until(lambda: Batch.objects.filter(plan=plan, state="deploying").exists())
    fleet.until_batch(plan, "soaking")
    flags.turn(name=flags.ORCHESTRATOR, on=False, reason="", by=scene.ada, now=now(), via="page")
    fleet.tick(10)
    phase = drill_of(plan).phase if drill_of(plan) else None
    fleet.tick(5)
    assert (drill_of(plan).phase if drill_of(plan) else None) == phase
    flags.turn(name=flags.ORCHESTRATOR, on=True, reason="", by=scene.ada, now=now(), via="page")
    fleet.until_plan(plan, "completed")


def test_a_step_is_taken_once(scene, fleet):
    plan = fleet.until_plan(began(scene), "completed")
    drill = drill_of(plan)
    with pytest.raises(Refused, match="further on"):
        drilling.advance(drill_id=drill.pk, step="restored", why="", now=now())
    batch = Batch.objects.get(plan=plan, number=1)
    with pytest.raises(Refused, match="No drill"):
        drilling.begin_plan_drill(batch_id=batch.pk, now=now())


def test_a_tenant_that_a_drill_takes_back_while_the_plan_is_read_is_no_failure(scene, monkeypatch):
    plan = began(scene)
    batch = soaking(plan)
    drill = drilling.begin_plan_drill(batch_id=batch.pk, now=now())
    counted = plan_rows._counts

    def after_its_restore_was_claimed(plans, drilled):
        rows = TenantUpgrade.objects.filter(plan=plan, tenant_key__in=drill.tenants)
        rows.update(state="restoring")
        return counted(plans, drilled)

    monkeypatch.setattr(plan_rows, "_counts", after_its_restore_was_claimed)
    plan = Plan.objects.select_related("plugin", "release").get(pk=plan.pk)
    facts = plan_facts(plan, policy_of(current_revision(plan)), now())
    assert facts.live.failures == 0
    assert facts.live.counts == {"upgraded": batch.size}
    assert decide(facts).do == "run_drill"
