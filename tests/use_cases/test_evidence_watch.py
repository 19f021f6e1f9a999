"""The evidence test under a watch: it pauses, takes back or warns, once and with its reason."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from batches.decisions import decide_forward
from batches.evidence import tenant_history, watching
from batches.evidence.evidence_chart import evidence_chart, ratio_charts
from batches.evidence.watching import evidence_facts
from batches.guardrails.limits_in_force import policies_in_force
from batches.history import kpi_history
from batches.live.snapshot import plan_snapshot
from batches.looks.taking_looks import tenants_now
from batches.models import (
    Batch,
    EvidenceBaseline,
    EvidenceLook,
    EvidenceState,
    Ruling,
    TenantUpgrade,
)
from batches.rollout import control
from batches.rollout.progress import say_waiting
from batches.rollout.readiness import missing_names
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Event, Plan
from plans.policies.policy import EvidenceRules
from reports.reading.evidence_course import evidence_course
from tests.builders import FOREST, a_started, check_invariants, policy_text, states
from tests.use_cases.watched_fleet import LIMITS, WatchedFleet, alerts_of, the_rollback
from tests.web.api_scene import Scene, now

pytestmark = pytest.mark.django_db(transaction=True)

QUICK = "detect: 50, tolerated_worsening: {points: 1}"
SLOW_BATCHES = """
      - {name: canary, percentage: 34, soak_minutes: 0.002}
      - {name: rest, percentage: 66, soak_minutes: 0.002}"""


class KnownHistory:
    """A history in which every tenant had one error in 2,000 requests."""

    def exposure_rates(self, plugin, kpi, tenants, *, until, bound):
        return dict.fromkeys(tenants, (5.0, 10000.0))

    def dispersion(self, plugin, kpi, *, until, bound):
        return 1.0


@pytest.fixture(autouse=True)
def history(monkeypatch):
    """Have a history; nothing of another test's plan is remembered."""
    monkeypatch.setattr(tenant_history, "kpi_history", KnownHistory())


@pytest.fixture
def fleet(scene, settings, tmp_path, monkeypatch) -> Iterator[WatchedFleet]:
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    with WatchedFleet(settings, tmp_path, FOREST) as made:
        yield made


def began(
    scene: Scene,
    *,
    evidence: str = QUICK,
    more: str = "",
    limits: str = "",
    batches: str = SLOW_BATCHES,
) -> Plan:
    policy = policy_text(
        batches=batches,
        more=f"limits: {{{', '.join(filter(None, [LIMITS, limits]))}}}\n"
        f"evidence: {{{evidence}}}\n{more}",
    )
    return a_started(scene, policy=policy)


def state_of(plan: Plan) -> EvidenceState:
    return EvidenceState.objects.get(plan=plan)


def facts_of(plan: Plan, at=None):
    plan = Plan.objects.get(pk=plan.pk)
    return evidence_facts(plan, policy_of(current_revision(plan)), at or now())


def test_a_good_release_passes_once_enough_requests_were_seen(scene, fleet):
    plan = fleet.until_plan(began(scene), "completed")
    told = Ruling.objects.filter(plan=plan, guardrail="evidence")
    assert "fine" in set(told.values_list("verdict", flat=True))
    assert not told.filter(verdict="breached").exists()
    # The last batch leaves nobody to compare with, and that keeps no plan from its end.
    assert state_of(plan).cause == "no_control"
    check_invariants(plan)


def test_who_is_between_two_versions_is_compared_with_nobody(scene):
    plan = began(scene)
    first = TenantUpgrade.objects.filter(plan=plan).order_by("batch__number", "position")
    one, other, *rest = first
    assert set(tenants_now(plan, now()).control) == {row.tenant_key for row in first}
    for state in ("upgrading", "failed", "unknown", "restoring", "rolled_back", "needs_hand"):
        TenantUpgrade.objects.filter(pk=one.pk).update(state=state, touched_at=now())
        assert set(tenants_now(plan, now()).control) == {
            row.tenant_key for row in (other, *rest)
        }, state
    TenantUpgrade.objects.filter(pk=other.pk).update(state="excluded")
    assert other.tenant_key in tenants_now(plan, now()).control
    TenantUpgrade.objects.filter(pk=other.pk).update(touched_at=now())
    assert other.tenant_key not in tenants_now(plan, now()).control


def test_a_bad_release_pauses_the_plan_with_its_whole_reason(scene, fleet):
    fleet.metrics.bad_versions = {"1.5.0"}
    plan = fleet.until_plan(began(scene), "paused")
    ruling = Ruling.objects.get(plan=plan, guardrail="evidence", verdict="breached")
    assert ruling.sentence.startswith("error_rate 20 % in the canary (")
    assert "2 tenants) against 0 % in control: evidence 100 % at look" in ruling.sentence
    assert "tolerated x1.2 + 1 points; worst tenant" in ruling.sentence
    assert ruling.sentence.endswith("calibrated by the tenants' own history")
    assert (ruling.action, ruling.kpi, ruling.value, ruling.unit) == (
        "pause",
        "error_rate",
        100.0,
        "%",
    )
    paused = Event.objects.get(stream__key=plan.stream_key, kind="plan_paused")
    assert ruling.sentence in paused.sentence
    assert "breach" in alerts_of(plan)
    assert sorted(states(plan).values()).count("upgraded") == 2


def test_with_action_rollback_everybody_goes_back_by_the_ruling(scene, fleet):
    fleet.metrics.bad_versions = {"1.5.0"}
    plan = fleet.until_plan(began(scene, evidence=f"action: rollback, {QUICK}"), "rolled_back")
    record = the_rollback(plan)
    assert record.trigger == "breach"
    assert record.ruling == Ruling.objects.get(plan=plan, verdict="breached")
    assert fleet.versions(FOREST) == {"1.0.0"}
    check_invariants(plan)


def test_without_history_it_warns_and_the_plan_goes_on(scene, fleet, monkeypatch):
    monkeypatch.setattr(tenant_history, "kpi_history", kpi_history)
    fleet.metrics.bad_versions = {"1.5.0"}
    # Nothing is waited for, so that the soak itself has to have time for some looks.
    plan = began(scene, batches=SLOW_BATCHES.replace("0.002", "0.03"))
    fleet.until(lambda: "guardrail_warning" in alerts_of(plan) or _ended(plan))
    fleet.until_plan(plan, "completed")
    warned = Ruling.objects.get(plan=plan, guardrail="evidence", verdict="breached")
    assert warned.action == "warn"
    assert "the tenants' history is too short (0 requests" in warned.sentence
    assert EvidenceBaseline.objects.get(plan=plan).short


def _ended(plan: Plan) -> bool:
    return Plan.objects.filter(pk=plan.pk, state="completed").exists()


def test_the_same_look_counts_once_whoever_takes_it_in(scene, fleet):
    plan = began(scene)
    fleet.until(lambda: EvidenceLook.objects.filter(plan=plan).count() >= 3)
    fleet.watch.observer.forget(None)
    watched = fleet.watch.observer._watched(plan, policy_of(current_revision(plan)))
    before = state_of(plan)
    looks = EvidenceLook.objects.filter(plan=plan).count()
    known = watching.kept_of(plan, watched)
    watching.take_in(plan, watched, {"error_rate"}, known, canary=2, control=4, now=now())
    assert EvidenceLook.objects.filter(plan=plan).count() == looks
    assert state_of(plan).state == before.state


def test_a_new_watch_goes_on_from_where_the_old_one_was(scene, fleet):
    fleet.metrics.bad_versions = set()
    plan = began(scene, evidence=f"{QUICK}, power: 99.9", more="advance: manual\n")
    fleet.until(lambda: EvidenceLook.objects.filter(plan=plan).count() >= 3)
    seen = state_of(plan).state["processes"]["error_rate"]
    fleet.watch.observer.forget(None)
    looks = EvidenceLook.objects.filter(plan=plan).count()
    fleet.until(lambda: EvidenceLook.objects.filter(plan=plan).count() > looks)
    again = state_of(plan).state["processes"]["error_rate"]
    assert again["looks"] > seen["looks"]
    assert again["control_requests"] >= seen["control_requests"]
    total = EvidenceLook.objects.filter(plan=plan).values_list("control_requests", flat=True)
    assert again["control_requests"] == sum(total)


def test_who_resumes_takes_it_on_and_the_test_begins_anew(scene, fleet):
    fleet.metrics.bad_versions = {"1.5.0"}
    plan = fleet.until_plan(began(scene), "paused")
    first = state_of(plan)
    assert facts_of(plan).breaches
    fleet.metrics.bad_versions = set()
    # What was read while it was bad is over before anybody takes it on.
    looks = EvidenceLook.objects.filter(plan=plan).count()
    fleet.until(lambda: EvidenceLook.objects.filter(plan=plan).count() > looks + 2)
    control.resume(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    assert not facts_of(plan).breaches
    fleet.until_plan(plan, "completed")
    again = state_of(plan)
    assert again.began_at > first.began_at
    assert again.reached_at is None
    anew = Ruling.objects.filter(plan=plan, sentence__startswith="the evidence test begins anew;")
    assert anew.exists()


def test_a_fault_that_is_still_there_is_found_again_after_a_resume(scene, fleet):
    fleet.metrics.bad_versions = {"1.5.0"}
    plan = fleet.until_plan(began(scene), "paused")
    control.resume(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    fleet.until_plan(plan, "paused")
    assert Ruling.objects.filter(plan=plan, guardrail="evidence", verdict="breached").count() == 2


def test_a_soak_without_a_verdict_is_held_and_a_person_lets_it_pass(scene, fleet):
    # One request in a million is to be found: nobody waits for that.
    plan = began(scene, evidence="detect: 1.3", limits="hold_minutes: 0.01")
    batch = fleet.until_batch(plan, "held")
    assert batch.held_kind == "evidence_inconclusive"
    assert "the soak has ended without a verdict" in batch.held_reason
    control.release_hold(plan_id=plan.pk, by=scene.olga, reason="enough", now=now(), via="page")
    fleet.until_batch(plan, "passed")


def test_when_everyone_is_ill_it_holds_and_takes_nothing_back(scene, fleet):
    fleet.metrics.bad_versions = {"1.0.0", "1.5.0"}
    plan = began(scene)
    batch = fleet.until_batch(plan, "held")
    assert batch.held_kind == "fleet_incident"
    assert "times their usual errors too" in batch.held_reason
    assert "fleet_incident" in alerts_of(plan)
    assert not Ruling.objects.filter(plan=plan, verdict="breached").exists()


def test_the_history_is_taken_once_and_from_before_the_plan(scene, fleet, monkeypatch):
    asked = []

    class Asked(KnownHistory):
        def exposure_rates(self, plugin, kpi, tenants, *, until, bound):
            asked.append((plugin, kpi, sorted(tenants), until))
            return super().exposure_rates(plugin, kpi, tenants, until=until, bound=bound)

    monkeypatch.setattr(tenant_history, "kpi_history", Asked())
    plan = fleet.until_plan(began(scene), "completed")
    assert asked == [("pay", "error_rate", sorted(FOREST), plan.started_at)]


def test_a_history_whose_row_was_taken_back_is_taken_down_again(scene):
    plan = began(scene)
    asked: dict[str, Any] = {"bound": None, "now": now()}
    with transaction.atomic():
        tenant_history.usual_of(plan, "error_rate", **asked)
        # As when the lease was lost in the meantime.
        transaction.set_rollback(True)
    assert not EvidenceBaseline.objects.filter(plan=plan).exists()
    usual, short = tenant_history.usual_of(plan, "error_rate", **asked)
    assert (usual.rates["acorn"], usual.phi, short) == ((5.0, 10_000.0), 1.0, "")
    assert EvidenceBaseline.objects.filter(plan=plan).count() == 1
    assert tenant_history.usual_of(plan, "error_rate", **asked) == (usual, short)


def test_what_was_tested_before_a_rollback_breaks_nothing_after_it(scene, fleet):
    fleet.metrics.bad_versions = {"1.5.0"}
    plan = fleet.until_plan(began(scene), "paused")
    assert facts_of(plan).breaches
    back = now() + timedelta(seconds=1)
    plan.rollbacks.create(
        scope="batch",
        trigger="person",
        triggered_at=back,
        clock_from=back,
        deadline=back,
        finished_at=back,
    )
    assert not facts_of(plan, back).breaches


def test_a_kpi_that_cannot_be_tested_is_told_before_a_plan_is_made(scene, fleet):
    made = began(scene)
    policy = policy_of(current_revision(made))
    rules = EvidenceRules(kpis=("error_rate", "nothing"))
    told = missing_names("fleet", replace(policy, evidence=rules))
    assert len([problem for problem in told if "nothing" in problem]) == 1
    assert missing_names("fleet", policy) == []


# Where it is shown.


def test_page_api_chart_and_report_show_the_same(scene, fleet):
    fleet.metrics.bad_versions = {"1.5.0"}
    plan = fleet.until_plan(began(scene), "paused")
    shown = plan_snapshot(plan.pk)["evidence"]
    assert (shown["percent"], shown["verdict"], shown["label"]) == (100.0, "breached", "Breached")
    told = scene.client(scene.rita).get(f"/api/v1/plans/{plan.external_id}/").json()
    assert told["evidence"]["percent"] == 100.0
    assert told["evidence"]["sentence"] == shown["sentence"]
    chart = evidence_chart(plan, policies_in_force(plan))
    assert [line["label"] for line in chart["lines"]] == ["evidence"]
    assert chart["points"][-1]["value"] == 100
    assert 'against "no worse than tolerated"' in chart["points"][-1]["said"]
    [ratio] = ratio_charts(plan, policies_in_force(plan))
    assert ratio["kpi"] == "error_rate / control"
    assert [line["name"] for line in ratio["lines"]] == ["ratio", "lower", "upper", "tolerated"]
    # As long as the waiting tenants have no errors, how many times worse is not known; that it is
    # worse is. One that was upgraded but not yet read back when its errors came still waits.
    last = ratio["points"][-1]["at"]
    newest = {p["line"]: p["value"] for p in ratio["points"] if p["at"] == last}
    assert newest["ratio"] is None or newest["ratio"] > newest["lower"]
    assert newest["lower"] > 1
    course = evidence_course(plan, policy_of(current_revision(plan)))
    assert course.highest == 100
    assert course.sentence == shown["sentence"]
    page = _browser(scene.olga).get(f"/plans/{plan.pk}/").content.decode()
    assert "at 100 %: pause" in page


def test_without_the_section_nothing_of_it_is_shown(scene, fleet):
    plan = a_started(scene)
    assert plan_snapshot(plan.pk)["evidence"] is None
    assert evidence_chart(plan, policies_in_force(plan)) is None
    assert not Batch.objects.filter(plan=plan, state="held").exists()


def _browser(user):
    from django.test import Client

    client = Client()
    client.force_login(user)
    return client


def test_what_a_plan_waits_for_is_told_once_however_its_numbers_grow(scene):
    plan = began(scene)

    def say(sentence: str) -> None:
        say_waiting(plan_id=plan.pk, sentence=sentence, now=now())

    told = Event.objects.filter(kind="plan_waits", stream__key=plan.stream_key)
    say("126 of 8,399 requests seen, 0.541 % in control")
    say("154 of 8,582 requests seen, 0.469 % in control")
    assert told.count() == 1
    assert Plan.objects.get(pk=plan.pk).waiting_for.startswith("154 of 8,582")
    say("no look has come for 20 s")
    assert told.count() == 2
