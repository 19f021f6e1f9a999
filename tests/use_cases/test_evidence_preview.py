"""What a change of the evidence test would do, judged on the looks so far; nothing is written."""

from datetime import timedelta
from typing import Any

import pytest

from batches.adjust.evidence_preview import MOST_POINTS
from batches.adjust.preview import AdjustmentPreview, preview_adjustment
from batches.adjust.wanted import ChangeSet
from batches.evidence import soak_outlook, tenant_history
from batches.looks.kpi_points import LookSample, RatioPoint
from batches.models import EvidenceBaseline, EvidenceState, KpiSample, TenantUpgrade
from plans.drafting.drafting import current_revision
from plans.models import Plan
from tests.builders import FOREST, a_started, policy_text, soaking
from tests.use_cases.adjusted import read_back
from tests.use_cases.recorded_history import past
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db
PLAIN = "rollback_thresholds: {error_rate: 5}\nlimits: {look_seconds: 5}"
TESTED = f"{PLAIN}\nevidence: {{kpis: [error_rate], action: rollback}}"


class Known:
    """Five errors in a thousand requests were usual for everybody."""

    def exposure_rates(self, plugin: str, kpi: str, tenants: Any, **asked: Any) -> Any:
        return dict.fromkeys(tenants, (50.0, 10_000.0))

    def dispersion(self, plugin: str, kpi: str, **asked: Any) -> float:
        return 1.0


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setattr(tenant_history, "kpi_history", Known())


def looked(plan: Plan, canary: float, *, looks: int = 30) -> None:
    """Store looks at 400 requests of each tenant, of which so many of a thousand fail upgraded."""
    upgraded = set(
        TenantUpgrade.objects.filter(plan=plan, state="upgraded").values_list(
            "tenant_key", flat=True
        )
    )
    for back in range(looks, 0, -1):
        at = now() - timedelta(seconds=5 * back)
        sample = LookSample(
            "error_rate",
            at,
            canary={key: RatioPoint(0.4 * canary, 400) for key in FOREST if key in upgraded},
            control={key: RatioPoint(2, 400) for key in FOREST if key not in upgraded},
            source="fleet",
        )
        KpiSample.objects.create(
            plan=plan, kpi="error_rate", at=at, source="fleet", look=sample.to_json()
        )


def running(scene: Any, more: str = PLAIN) -> Plan:
    plan = a_started(scene, policy=policy_text(more=more))
    soaking(plan)
    read_back(plan)
    Plan.objects.filter(pk=plan.pk).update(created_at=now() - timedelta(minutes=10))
    return Plan.objects.get(pk=plan.pk)


def previewed(plan: Plan, more: str) -> AdjustmentPreview:
    text = policy_text(more=more)
    assert text != current_revision(plan).policy_text
    return preview_adjustment(plan=plan, wanted=ChangeSet(text=text), now=now())


def test_evidence_that_is_added_says_what_it_would_say_of_the_looks_so_far(scene):
    plan = running(scene)
    looked(plan, 20)
    evidence = previewed(plan, TESTED).evidence
    assert evidence is not None
    assert (evidence.verdict, evidence.at_once, evidence.percent) == ("breached", "rollback", 100)
    assert evidence.looks == 30
    assert "error_rate 2 % in the canary" in evidence.sentence
    assert "against 0.5 % in control: evidence 100 %" in evidence.sentence
    assert evidence.sentence.endswith("calibrated by the tenants' own history")
    assert any("x1.2 + 0.5 points" in line and "taken back" in line for line in evidence.words)
    # Nothing of it is written down.
    assert not EvidenceState.objects.exists()
    assert not EvidenceBaseline.objects.exists()


def test_a_release_that_is_no_worse_reaches_nothing(scene):
    plan = running(scene)
    looked(plan, 5)
    evidence = previewed(plan, TESTED).evidence
    assert evidence is not None
    assert (evidence.verdict, evidence.at_once) == ("fine", "")
    assert evidence.percent < 50


def test_what_is_tolerated_decides_what_it_says(scene):
    plan = running(scene, TESTED)
    looked(plan, 20)
    wide = f"{PLAIN}\nevidence: {{kpis: [error_rate], action: rollback, detect: 5,"
    wide += " tolerated_worsening: {ratio: 3, points: 1}}"
    evidence = previewed(plan, wide).evidence
    assert evidence is not None
    assert evidence.verdict != "breached"
    assert evidence.begins_anew
    tight = TESTED.replace("action: rollback", "action: rollback, max_false_rollback_risk: 0.5")
    evidence = previewed(plan, tight).evidence
    assert evidence is not None
    assert (evidence.verdict, evidence.begins_anew) == ("breached", False)


def test_without_evidence_nothing_is_said(scene):
    plan = running(scene, TESTED)
    looked(plan, 20)
    assert previewed(plan, PLAIN).evidence is None


def test_nobody_has_looked_yet(scene):
    evidence = previewed(running(scene), TESTED).evidence
    assert evidence is not None
    assert (evidence.verdict, evidence.looks) == ("", 0)


def test_of_very_many_looks_the_newest_are_judged_and_the_rest_is_counted(scene, monkeypatch):
    monkeypatch.setattr("batches.adjust.evidence_preview.MOST_POINTS", 120)
    assert MOST_POINTS > 120
    plan = running(scene)
    looked(plan, 20)
    evidence = previewed(plan, TESTED).evidence
    assert evidence is not None
    assert (evidence.looks, evidence.left_out) == (20, 10)


def test_the_forecast_is_that_of_the_changed_policy_and_of_batches_to_come(scene):
    plan = running(scene)
    past(now(), minutes=300, rates=dict.fromkeys(FOREST, (0.005, 600.0)))
    assert soak_outlook.outlook_of(plan)[0].batches[0].asked is None
    evidence = previewed(plan, TESTED).evidence
    assert evidence is not None
    (errors,) = evidence.soaks
    assert [batch["batch"] for batch in errors["batches"]] == ["canary", "rest"]
    found = {find["percent"]: find for find in errors["batches"][0]["finds"]}
    assert found[2]["by"] == "evidence"
    # In the last batch there is nobody left to compare with.
    assert {find["by"] for find in errors["batches"][1]["finds"]} <= {"", "guardrail"}
