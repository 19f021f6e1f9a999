"""The report's list of tenants that the plan went on without, with why and by whom."""

from reports.document.blocks import NOTHING, Block, Cell, Paragraph, Section, Table, moment, words
from reports.document.course import MOST_TABLE_ROWS, STATE_TONES
from reports.document.facts import ReportFacts
from reports.document.facts_course import BatchFact, TenantFact

SET_ASIDE = {
    "quarantined": "In quarantine: taken out of the batch, which went on",
    "excluded": "Left out by a person",
    "skipped": "Skipped with a batch",
}


def set_aside_section(facts: ReportFacts) -> Section:
    """List whom the plan went on without: quarantined, left out by a person, or skipped."""
    blocks: list[Block] = []
    for kind, caption in SET_ASIDE.items():
        rows = [(b, t) for b in facts.batches for t in b.tenants if t.set_aside == kind]
        if rows:
            blocks.append(_set_aside(caption, rows))
    if not blocks:
        text = "No tenant was quarantined, left out or skipped while the plan ran."
        blocks.append(Paragraph(text, tone="good"))
    return Section("set-aside", "Whom the plan went on without", tuple(blocks))


def _set_aside(caption: str, rows: list[tuple[BatchFact, TenantFact]]) -> Table:
    shown = rows[:MOST_TABLE_ROWS]
    caption = f"{caption} ({len(rows):,})"
    if len(rows) > len(shown):
        caption += f"; the first {len(shown)}, all of them in report.json"
    return Table(
        caption,
        ("Tenant", "Batch", "Outcome", "Since (UTC)", "Why, and by whom"),
        (17, 13, 13, 19, 38),
        tuple(
            (
                Cell(tenant.key, mono=True),
                Cell(batch.name),
                Cell(words(tenant.state), tone=STATE_TONES.get(tenant.state, "plain")),
                Cell(moment(tenant.set_aside_at)),
                Cell(tenant.set_aside_why or NOTHING),
            )
            for batch, tenant in shown
        ),
    )
