"""The report says what was changed while the plan ran, who agreed, and which limit held when."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

from batches.adjust import endings
from batches.adjust.proposal import Expiry
from plans.approvals import approval
from plans.models import Plan
from reports.document.adjustments import adjustments_section
from reports.document.compliance_report import compose, digest, report_json
from reports.document.facts_agreed import AdjustmentFact, ChangeFact
from reports.document.facts_course import KpiLimit
from reports.document.figures import LimitLine
from reports.document.intent import separation
from reports.reading.facts import plan_facts
from tests.builders import a_started, soaking
from tests.reports.sample_facts import after, rolled_back_facts
from tests.reports.test_figures import at, chart
from tests.use_cases.adjusted import change, looked, three_waves
from tests.use_cases.conftest import scene  # noqa: F401 - the cast, as a fixture
from tests.web.api_scene import now


def adjustment(**changes: Any) -> AdjustmentFact:
    made = AdjustmentFact(
        revision=2,
        before=1,
        direction="looser",
        changes=(ChangeFact("looser", "error_rate: at most 5 % → at most 9 %: looser"),),
        reason="OPS-7",
        by="Mara Lindt <mara@example.com>",
        via="page",
        asked_at=after(30),
        state="applied",
        applied_at=after(35),
        ended_at=after(95),
        expires_at=after(95),
        approved_by=("Aram as system_admin", "Sona as role_admin"),
        restores=None,
        policy_digest="0" * 64,
    )
    return replace(made, **changes)


def said(*adjustments: AdjustmentFact) -> str:
    return repr(adjustments_section(replace(rolled_back_facts(), adjustments=adjustments)))


def test_a_loosening_is_told_with_who_agreed_and_until_when():
    told = said(adjustment())
    for words in ("1 → 2", "at most 9 %", "OPS-7", "Aram as system_admin", "1 of them looser"):
        assert words in told
    assert "Nothing was loosened without approval" in told


def test_a_loosening_that_nobody_signed_is_named():
    assert "Loosened without an approval: revision 2" in said(adjustment(approved_by=()))


def test_what_never_came_into_force_is_told_too():
    told = said(adjustment(state="rejected", applied_at=None, approved_by=()))
    assert "never: rejected" in told
    assert "0 changes came into force" in told


def test_a_plan_without_changes_says_so():
    assert "Nothing was changed while the plan ran" in said()


def test_the_section_stands_behind_the_rules():
    facts = rolled_back_facts()
    anchors = [s.anchor for s in compose(facts, data_digest=digest(report_json(facts))).sections]
    assert anchors[anchors.index("policy") + 1] == "adjustments"


def test_a_limit_that_changed_is_drawn_as_a_step():
    limits = [LimitLine(5, "at most 5 %", None, at(2)), LimitLine(2, "at most 2 %", at(2), None)]
    svg = chart([1, 1, 1, 1, 1], limits=limits)
    spans = re.findall(r'M([\d.]+) [\d.]+H([\d.]+)" stroke="#b3261e"', svg)
    (left, middle), (again, right) = [tuple(map(float, span)) for span in spans]
    assert (left, right) == (46, 493)
    assert left < middle == again < right


def test_the_words_of_a_limit_say_from_when_to_when_it_held():
    facts = rolled_back_facts()
    steps = (KpiLimit(5, "at most 5 %", None, after(35)), KpiLimit(2, "at most 2 %", after(35)))
    facts = replace(facts, kpis=(replace(facts.kpis[0], limits=steps), *facts.kpis[1:]))
    told = repr(compose(facts, data_digest=""))
    assert "at most 5 % until 09:35:00, at most 2 % from 09:35:00" in told


def test_facts_of_a_plan_that_was_changed(scene):  # noqa: F811
    plan = a_started(scene, policy=three_waves())
    soaking(plan)
    looked(plan, 1, 1, end=now())
    hour = Expiry(after=timedelta(hours=1))
    change(scene, plan, guardrails={"error_rate": 9}, expiry=hour)
    for person in (scene.aram, scene.sona):
        approval.approve(plan_id=plan.pk, approver=person, now=now(), via="page")
    endings.end_what_is_over(now() + timedelta(hours=2))
    facts = plan_facts(Plan.objects.get(pk=plan.pk).pk, cut_off=now())
    loose, back = facts.adjustments
    assert loose.approved_by == (
        "Aram <aram@example.org> as system_admin",
        "Sona <sona@example.org> as role_admin",
    )
    assert (back.by, back.restores, back.direction) == ("the console (watch)", 2, "tighter")
    [kpi] = facts.kpis
    assert [limit.value for limit in kpi.limits] == [5, 9, 5]
    # Approvals of a loosening come after the start; that is no finding.
    assert all(tone == "good" for _text, tone in separation(facts))
