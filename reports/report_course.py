"""The report's middle part: batches, metrics, rollbacks and what is left to people."""

from collections import Counter
from datetime import datetime

from reports.figures import (
    LimitLine,
    Line,
    Marker,
    Span,
    TimelineRow,
    batch_timeline,
    kpi_chart,
)
from reports.report_aftermath import aftermath_blocks, drill_blocks
from reports.report_blocks import (
    NOTHING,
    Block,
    Cell,
    Heading,
    Listing,
    Pairs,
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
    precise,
    quantity,
    utc,
    words,
)
from reports.report_facts import BatchFact, KpiFact, KpiLimit, ReportFacts, RollbackFact, TenantFact

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
    timeline = batch_timeline([_timeline_row(b, facts) for b in facts.batches], _markers(facts))
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


def metrics_section(facts: ReportFacts) -> Section:
    """Show the Kpis with their limits, and say where data was missing."""
    if not facts.kpis:
        text = "No metric was looked at." if facts.started_at else "The plan was never started."
        return Section("metrics", "What was measured", (Paragraph(text),))
    blocks: list[Block] = []
    for kpi in facts.kpis:
        svg = _chart(kpi, facts)
        if svg:
            blocks.append(Picture(svg, _chart_caption(kpi)))
    rows = tuple(_kpi_row(kpi, facts) for kpi in facts.kpis)
    head = ("Kpi", "Source", "Limit", "Looks", "Without data", "Lowest", "Highest", "Breaches")
    blocks.append(Table("Looks at the Kpis", head, (21, 13, 16, 9, 11, 10, 10, 10), rows))
    return Section("metrics", "What was measured", tuple(blocks))


def rollbacks_section(facts: ReportFacts) -> Section:
    """Give the record of each rollback, measured against its limit."""
    if not facts.rollbacks:
        said = Paragraph("No rollback happened.", tone="good")
        return Section("rollbacks", "What was taken back", (said, *drill_blocks(facts)))
    blocks: list[Block] = []
    for number, rollback in enumerate(facts.rollbacks, start=1):
        blocks.append(Heading(f"Rollback {number} of {len(facts.rollbacks)}"))
        blocks.append(Paragraph(rollback_sentence(rollback), tone=rollback_tone(rollback)))
        blocks.append(_rollback_pairs(rollback))
        blocks += aftermath_blocks(rollback)
    blocks += drill_blocks(facts)
    return Section("rollbacks", "What was taken back", tuple(blocks))


def rollback_sentence(rollback: RollbackFact) -> str:
    """Say in one sentence whether the promise was kept."""
    limit = f"the limit is {rollback.limit_seconds:.0f} s"
    measured = rollback.measured_seconds
    if measured is None and rollback.finished_at is not None:
        took = between(rollback.clock_from, rollback.finished_at)
        return (
            f"{rollback.restored:,} of {count(rollback.touched, 'tenant')} read back, "
            f"{rollback.needs_hand:,} left to people after {took}; {limit}."
        )
    if measured is None:
        return f"Not all {count(rollback.touched, 'tenant')} were read back; {limit}."
    done = f"{count(rollback.restored, 'tenant')} read back on the version before"
    left = f", {rollback.needs_hand:,} left to people" if rollback.needs_hand else ""
    word = "in time" if rollback.in_time else "TOO LATE"
    return f"{done}{left} after {measured:.1f} s: {word}; {limit}."


def rollback_tone(rollback: RollbackFact) -> Tone:
    """Return good only for a rollback in time that left nobody behind."""
    if not rollback.in_time:
        return "bad"
    return "warn" if rollback.needs_hand else "good"


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


def _end(batch: BatchFact, facts: ReportFacts) -> datetime:
    return batch.ended_at or facts.ended_at or facts.cut_off


def _markers(facts: ReportFacts) -> list[Marker]:
    changes = [Marker(one.applied_at, "adjusted") for one in facts.adjusted if one.applied_at]
    return [
        *changes,
        *(Marker(rollback.triggered_at, "rollback") for rollback in facts.rollbacks),
    ]


def _timeline_row(batch: BatchFact, facts: ReportFacts) -> TimelineRow:
    spans: list[Span] = []
    restored = [t.restored_at for t in batch.tenants if t.restored_at is not None]
    end = _end(batch, facts)
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


def _chart(kpi: KpiFact, facts: ReportFacts) -> str:
    # A look at which only the tenants still waiting spoke is no gap of the upgraded ones.
    own = [p for p in kpi.points if p.value is not None or not p.drawn]
    lines = [Line("upgraded tenants", tuple((p.at, p.value) for p in own))]
    if any(point.control is not None for point in kpi.points):
        control = [(p.at, p.control) for p in kpi.points if p.drawn and p.control is not None]
        lines.append(Line("not yet upgraded", tuple(control)))
    bands = [
        Span(batch.name, batch.opened_at, _end(batch, facts))
        for batch in facts.batches
        if batch.opened_at is not None
    ]
    return kpi_chart(
        name=f"{kpi.name}, {kpi.meaning}" if kpi.meaning else kpi.name,
        unit=kpi.unit,
        lines=lines,
        limits=[
            LimitLine(one.value, one.label, one.since, one.until)
            for one in kpi.limits
            if one.value is not None
        ],
        bands=bands,
        markers=_markers(facts),
    )


def _limit_words(kpi: KpiFact) -> str:
    return ", ".join(map(_limit_with_time, kpi.limits)) or "none, watched only"


def _limit_with_time(limit: KpiLimit) -> str:
    since = f" from {moment(limit.since)[11:]}" if limit.since is not None else ""
    until = f" until {moment(limit.until)[11:]}" if limit.until is not None else ""
    return f"{limit.label}{since}{until}"


def _known(kpi: KpiFact) -> list[float]:
    return [point.value for point in kpi.points if point.value is not None]


def _chart_caption(kpi: KpiFact) -> str:
    known = _known(kpi)
    if not known:
        return f"{kpi.name}: {count(kpi.looks, 'look')}, none of them said anything."
    shown = f"{len(known):,} of " if len(known) < kpi.looks - kpi.blind else ""
    gaps = f"; {count(kpi.blind, 'look')} without data, marked on the axis" if kpi.blind else ""
    return (
        f"{kpi.name}, {shown}{count(kpi.looks, 'look')}: between "
        f"{quantity(min(known), kpi.unit)} and {quantity(max(known), kpi.unit)}; "
        f"limit: {_limit_words(kpi)}{gaps}. A point is one look; guardrails judge windows of "
        "looks. Shaded: batches."
    )


def _kpi_row(kpi: KpiFact, facts: ReportFacts) -> tuple[Cell, ...]:
    known = _known(kpi)
    breaches = sum(1 for r in facts.rulings if r.kpi == kpi.name and r.verdict == "breached")
    return (
        Cell(kpi.name, mono=True),
        Cell(kpi.source or NOTHING),
        Cell(_limit_words(kpi)),
        Cell(f"{kpi.looks:,}", number=True),
        Cell(f"{kpi.blind:,}", number=True, tone="warn" if kpi.blind else "plain"),
        Cell(quantity(min(known, default=None), kpi.unit), number=True),
        Cell(quantity(max(known, default=None), kpi.unit), number=True),
        Cell(f"{breaches:,}", number=True, tone="bad" if breaches else "plain"),
    )


def _rollback_pairs(rollback: RollbackFact) -> Pairs:
    measured = rollback.measured_seconds
    tone = rollback_tone(rollback)
    rows = [
        ("Record", Cell(rollback.id, mono=True)),
        ("Trigger", Cell(f"{words(rollback.trigger)}, by {rollback.by}, via {rollback.via}")),
        ("Reason", Cell(rollback.reason)),
        ("Scope", Cell(words(rollback.scope))),
        ("Clock started", Cell(precise(rollback.clock_from))),
        ("Triggered", Cell(precise(rollback.triggered_at))),
        ("First call", Cell(precise(rollback.first_call_at))),
        ("Last tenant read back", Cell(precise(rollback.verified_at))),
        ("Deadline", Cell(precise(rollback.deadline))),
        (
            "Measured",
            Cell(
                f"{measured:.1f} s of {rollback.limit_seconds:.0f} s"
                if measured is not None
                else f"not all were read back; limit {rollback.limit_seconds:.0f} s",
                tone=tone,
            ),
        ),
        ("Quoted before", Cell(quantity(rollback.quote_seconds, "s"))),
        ("Expected before", Cell(quantity(rollback.expected_seconds, "s"))),
        ("Arithmetic of the quote", Cell(_arithmetic(rollback.quote_terms))),
        ("Tenants touched", Cell(f"{rollback.touched:,}")),
        ("Tenants restored", Cell(f"{rollback.restored:,}")),
        (
            "Left to people",
            Cell(f"{rollback.needs_hand:,}", tone="bad" if rollback.needs_hand else "plain"),
        ),
        ("Left alone", Cell(", ".join(rollback.superseded) or "none was moved on by a newer plan")),
    ]
    if rollback.missed_at is not None:
        rows.append(("Limit missed", Cell(precise(rollback.missed_at), tone="bad")))
    return Pairs(tuple(rows))


def _arithmetic(terms: tuple[tuple[str, float], ...]) -> str:
    return "; ".join(f"{label}: {seconds:.1f} s" for label, seconds in terms) or NOTHING


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
