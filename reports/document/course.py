"""The report's middle part: batches and what is left to people."""

from collections import Counter
from datetime import datetime

from reports.document.blocks import (
    NOTHING,
    Block,
    Cell,
    Heading,
    Listing,
    Paragraph,
    Picture,
    Section,
    Table,
    Tone,
    between,
    cells,
    count,
    duration,
    in_chunks,
    in_columns,
    moment,
    utc,
    words,
)
from reports.document.facts import ReportFacts
from reports.document.facts_course import BatchFact, TenantFact
from reports.document.figures import Marker, Span, TimelineRow, batch_timeline

STATE_TONES: dict[str, Tone] = {
    "upgraded": "good",
    "passed": "good",
    "rolled_back": "warn",
    "held": "warn",
    "failed": "bad",
    "unknown": "bad",
    "needs_hand": "bad",
}
MOST_TABLE_ROWS = 60
ANNEX_LINES_PER_CHUNK = 40


def batches_section(facts: ReportFacts) -> Section:
    """Say what was done, batch by batch."""
    if not facts.batches:
        return Section("batches", "What was done", (Paragraph("No batch was ever opened."),))
    blocks: list[Block] = []
    timeline = batch_timeline([_timeline_row(b, facts) for b in facts.batches], markers(facts))
    if timeline:
        blocks.append(Picture(timeline, "When each batch called its tenants, soaked and ended."))
    rows = tuple(_batch_row(batch) for batch in facts.batches)
    head = ("No.", "Batch", "Tenants", "Outcome", "Calls began (UTC)", "Calling", "Ended (UTC)")
    blocks.append(Table("Batches", head, (4, 14, 8, 27, 19, 9, 19), rows))
    watched = tuple(
        (
            Cell(batch.name),
            Cell(", ".join(batch.metrics) or "those of the guardrails"),
            Cell(_gate(batch)),
            Cell(batch.owner or NOTHING),
            Cell(", ".join(batch.executors) or NOTHING),
        )
        for batch in facts.batches
    )
    columns = ("Batch", "Metrics watched", "Gate", "Owner", "Called by")
    widths = (15, 29, 24, 22, 10)
    blocks.append(Table("What each batch was watched for", columns, widths, watched))
    return Section("batches", "What was done", tuple(blocks))


def needs_hand_section(facts: ReportFacts) -> Section:
    """List the tenants that wait for a person, and the alerts that were sent."""
    waiting = [tenant for tenant in facts.tenants if tenant.state == "needs_hand"]
    blocks: list[Block] = []
    if waiting:
        text = f"{count(len(waiting), 'tenant')} could not be brought to a known good version."
        blocks.append(Paragraph(text, tone="bad"))
        blocks.append(_exceptions("Tenants that need a hand", waiting))
    else:
        blocks.append(Paragraph("No tenant waits for a person.", tone="good"))
    others = [t for t in facts.tenants if t.error and t.state != "needs_hand"]
    if others:
        blocks.append(_exceptions("Tenants whose calls reported an error on the way", others))
    if facts.alerts:
        rows = tuple(
            cells(moment(a.opened_at), words(a.kind), a.sentence, moment(a.resolved_at))
            for a in facts.alerts
        )
        head = ("Opened (UTC)", "Kind", "What the owners were told", "Resolved (UTC)")
        blocks.append(Table("Alerts", head, (18, 17, 47, 18), rows))
    else:
        blocks.append(Paragraph("No alert was raised.", tone="good"))
    return Section("needs-hand", "What is left, and who was told", tuple(blocks))


def tenant_annex(facts: ReportFacts) -> Section:
    """List every tenant with its outcome, set as text in columns."""
    blocks: list[Block] = []
    for batch in facts.batches:
        lines, note = _tenant_lines(batch)
        if not lines:
            continue
        blocks.append(Heading(f"{batch.name}: {count(len(batch.tenants), 'tenant')}"))
        blocks.append(Paragraph(note))
        blocks.append(Listing(in_chunks(lines, ANNEX_LINES_PER_CHUNK), small=True))
    if not blocks:
        blocks.append(Paragraph("No tenant was placed in a batch."))
    return Section("annex-tenants", "Annex B: every tenant and its outcome", tuple(blocks), True)


def outcome_counts(tenants: tuple[TenantFact, ...]) -> str:
    """Write how many tenants are in each state, the most frequent first."""
    counts = Counter(tenant.state for tenant in tenants)
    return ", ".join(f"{number:,} {words(state)}" for state, number in counts.most_common())


def _batch_row(batch: BatchFact) -> tuple[Cell, ...]:
    return (
        Cell(str(batch.number), number=True),
        Cell(batch.name + (" (hold-back)" if batch.hold_back else "")),
        Cell(f"{len(batch.tenants):,}", number=True),
        Cell(
            f"{words(batch.state)}: {outcome_counts(batch.tenants) or 'no tenant'}",
            tone=STATE_TONES.get(batch.state, "plain"),
        ),
        Cell(moment(batch.calling_since)),
        Cell(between(batch.calling_since, batch.calls_done_at)),
        Cell(moment(batch.ended_at)),
    )


def _gate(batch: BatchFact) -> str:
    gate = f"{batch.advance}, soak of {duration(batch.soak_seconds)}"
    if batch.promoted_by is not None:
        gate += f"; let go by {batch.promoted_by.name}"
    if batch.held_reason:
        gate += f"; held {utc(batch.held_at)}: {batch.held_reason}"
    return gate


def batch_end(batch: BatchFact, facts: ReportFacts) -> datetime:
    """Return when a batch ended, or where its course ends for now."""
    return batch.ended_at or facts.ended_at or facts.cut_off


def markers(facts: ReportFacts) -> list[Marker]:
    """Return what a chart marks: adjustments and rollbacks."""
    changes = [Marker(one.applied_at, "adjusted") for one in facts.adjusted if one.applied_at]
    return [
        *changes,
        *(Marker(rollback.triggered_at, "rollback") for rollback in facts.rollbacks),
    ]


def _timeline_row(batch: BatchFact, facts: ReportFacts) -> TimelineRow:
    spans: list[Span] = []
    restored = [t.restored_at for t in batch.tenants if t.restored_at is not None]
    end = batch_end(batch, facts)
    back = next((r for r in facts.rollbacks if restored and r.triggered_at <= max(restored)), None)
    forward_end = min(end, back.triggered_at) if back else end
    if batch.calling_since is not None:
        calls_end = min(batch.calls_done_at or forward_end, forward_end)
        spans.append(Span("calling", batch.calling_since, max(calls_end, batch.calling_since)))
        soak_end = min(batch.held_at or forward_end, forward_end)
        if batch.calls_done_at is not None and soak_end > calls_end:
            spans.append(Span("soaking", calls_end, soak_end))
        if batch.held_at is not None and forward_end > batch.held_at:
            spans.append(Span("held", batch.held_at, forward_end))
    if back is not None:
        spans.append(Span("rolling back", back.triggered_at, max(restored)))
    return TimelineRow(f"{batch.number} {batch.name}", tuple(spans))


def _exceptions(caption: str, tenants: list[TenantFact]) -> Table:
    shown = tenants[:MOST_TABLE_ROWS]
    caption = f"{caption} ({len(tenants):,})"
    if len(tenants) > len(shown):
        caption += f"; the first {len(shown)}, all of them in report.json"
    rows = tuple(
        (
            Cell(t.key, mono=True),
            Cell(words(t.state), tone=STATE_TONES.get(t.state, "plain")),
            Cell(t.owner or NOTHING),
            Cell(f"{t.version_before or '?'} / {t.version_observed or '?'}"),
            Cell(str(t.attempts), number=True),
            Cell(t.error or NOTHING),
        )
        for t in shown
    )
    head = ("Tenant", "State", "Owner", "Before / seen last", "Tries", "Last answer")
    return Table(caption, head, (16, 11, 21, 15, 6, 31), rows)


def _tenant_lines(batch: BatchFact) -> tuple[list[str], str]:
    if not batch.tenants:
        return [], ""
    settled = {t.key: t.restored_at or t.upgraded_at or t.observed_at for t in batch.tenants}
    days = {moment(at)[:10] for at in settled.values() if at is not None}
    owners = {tenant.owner for tenant in batch.tenants}
    rows = []
    for tenant in batch.tenants:
        at = settled[tenant.key]
        # One day and one owner are said once, so that two tenants fit beside each other.
        time = moment(at) if len(days) > 1 or at is None else moment(at)[11:]
        row = [tenant.key, words(tenant.state), tenant.version_observed or "?", time]
        rows.append([*row, tenant.owner or NOTHING] if len(owners) > 1 else row)
    note = "Tenant, outcome, version seen last, and when it was read back (UTC"
    note += f", {days.pop()})" if len(days) == 1 else ")"
    note += ", owner." if len(owners) > 1 else f". Owner of all: {owners.pop() or 'none named'}."
    return in_columns(rows), note
