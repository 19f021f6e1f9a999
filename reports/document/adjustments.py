"""The report's part on what was changed while the plan ran: who, why, who agreed, for how long."""

from reports.document.blocks import (
    NOTHING,
    Block,
    Cell,
    Paragraph,
    Section,
    Table,
    Tone,
    count,
    moment,
    utc,
    words,
)
from reports.document.facts import ReportFacts
from reports.document.facts_agreed import AdjustmentFact

DIRECTION_TONES: dict[str, Tone] = {"tighter": "good", "looser": "warn"}


def adjustments_section(facts: ReportFacts) -> Section:
    """List every change that was made or asked for while the plan ran."""
    title = "Changes while it ran"
    if not facts.adjustments:
        text = "Nothing was changed while the plan ran."
        return Section("adjustments", title, (Paragraph(text, tone="good"),))
    in_force = len(facts.adjusted)
    looser = [one for one in facts.adjusted if one.direction == "looser"]
    blocks: list[Block] = [
        Paragraph(
            f"{count(in_force, 'change')} came into force, {len(looser):,} of them looser;"
            f" {len(facts.adjustments) - in_force:,} did not. Each ruling was made by the revision"
            " that was in force at its time; report.json names it."
        )
    ]
    unsigned = [one.revision for one in looser if not one.approved_by]
    if unsigned:
        named = ", ".join(map(str, unsigned))
        blocks.append(Paragraph(f"Loosened without an approval: revision {named}.", tone="bad"))
    else:
        blocks.append(Paragraph("Nothing was loosened without approval.", tone="good"))
    head = ("Revision", "Asked (UTC)", "By", "What", "Why", "Approved by", "In force, until")
    rows = tuple(_row(one) for one in facts.adjustments)
    blocks.append(Table("Changes", head, (8, 14, 13, 26, 13, 13, 13), rows))
    return Section("adjustments", title, tuple(blocks))


def _row(one: AdjustmentFact) -> tuple[Cell, ...]:
    what = "; ".join(change.sentence for change in one.changes)
    if one.restores is not None:
        what += f" (puts back what revision {one.restores} had loosened)"
    return (
        Cell(f"{one.before} → {one.revision}"),
        Cell(moment(one.asked_at)),
        Cell(f"{one.by}, via {one.via}"),
        Cell(what, tone=DIRECTION_TONES.get(one.direction, "plain")),
        Cell(one.reason or NOTHING),
        Cell(", ".join(one.approved_by) or _unapproved(one)),
        Cell(_time(one), tone="plain" if one.applied_at is not None else "warn"),
    )


def _unapproved(one: AdjustmentFact) -> str:
    return "nobody" if one.direction == "looser" else "not needed"


def _time(one: AdjustmentFact) -> str:
    if one.applied_at is None:
        return f"never: {words(one.state)}, {utc(one.ended_at)}"
    if one.expires_at is not None:
        return f"{moment(one.applied_at)}, until {moment(one.ended_at or one.expires_at)}"
    return moment(one.applied_at)
