"""The report's part about rulings: every verdict with what it rests on, breaches as pictures."""

from collections.abc import Sequence

from reports.document.blocks import (
    NOTHING,
    Block,
    Cell,
    Paragraph,
    Picture,
    Section,
    Statements,
    Table,
    Tone,
    duration,
    moment,
    quantity,
    utc,
    words,
)
from reports.document.facts import ReportFacts
from reports.document.facts_course import RulingFact
from reports.document.figures import LimitLine, Line, Marker, kpi_chart

VERDICT_TONES: dict[str, Tone] = {"fine": "good", "breached": "bad", "no_data": "warn"}
MOST_PICTURES = 6
"""How many breaches are drawn; all of them stand in the table and in report.json."""


def rulings_section(facts: ReportFacts) -> Section:
    """List every verdict with the numbers it rests on."""
    if not facts.rulings:
        return Section("rulings", "What was ruled", (Paragraph("No ruling was made."),))
    rows = tuple(
        (
            Cell(moment(r.at)),
            Cell(r.batch or NOTHING),
            Cell(words(r.verdict), tone=VERDICT_TONES.get(r.verdict, "plain")),
            Cell(quantity(r.value, r.unit), number=True),
            Cell(quantity(r.threshold, r.unit), number=True),
            Cell(f"{r.n:,}", number=True),
            Cell(duration(r.window_seconds)),
            Cell(_why(r)),
        )
        for r in facts.rulings
    )
    head = ("When (UTC)", "Batch", "Verdict", "Value", "Limit", "n", "Window", "Why")
    text = (
        "One row for each time that a verdict or its reason changed. Each can be replayed from "
        "the stored samples; report.json holds the digest of its inputs."
    )
    table = Table("Rulings", head, (17, 10, 10, 9, 9, 8, 8, 29), rows)
    blocks: tuple[Block, ...] = (Paragraph(text), table, *_pictures(facts.rulings))
    return Section("rulings", "What was ruled", (*blocks, *_queries(facts.rulings)))


def _why(ruling: RulingFact) -> str:
    said = ruling.sentence
    if ruling.since is not None:
        said += f" (since {utc(ruling.since)})"
    return f"{said}. {ruling.next}." if ruling.next and ruling.verdict != "breached" else said


def _pictures(rulings: Sequence[RulingFact]) -> list[Picture]:
    """Return the values that led to each breach, beside the limit."""
    found: list[Picture] = []
    for ruling in rulings:
        if ruling.verdict != "breached" or len(found) == MOST_PICTURES:
            continue
        values = tuple((at, value) for at, value, _limit in ruling.recent)
        if not any(value is not None for _at, value in values) or ruling.threshold is None:
            continue
        svg = kpi_chart(
            name=ruling.kpi,
            unit=ruling.unit,
            lines=(Line("measured over its window", values),),
            limits=(
                LimitLine(ruling.threshold, f"limit {quantity(ruling.threshold, ruling.unit)}"),
            ),
            markers=(Marker(ruling.at, "breached"),),
        )
        found.append(Picture(svg, f"The breach at {utc(ruling.at)}: {ruling.sentence}."))
    return found


def _queries(rulings: Sequence[RulingFact]) -> tuple[Block, ...]:
    asked = dict.fromkeys((r.kpi, r.query) for r in rulings if r.query)
    if not asked:
        return ()
    said: tuple[tuple[str, Tone], ...] = tuple(
        (f"{kpi} was asked of {query}", "plain") for kpi, query in asked
    )
    return (Statements(said),)
