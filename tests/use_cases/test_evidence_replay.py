"""The evidence test of a plan comes out of a replay number by number; other rules are answered."""

from collections.abc import Iterator
from typing import Any

import pytest

from batches.decisions import decide_forward
from batches.evidence import tenant_history
from batches.history import kpi_history
from batches.models import EvidenceBaseline, EvidenceLook, JudgedLook, KpiSample, Ruling
from batches.replay.counterfactual import own_policy, replay_under
from batches.replay.course import differences, left_out
from batches.replay.other_rules import evidence_of, with_evidence
from batches.replay.past import tally
from batches.rollout import control
from plans.models import Event, Plan
from plans.refusal import BadInput
from tests.builders import FOREST, a_started, policy_text
from tests.use_cases.test_evidence_watch import QUICK, SLOW_BATCHES, KnownHistory, began
from tests.use_cases.watched_fleet import LIMITS, WatchedFleet
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def history(monkeypatch):
    """Have a history in which every tenant had one error in 2,000 requests."""
    monkeypatch.setattr(tenant_history, "kpi_history", KnownHistory())


@pytest.fixture
def fleet(scene, settings, tmp_path, monkeypatch) -> Iterator[WatchedFleet]:
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    with WatchedFleet(settings, tmp_path, FOREST) as made:
        yield made


def stopped(scene, fleet) -> Plan:
    """Return a plan that its evidence has paused and that a person then took back."""
    fleet.metrics.bad_versions = {"1.5.0"}
    return fleet.until_plan(began(scene, evidence=f"action: rollback, {QUICK}"), "rolled_back")


def stayed(scene, fleet) -> Plan:
    """Return a plan that completed although 20 % failed: its test tolerated half of all."""
    fleet.metrics.bad_versions = {"1.5.0"}
    lax = "evidence: {action: rollback, detect: 60, tolerated_worsening: {points: 50}}"
    return fleet.until_plan(looked_at(scene, lax), "completed")


def looked_at(scene, more: str) -> Plan:
    """Return a plan whose soaks have time for several looks, however busy the machine is."""
    batches = SLOW_BATCHES.replace("0.002", "0.03")
    return a_started(
        scene, policy=policy_text(batches=batches, more=f"limits: {{{LIMITS}}}\n{more}")
    )


def under(plan: Plan, *written: str) -> Any:
    return replay_under(plan, with_evidence(own_policy(plan), evidence_of(written)))


# Its own rules.


def test_evidence_that_took_a_plan_back_replays_to_the_last_digit(scene, fleet):
    plan = stopped(scene, fleet)
    assert Ruling.objects.filter(plan=plan, guardrail="evidence", verdict="breached").exists()
    assert EvidenceLook.objects.filter(plan=plan).count() > 2
    assert (differences(plan), left_out(plan)) == ([], [])


def test_restarts_and_a_person_who_takes_it_on_change_nothing(scene, fleet):
    fleet.metrics.bad_versions = {"1.5.0"}
    plan = fleet.until_plan(began(scene), "paused")
    fleet.watch.observer.forget(None)
    fleet.metrics.bad_versions = set()
    looks = EvidenceLook.objects.filter(plan=plan)
    wanted = looks.count() + 3
    fleet.until(lambda: looks.count() > wanted)
    control.resume(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    fleet.tick(2)
    fleet.watch.observer.forget(None)
    fleet.until_plan(plan, "completed")
    assert JudgedLook.objects.filter(plan=plan, evidence_anew=True).exists()
    assert differences(plan) == []


def test_everything_that_was_falsified_is_found(scene, fleet):
    plan = stopped(scene, fleet)
    look = EvidenceLook.objects.filter(plan=plan).latest("pk")
    EvidenceLook.objects.filter(pk=look.pk).update(log_e=look.log_e + 1e-12)
    (line,) = differences(plan)
    assert "log_e was" in line
    EvidenceLook.objects.filter(pk=look.pk).update(log_e=look.log_e)
    ruling = Ruling.objects.get(plan=plan, guardrail="evidence", verdict="breached")
    Ruling.objects.filter(pk=ruling.pk).update(inputs_digest="0" * 64)
    assert any("was ruled, and is not in the replay" in line for line in differences(plan))
    assert any("is in the replay, and was not ruled" in line for line in differences(plan))
    Ruling.objects.filter(pk=ruling.pk).update(inputs_digest=ruling.inputs_digest)
    look.delete()
    assert any("was not taken in" in line for line in differences(plan))


def test_a_sample_or_a_baseline_that_was_changed_is_found(scene, fleet):
    plan = stopped(scene, fleet)
    row = EvidenceBaseline.objects.get(plan=plan)
    EvidenceBaseline.objects.filter(pk=row.pk).update(phi=row.phi + 0.5)
    assert any("log_e was" in line for line in differences(plan))
    EvidenceBaseline.objects.filter(pk=row.pk).update(phi=row.phi)
    ill = EvidenceLook.objects.filter(plan=plan, canary_errors__gt=0).latest("at")
    sample = KpiSample.objects.get(plan=plan, kpi=ill.kpi, at=ill.at)
    sample.look["canary"] = {key: ["r", 0, 100] for key in sample.look["canary"]}
    sample.save()
    assert any("canary_errors was" in line for line in differences(plan))


def test_looks_from_before_it_was_written_down_are_left_out_by_name(scene, fleet):
    plan = stopped(scene, fleet)
    JudgedLook.objects.filter(plan=plan).update(control=None)
    EvidenceLook.objects.filter(plan=plan).update(log_e=0)
    assert differences(plan) == []
    (why,) = left_out(plan)
    assert "the evidence test" in why
    found = under(plan, "risk=5")
    assert why in found.unreadable
    assert all(one.key != "evidence" for one in found.guardrails)


# Other rules.


def test_under_the_same_test_it_goes_back_when_it_did(scene, fleet):
    plan = stopped(scene, fleet)
    found = replay_under(plan, own_policy(plan))
    breach = Ruling.objects.get(plan=plan, guardrail="evidence", verdict="breached")
    (evidence,) = [one for one in found.guardrails if one.key == "evidence"]
    assert (found.at, found.word) == (breach.at, "true")
    assert (evidence.sentence, evidence.action) == (breach.sentence, "rollback")
    assert evidence.highest == 100


def test_a_tolerant_test_would_not_have_taken_it_back(scene, fleet):
    found = under(stopped(scene, fleet), "points=40")
    (evidence,) = [one for one in found.guardrails if one.key == "evidence"]
    assert (found.at, found.word) == (None, "missed")
    assert evidence.breached_at is None
    assert evidence.highest is not None
    assert evidence.highest < 100


def test_a_strict_test_would_have_taken_back_what_stayed(scene, fleet):
    plan = stayed(scene, fleet)
    assert replay_under(plan, own_policy(plan)).word == "quiet"
    found = under(plan, "points=1", "risk=1")
    (evidence,) = [one for one in found.guardrails if one.key == "evidence"]
    assert found.word == "false"
    assert "20 % in the canary" in evidence.sentence
    found = under(plan, "points=1", "action=warn")
    assert (found.at, found.word) == (None, "quiet")


def test_another_rate_to_detect_tells_when_batches_would_pass(scene, fleet):
    plan = fleet.until_plan(began(scene), "completed")
    soon, never = under(plan, "detect=90"), under(plan, "detect=1.5", "power=99")
    assert soon.passes[0].batch == never.passes[0].batch == 1
    assert soon.passes[0].at is not None
    assert soon.passes[0].at >= soon.passes[0].soak_started
    assert never.passes[0].at is None
    assert "requests seen that find 1.5 %" in never.passes[0].sentence


def test_a_plan_without_a_test_is_weighed_by_another_one(scene, fleet):
    fleet.metrics.bad_versions = {"1.5.0"}
    lax = "guardrails: [{kpi: error_rate, at_most: 50, window: 3s, min_samples: 1}]"
    plan = fleet.until_plan(looked_at(scene, lax), "completed")
    with pytest.raises(BadInput) as bad:
        under(plan, "risk=1")
    assert "say over what with kpis=error_rate" in bad.value.problems[0]
    found = under(plan, "kpis=error_rate", "points=1", "action=rollback")
    assert found.word == "false"
    assert found.said == ("error_rate is calibrated by what is recorded now from before the plan",)


def test_with_too_little_known_another_test_only_warns_and_says_so(scene, fleet, monkeypatch):
    monkeypatch.setattr(tenant_history, "kpi_history", kpi_history)
    found = under(stayed(scene, fleet), "points=1", "action=rollback")
    (evidence,) = [one for one in found.guardrails if one.key == "evidence"]
    assert evidence.action == "warn"
    assert found.word == "quiet"
    assert "only warns, its history is too short" in found.said[0]


def test_a_kpi_that_the_plan_did_not_look_at_is_named(scene, fleet):
    found = under(stayed(scene, fleet), "kpis=error_rate,nothing")
    assert any("no source for nothing" in line for line in found.said)


def test_over_past_plans_right_and_wrong_rollbacks_are_counted(scene, fleet):
    stayed(scene, fleet)
    found = tally(Plan.objects.all(), evidence=evidence_of(["points=1"]))
    assert found.counts["false"] == 1
    assert tally(Plan.objects.all(), evidence=evidence_of(["points=40"])).counts["quiet"] == 1


def test_nothing_is_written_by_a_replay(scene, fleet):
    plan = stayed(scene, fleet)

    def rows() -> list[int]:
        models = (Ruling, EvidenceLook, EvidenceBaseline, JudgedLook, Event)
        return [model.objects.count() for model in models]

    before = rows()
    under(plan, "points=1")
    assert differences(plan) == []
    assert rows() == before


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("risk", "is not KEY=VALUE"),
        ("loudness=3", "is not KEY=VALUE"),
        ("risk=nan", "'nan' is not a number"),
        ("risk=much", "'much' is not a number"),
        ("action=explode", "write one of rollback, pause, warn"),
        ("action=pause, power: 60", "write one of rollback, pause, warn"),
        ("risk=50", "evidence.max_false_rollback_risk"),
        ("ratio=0.5", "evidence.tolerated_worsening.ratio"),
        ("detect=0.2", "evidence.detect"),
        ("kpis=two words", "evidence.kpis"),
    ],
)
def test_a_test_that_no_policy_could_have_is_refused_with_what_to_write(scene, written, said):
    plan = a_started(scene, policy=policy_text(more="evidence: {kpis: [error_rate]}"))
    with pytest.raises(BadInput) as bad:
        under(plan, written)
    assert said in " ".join(bad.value.problems)
