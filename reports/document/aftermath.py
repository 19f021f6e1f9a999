"""What the report says around its rollbacks: how the Kpis were afterwards, and what was drilled."""

import re

from reports.document.blocks import (
    NOTHING,
    Block,
    Cell,
    Heading,
    Paragraph,
    Table,
    Tone,
    duration,
    moment,
    quantity,
    utc,
    words,
)
from reports.document.facts import ReportFacts
from reports.document.facts_course import DrillFact, RollbackFact

AFTERMATH_TONES: dict[str, Tone] = {
    "in_band": "good",
    "still_bad": "bad",
    "no_data": "warn",
    "not_yet": "warn",
    "watching": "plain",
    "not_watched": "plain",
}


def aftermath_blocks(rollback: RollbackFact) -> list[Block]:
    """Say what the Kpis of the restored tenants showed afterwards."""
    if not rollback.aftermath:
        return []
    told = rollback.aftermath_sentence
    if rollback.aftermath == "watching":
        told += " This report is issued again when that is known."
    blocks: list[Block] = [
        Paragraph(told, tone=AFTERMATH_TONES.get(rollback.aftermath, "plain")),
    ]
    if rollback.aftermath_kpis and rollback.aftermath != "watching":
        rows = tuple(
            (
                Cell(called(kpi.guardrail)),
                Cell(words(kpi.verdict), tone=AFTERMATH_TONES.get(kpi.verdict, "plain")),
                Cell(quantity(kpi.value, kpi.unit), number=True),
                Cell(quantity(kpi.threshold, kpi.unit), number=True),
                Cell(f"{kpi.n:,}", number=True),
                Cell(duration(kpi.window_seconds)),
            )
            for kpi in rollback.aftermath_kpis
        )
        head = ("Guardrail", "After the rollback", "Value", "Limit", "n", "Window")
        caption = f"The restored tenants, as of {utc(rollback.aftermath_at)}"
        blocks.append(Table(caption, head, (38, 18, 12, 12, 10, 10), rows))
    return blocks


def called(guardrail: str) -> str:
    """Return what a guardrail is called beside columns that hold its limit and its window."""
    return re.sub(r" at_(?:most|least) .*? over [\d.]+ s", "", guardrail)


DRILL_TONES: dict[str, Tone] = {"passed": "good", "failed": "bad"}


def drill_blocks(facts: ReportFacts) -> list[Block]:
    """Say what was rehearsed in this plan, and when its deployer was drilled last before it."""
    if not facts.started_at:
        return []
    before = facts.drilled_before
    if before is None:
        told = f"No drill of the deployer {facts.deployer} had ended before this plan started."
        last = Paragraph(told)
    else:
        told = (
            f"Last drill of the deployer {before.deployer} before this plan started:"
            f" {utc(before.started_at)}, {words(before.outcome)}, {_took(before)}."
        )
        last = Paragraph(told, tone=DRILL_TONES.get(before.outcome, "plain"))
    blocks: list[Block] = [Heading("Drills"), last]
    if facts.drills:
        rows = tuple(
            (
                Cell(moment(drill.started_at)),
                Cell("this plan" if drill.kind == "rehearsal" else "one tenant of it"),
                Cell("nothing" if drill.inject == "none" else words(drill.inject)),
                Cell(quantity(drill.seconds, "s"), number=True),
                Cell(quantity(drill.quote_seconds, "s"), number=True),
                Cell(words(drill.outcome) or NOTHING, tone=DRILL_TONES.get(drill.outcome, "plain")),
                Cell(drill.sentence or NOTHING),
            )
            for drill in facts.drills
        )
        head = ("When (UTC)", "Over", "Fault", "Back in", "Quoted", "Outcome", "What came of it")
        blocks.append(Table("Drills of this plan", head, (17, 13, 11, 9, 9, 10, 31), rows))
    return blocks


def _took(drill: DrillFact) -> str:
    if drill.seconds is None:
        return "never back"
    quoted = f", quoted {drill.quote_seconds:.0f} s" if drill.quote_seconds is not None else ""
    return f"back in {drill.seconds:.1f} s{quoted}"
