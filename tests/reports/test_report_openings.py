"""What a report says of windows, freezes, overrides, stops and releases without a way back."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from batches.models import Batch
from plans.openings.freezing import declare_freeze, lift_freeze, override_freeze
from reports.document.compliance_report import compose, report_json, summary, verdicts
from reports.document.facts_agreed import FreezeFact, OverrideFact
from reports.document.proof import negative_statements
from reports.reading.facts import plan_facts
from tests.reports.sample_facts import MARA, OLGA, after, completed_facts
from tests.reports.scene import Scene
from tests.reports.test_report_document import said

FREEZE = FreezeFact(
    "Black Friday", "the shops are full", after(10), None, MARA, after(50), OLGA, "the rush is over"
)
OVERRIDE = OverrideFact("Black Friday", MARA, "release_manager", "a hole is used", after(20), None)


def composed(facts):
    return compose(facts, data_digest="d" * 64)


def test_what_was_not_used_is_said_in_so_many_words():
    facts = completed_facts()
    rules = said(composed(facts), "policy")
    assert "No freeze covered a tenant of this plan while it lived." in rules
    assert "No freeze override was used." in rules
    found = dict(negative_statements(facts))
    assert found["No freeze override was used."] == "good"
    assert found["No batch waited for an opening in the middle of its calls."] == "good"
    assert found["Nobody ended the plan before its end."] == "good"


def test_windows_freezes_and_overrides_are_listed():
    facts = replace(
        completed_facts(),
        windows=("Upgrades may start every day from 22:00 to 04:00 (UTC).",),
        freezes=(FREEZE,),
        overrides=(OVERRIDE,),
    )
    rules = said(composed(facts), "policy")
    assert "Upgrades may start every day from 22:00 to 04:00 (UTC)." in rules
    assert "Black Friday | the shops are full | 2026-11-23 09:10:00" in rules
    assert "lifted by Olga Petrova <olga@example.com>: the rush is over" in rules
    assert "release manager" in rules
    assert "a hole is used" in rules
    assert dict(negative_statements(facts))["1 freeze override used."] == "warn"


def test_batches_that_waited_and_stops_are_told():
    facts = completed_facts()
    waited = replace(facts.batches[0], waited_seconds=60.0)
    facts = replace(facts, batches=(waited, *facts.batches[1:]), stopped_at=after(97))
    found = dict(negative_statements(facts))
    assert "1 batch waited for an opening in the middle of the calls." in found
    assert any(text.startswith("The plan was stopped where it stood") for text in found)


def test_the_first_section_says_that_there_was_no_way_back():
    facts = completed_facts()
    facts = replace(facts, release=replace(facts.release, irreversible=True))
    assert "NONE: this release cannot be taken back" in said(composed(facts), "plan")
    assert "The release cannot be taken back" in summary(facts)
    rollback = next(v for v in verdicts(facts) if v.label == "Rollback")
    assert (rollback.value, rollback.tone) == ("no way back", "bad")
    assert "No rollback happened." not in summary(facts)


@pytest.mark.django_db
def test_the_facts_come_from_the_rows(scene: Scene):
    plan = scene.approved()
    at = plan.created_at
    when: dict[str, Any] = {"now": at, "via": "page"}
    over = declare_freeze(
        name="Audit", reason="the books are read", by=scene.mara, overriders=["release_manager"],
        **when,
    )  # fmt: skip
    declare_freeze(
        name="Elsewhere", reason="x", by=scene.mara, tenants=["fir"],
        begins_at=at + timedelta(days=9), **when,
    )  # fmt: skip
    override_freeze(plan_id=plan.pk, freeze_id=over.pk, reason="urgent", by=scene.mara, **when)
    lift_freeze(freeze_id=over.pk, why="done", by=scene.olga, now=at, via="page")
    facts = plan_facts(plan.pk, cut_off=at + timedelta(hours=1))
    assert [freeze.name for freeze in facts.freezes] == []
    lifted_later = at + timedelta(minutes=5)
    type(over).objects.filter(pk=over.pk).update(lifted_at=lifted_later)
    facts = plan_facts(plan.pk, cut_off=at + timedelta(hours=1))
    assert [(f.name, f.lifted_why) for f in facts.freezes] == [("Audit", "done")]
    assert [(o.by.name, o.reason) for o in facts.overrides] == [("Mara", "urgent")]
    assert facts.windows == ("At any time.",)
    assert '"overrides"' in report_json(facts)


@pytest.mark.django_db
def test_a_batch_that_began_without_a_way_back_is_reported_without_a_quote(scene: Scene):
    plan = scene.running()
    none = {"seconds": None, "expected_seconds": None, "limit": None, "touched": 2, "terms": []}
    assert Batch.objects.filter(plan=plan).update(quote=none)
    facts = plan_facts(plan.pk, cut_off=plan.created_at + timedelta(hours=1))
    assert {batch.quote for batch in facts.batches} == {None}
    assert "Rollback quote at each batch's gate" not in said(composed(facts), "plan")
