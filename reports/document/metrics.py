"""The report's account of what was measured: each Kpi with its chart, limits and gaps."""

from reports.document.blocks import (
    NOTHING,
    Block,
    Cell,
    Paragraph,
    Picture,
    Section,
    Table,
    count,
    moment,
    quantity,
)
from reports.document.course import batch_end, markers
from reports.document.evidence import evidence_blocks
from reports.document.facts import ReportFacts
from reports.document.facts_course import KpiFact, KpiLimit
from reports.document.figures import LimitLine, Line, Span, kpi_chart


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
    blocks += evidence_blocks(facts.evidence, _bands(facts), markers(facts))
    rows = tuple(_kpi_row(kpi, facts) for kpi in facts.kpis)
    head = ("Kpi", "Source", "Limit", "Looks", "Without data", "Lowest", "Highest", "Breaches")
    blocks.append(Table("Looks at the Kpis", head, (21, 13, 16, 9, 11, 10, 10, 10), rows))
    return Section("metrics", "What was measured", tuple(blocks))


def _chart(kpi: KpiFact, facts: ReportFacts) -> str:
    # A look at which only the tenants still waiting spoke is no gap of the upgraded ones.
    own = [p for p in kpi.points if p.value is not None or not p.drawn]
    lines = [Line("upgraded tenants", tuple((p.at, p.value) for p in own))]
    if any(point.control is not None for point in kpi.points):
        control = [(p.at, p.control) for p in kpi.points if p.drawn and p.control is not None]
        lines.append(Line("not yet upgraded", tuple(control)))
    return kpi_chart(
        name=f"{kpi.name}, {kpi.meaning}" if kpi.meaning else kpi.name,
        unit=kpi.unit,
        lines=lines,
        limits=[
            LimitLine(one.value, one.label, one.since, one.until)
            for one in kpi.limits
            if one.value is not None
        ],
        bands=_bands(facts),
        markers=markers(facts),
    )


def _bands(facts: ReportFacts) -> list[Span]:
    return [
        Span(batch.name, batch.opened_at, batch_end(batch, facts))
        for batch in facts.batches
        if batch.opened_at is not None
    ]


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
