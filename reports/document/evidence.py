"""The report's words and picture of the evidence test."""

from collections.abc import Sequence

from reports.document.blocks import Block, Paragraph, Picture, count, precise
from reports.document.facts_course import EvidenceFact
from reports.document.figures import LimitLine, Line, Marker, Span, kpi_chart


def evidence_blocks(
    evidence: EvidenceFact | None, bands: Sequence[Span], markers: Sequence[Marker]
) -> list[Block]:
    """Return what the test was, how it went and what it said last; nothing without a test."""
    if evidence is None:
        return []
    svg = kpi_chart(
        name="Evidence",
        unit="%",
        lines=[Line(label, points) for label, points in evidence.lines],
        limits=[LimitLine(100, f"at 100 %: {evidence.action}")],
        bands=bands,
        markers=markers,
    )
    blocks: list[Block] = []
    if svg:
        blocks.append(Picture(svg, _caption(evidence)))
    reached = evidence.reached_at
    said = f"It reached 100 % at {precise(reached)}: " if reached is not None else "It said last: "
    blocks.append(
        Paragraph(f"{said}{evidence.sentence}.", tone="bad" if reached is not None else "plain")
    )
    return blocks


def _caption(evidence: EvidenceFact) -> str:
    rests = (
        "calibrated by the tenants' own history, an estimate and no proof"
        if evidence.estimated
        else "without the tenants' history"
    )
    return (
        f"Evidence that the upgraded tenants are worse than tolerated ({', '.join(evidence.kpis)}),"
        f" {count(evidence.looks, 'look')}: at most {evidence.highest:.0f} %."
        f" Tolerated {evidence.tolerated}, with {evidence.risk:g} % risk of a false alarm over all"
        f" looks together; {rests}. Shaded: batches."
    )
