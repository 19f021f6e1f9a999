"""The report's account of what was taken back: each rollback, measured against its limit."""

from reports.document.aftermath import aftermath_blocks, drill_blocks
from reports.document.blocks import (
    NOTHING,
    Block,
    Cell,
    Heading,
    Pairs,
    Paragraph,
    Section,
    Tone,
    between,
    count,
    precise,
    quantity,
    words,
)
from reports.document.facts import ReportFacts
from reports.document.facts_course import RollbackFact


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
        _signatures(rollback),
    ]
    if rollback.missed_at is not None:
        rows.append(("Limit missed", Cell(precise(rollback.missed_at), tone="bad")))
    return Pairs(tuple(rows))


def _signatures(rollback: RollbackFact) -> tuple[str, Cell]:
    """Say whether what it brought back was signed; that never stood in its way."""
    said = [
        f"{version or 'version not known'}, {count(tenants, 'tenant')}: {problem}"
        for version, tenants, problem in rollback.unverified
    ]
    if not said:
        return "Signatures of what came back", Cell("none was noted as not holding")
    return "Brought back unverified", Cell("; ".join(said), tone="warn")


def _arithmetic(terms: tuple[tuple[str, float], ...]) -> str:
    return "; ".join(f"{label}: {seconds:.1f} s" for label, seconds in terms) or NOTHING
