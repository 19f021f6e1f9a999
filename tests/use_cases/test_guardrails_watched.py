"""Guardrails in a running plan: who goes back, what compares, what is told and falls silent."""

from collections.abc import Iterator
from typing import Any

import pytest

from batches.decisions import decide, decide_forward
from batches.evidence import own_history
from batches.live.guardrails_shown import guardrails_shown, stops_again
from batches.live.snapshot import plan_snapshot
from batches.models import (
    Alert,
    Batch,
    GuardrailState,
    KpiBaseline,
    KpiSample,
    Ruling,
    TenantUpgrade,
)
from batches.rollout import control
from batches.watch.loop import Watch
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Plan
from tests.builders import FOREST, a_started, check_invariants, kinds, states
from tests.use_cases.watched_fleet import WatchedFleet, alerts_of, quick_policy, the_rollback
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)
GATE = "advance: manual"


@pytest.fixture
def fleet(scene, settings, tmp_path, monkeypatch) -> Iterator[WatchedFleet]:
    """Return a watch that does the hands' work at once, over acorn to fir."""
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    with WatchedFleet(settings, tmp_path, FOREST) as made:
        yield made


def soaking(scene, fleet, guardrail="", *, at_most=5, soak=60.0, limits="") -> Plan:
    """Return a plan whose canary soaks for long; the next batch waits at its gate."""
    policy = quick_policy(guardrail=guardrail, more=GATE, limits=limits)
    policy = policy.replace("at_most: 5", f"at_most: {at_most}")
    plan = a_started(scene, policy=policy)
    control.promote(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    Batch.objects.filter(plan=plan, number=1).update(soak_left=soak, soak_seconds=soak)
    fleet.until_batch(plan, "soaking")
    return plan


def canaries(plan: Plan) -> list[str]:
    rows = TenantUpgrade.objects.filter(plan=plan, batch__number=1).order_by("tenant_key")
    return list(rows.values_list("tenant_key", flat=True))


def shown(plan: Plan) -> list[dict[str, Any]]:
    fresh = Plan.objects.select_related("release").get(pk=plan.pk)
    return guardrails_shown(fresh, policy_of(current_revision(fresh)), irreversible=False)


def make_bad(fleet, *tenants: str) -> None:
    fleet.metrics.bad_versions = {"1.5.0"}
    fleet.metrics.bad_tenants = set(tenants)


# One tenant.


def test_a_tenant_that_breaks_a_guardrail_about_each_goes_back_alone_and_the_plan_goes_on(
    scene, fleet
):
    plan = soaking(scene, fleet, "scope: tenant", limits="failures: 1, failure_rate: 100")
    sick, well = canaries(plan)
    make_bad(fleet, sick)
    fleet.until(lambda: states(plan)[sick] == "rolled_back")
    fleet.until_plan(plan, "running")
    record = the_rollback(plan)
    assert (record.scope, record.trigger, record.tenants) == ("tenants", "breach", [sick])
    assert record.ruling is not None
    assert list(record.ruling.evidence["breached_by"]) == [sick]
    upgrade = TenantUpgrade.objects.get(plan=plan, tenant_key=sick)
    assert upgrade.set_aside == TenantUpgrade.QUARANTINED
    assert f"in {sick}" in upgrade.set_aside_why
    assert states(plan)[well] == "upgraded"
    fleet.until(lambda: "breach" not in alerts_of(plan))
    assert [kind for kind in kinds(plan) if kind in {"plan_resumed", "plan_paused"}] == [
        "plan_resumed"
    ]
    check_invariants(plan)


def test_beyond_the_budget_the_plan_waits_for_a_person_after_the_tenant_went_back(scene, fleet):
    plan = soaking(scene, fleet, "scope: tenant")
    sick, _well = canaries(plan)
    make_bad(fleet, sick)
    fleet.until(lambda: states(plan)[sick] == "rolled_back")
    fleet.until_plan(plan, "paused")
    fleet.tick(10)
    assert str(Plan.objects.get(pk=plan.pk).state) == "paused"
    check_invariants(plan)


def everywhere(scene, fleet, guardrail="") -> Plan:
    """Return a plan whose last batch soaks for long: all tenants are upgraded."""
    plan = soaking(scene, fleet, guardrail, soak=0.1)
    Batch.objects.filter(plan=plan, number=2).update(soak_left=60.0)
    fleet.until_batch(plan, "passed")
    control.promote(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    fleet.until_batch(plan, "soaking", 2)
    return plan


def test_a_bad_tenant_among_good_ones_is_named_by_an_alert_that_ends_by_itself(scene, fleet):
    plan = everywhere(scene, fleet)
    sick = canaries(plan)[0]
    make_bad(fleet, sick)
    fleet.until(lambda: "bad_tenant" in alerts_of(plan))
    alert = Alert.objects.get(plan=plan, kind="bad_tenant")
    assert alert.payload["tenants"] == [sick]
    assert sick in alert.sentence
    assert [one["tenant"] for one in shown(plan)[0]["stands_out"]] == [sick]
    fleet.tick(20)
    assert Alert.objects.filter(plan=plan, kind="bad_tenant").count() == 1
    assert str(Plan.objects.get(pk=plan.pk).state) == "running"
    fleet.metrics.bad_versions = set()
    fleet.until(lambda: "bad_tenant" not in alerts_of(plan))
    assert not plan.rollbacks.exists()


# One batch.


def test_a_guardrail_about_the_batch_takes_that_batch_back(scene, fleet):
    plan = everywhere(scene, fleet, "scope: batch")
    first = canaries(plan)
    make_bad(fleet, *(key for key in FOREST if key not in first))
    fleet.until_plan(plan, "paused")
    assert the_rollback(plan).scope == "batch"
    assert {key for key, state in states(plan).items() if state == "upgraded"} == set(first)
    check_invariants(plan)


# What compares.

CONTROL = "against: control, unit: points, on_missing: ignore"


def test_a_release_that_is_worse_than_the_control_is_taken_back(scene, fleet):
    plan = soaking(scene, fleet, CONTROL)
    make_bad(fleet)
    fleet.until_plan(plan, "rolled_back")
    ruling = Ruling.objects.get(plan=plan, verdict="breached")
    assert (ruling.baseline, ruling.threshold, ruling.unit) == (0.0, 5.0, "%")
    assert "5 points above control" in ruling.sentence
    check_invariants(plan)


def test_an_illness_of_the_whole_fleet_is_no_fault_of_the_release(scene, fleet):
    plan = soaking(scene, fleet, CONTROL)
    fleet.metrics.bad_versions = {"1.0.0", "1.5.0"}
    fleet.until(lambda: (shown(plan)[0]["baseline"] or 0) > 10)
    fleet.tick(20)
    assert shown(plan)[0]["verdict"] == "fine"
    assert str(Plan.objects.get(pk=plan.pk).state) == "running"


def test_the_last_batch_has_nobody_to_compare_with_and_says_so(scene, fleet):
    plan = a_started(scene, policy=quick_policy(guardrail=CONTROL))
    fleet.until_plan(plan, "completed")
    ruling = Ruling.objects.filter(plan=plan).last()
    assert (ruling.verdict, ruling.cause) == ("undecided", "no_control")


def test_with_tenants_held_back_the_comparison_lasts_to_the_end_and_the_plan_completes(
    scene, fleet
):
    policy = quick_policy(
        guardrail="against: control, unit: points",
        more="selection: {hold_back_percentage: 10}",
    )
    plan = a_started(scene, policy=policy)
    fleet.until_plan(plan, "completed")
    assert set(states(plan).values()) == {"upgraded"}
    assert Ruling.objects.filter(plan=plan, verdict="fine").exists()
    check_invariants(plan)


class Remembered:
    """A history that knows what it is told."""

    def __init__(self, **means: float) -> None:
        self.means = means
        self.asked: list[list[str]] = []

    def baseline(self, kpi, tenants, *, until=None):
        self.asked.append(sorted(tenants))
        return {key: self.means[key] for key in tenants if key in self.means}


def test_without_a_history_nothing_passes_and_the_cause_is_told(scene, fleet):
    plan = soaking(scene, fleet, "against: own_history, unit: x", soak=0.1)
    fleet.until(lambda: "no good measurement" in Plan.objects.get(pk=plan.pk).waiting_for)
    fleet.until(lambda: shown(plan)[0]["cause"] == "no_history")
    assert shown(plan)[0]["since"] is not None


def test_the_history_is_asked_once_and_every_ruling_stands_on_what_was_kept(
    scene, fleet, monkeypatch
):
    history = Remembered(**dict.fromkeys(FOREST, 2.0))
    monkeypatch.setattr(own_history, "kpi_history", history)
    plan = soaking(scene, fleet, "against: own_history, unit: x", at_most=2)
    fleet.until(lambda: shown(plan)[0]["verdict"] == "fine")
    history.means = dict.fromkeys(FOREST, 99.0)
    make_bad(fleet)
    fleet.until_plan(plan, "rolled_back")
    assert KpiBaseline.objects.get(plan=plan).means == dict.fromkeys(canaries(plan), 2.0)
    ruling = Ruling.objects.get(plan=plan, verdict="breached")
    assert (ruling.baseline, ruling.threshold) == (2.0, 4.0)
    check_invariants(plan)


# Why.


def test_a_ruling_keeps_all_that_it_stands_on(scene, fleet):
    plan = soaking(scene, fleet)
    make_bad(fleet)
    fleet.until_plan(plan, "rolled_back")
    ruling = Ruling.objects.get(plan=plan, verdict="breached")
    assert ruling.query == "fleet: bad: errors_total; total: requests_total"
    why = ruling.evidence
    assert why["bad"] / why["n"] * 100 == pytest.approx(ruling.value)
    assert (why["tenants"], why["failed_running"], why["next"]) == (2, 2, "One good look ends this")
    assert why["recent"][-1][1:] == [ruling.value, 5.0]
    states_told = plan_snapshot(plan.pk)["guardrails"][0]
    assert states_told["spark"]["label"].startswith("error_rate over")


# What is told, and falls silent.


def test_a_broken_guardrail_that_pauses_says_before_the_press_that_it_pauses_again(scene, fleet):
    plan = soaking(scene, fleet, "action: pause")
    assert plan_snapshot(plan.pk)["stops_again"] == []
    make_bad(fleet)
    fleet.until_plan(plan, "paused")
    [why] = plan_snapshot(plan.pk)["stops_again"]
    assert "over its limit" in why
    control.resume(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    fleet.until_plan(plan, "paused")
    fleet.metrics.bad_versions = set()
    fleet.until(lambda: not alerts_of(plan))
    assert plan_snapshot(plan.pk)["stops_again"] == []
    control.resume(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    fleet.tick(10)
    assert str(Plan.objects.get(pk=plan.pk).state) == "running"
    assert Alert.objects.filter(plan=plan, kind="breach").count() == 1


def test_what_holds_again_is_told_as_well():
    broken = {"verdict": "breached", "action": "rollback", "sentence": "bad", "dry_run": False}
    assert stops_again("running", "breach", [broken]) == ["bad"]
    assert stops_again("running", "missing_metrics", [broken]) == []
    assert stops_again("running", "breach", [broken | {"dry_run": True}]) == []


def test_a_watch_that_takes_over_lets_no_alert_fall_silent_before_it_has_looked(scene, fleet):
    plan = soaking(scene, fleet, "action: warn, critical: false")
    make_bad(fleet)
    fleet.until(lambda: "guardrail_warning" in alerts_of(plan))
    fleet.watch.observer.forget(None)
    fleet.tick(30)
    assert Alert.objects.filter(plan=plan, kind="guardrail_warning").count() == 1
    fleet.metrics.bad_versions = set()
    fleet.until(lambda: not alerts_of(plan))


def test_missing_data_alerts_also_while_the_plan_is_paused(scene, fleet):
    plan = soaking(scene, fleet)
    fleet.until(lambda: shown(plan)[0]["verdict"] == "fine")
    fleet.metrics.down = True
    control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    fleet.until(lambda: KpiSample.objects.filter(plan=plan, ok=False).exists())
    long_ago = now() - decide.timedelta(minutes=6)
    watched = fleet.watch.observer._plans[plan.pk]
    watched.missing_since["error_rate"] = long_ago
    fleet.until(lambda: alerts_of(plan) == {"missing_metrics"})
    assert f"{long_ago:%H:%M:%S}" in Alert.objects.get(plan=plan).sentence
    fleet.metrics.down = False
    fleet.until(lambda: not alerts_of(plan))
    assert Alert.objects.filter(plan=plan).count() == 1


def test_a_plan_that_has_ended_is_forgotten(scene, fleet):
    plan = a_started(scene, policy=quick_policy())
    fleet.until_plan(plan, "completed")
    fleet.tick(3)
    assert fleet.watch.observer._plans == {}
    assert fleet.watch.deciding._policies == {}


def test_the_small_chart_goes_on_after_a_restart(scene, fleet):
    plan = soaking(scene, fleet)
    fleet.until(lambda: len(GuardrailState.objects.get(plan=plan).recent) > 3)
    before = GuardrailState.objects.get(plan=plan).recent
    assert isinstance(fleet.watch, Watch)
    fleet.watch.observer.forget(None)
    fleet.until(lambda: len(GuardrailState.objects.get(plan=plan).recent) > len(before))
    assert GuardrailState.objects.get(plan=plan).recent[: len(before)] == before


# Names.


def test_a_guardrail_that_names_its_kpi_by_an_alias_is_judged_all_the_same(scene, fleet, settings):
    known = settings.DICTIONARY_FILE.read_text()
    settings.DICTIONARY_FILE.write_text(
        known.replace(
            '"name": "error_rate",', '"name": "error_rate", "aliases": ["http_error_ratio"],'
        )
    )
    fleet.metrics.bad_versions = {"1.5.0"}
    policy = quick_policy().replace("kpi: error_rate", "kpi: http_error_ratio")
    plan = fleet.until_plan(a_started(scene, policy=policy), "rolled_back")
    assert the_rollback(plan).trigger == "breach"
    assert {sample.kpi for sample in KpiSample.objects.filter(plan=plan)} == {"error_rate"}
