"""The report's last part: who intervened, what did not happen, and how to check it all."""

from collections.abc import Sequence

from reports.document.blocks import (
    NOTHING,
    Block,
    Cell,
    Heading,
    Listing,
    Pairs,
    Paragraph,
    Section,
    Statements,
    Table,
    Tone,
    count,
    moment,
    utc,
    words,
)
from reports.document.facts import EventFact, ReportFacts
from reports.document.facts_course import TenantFact
from reports.document.grants import grant_statements

FIRST_EVENTS, LAST_EVENTS, MOST_EVENTS = 25, 25, 90
MOST_FIELD_CHANGES = 40


def interventions_section(facts: ReportFacts) -> Section:
    """List what people did after the start."""
    acts = interventions(facts)
    if not acts:
        text = "No person intervened after the start."
        return Section("acts", "Who intervened", (Paragraph(text, tone="good"),))
    rows = tuple(
        (
            Cell(f"{event.seq:,}", number=True),
            Cell(moment(event.at)),
            Cell(event.actor),
            Cell(event.via),
            Cell(event.sentence),
        )
        for event in acts
    )
    head = ("Event", "When (UTC)", "Who", "Via", "What")
    table = Table("Acts of people after the start", head, (8, 18, 19, 9, 46), rows)
    return Section("acts", "Who intervened", (table,))


def interventions(facts: ReportFacts) -> list[EventFact]:
    """Return the acts of people after the start."""
    start = facts.started_at
    return [e for e in facts.trail.events if e.human and start is not None and e.at > start]


def negatives_section(facts: ReportFacts) -> Section:
    """Say in so many words what did not happen, and what did."""
    return Section(
        "negatives",
        "What did not happen",
        (
            Paragraph("Silence proves nothing; so each of these is stated, also when it is bad."),
            Statements(negative_statements(facts)),
        ),
    )


def negative_statements(facts: ReportFacts) -> tuple[tuple[str, Tone], ...]:
    """Return one explicit statement per question an auditor would ask."""
    found: list[tuple[str, Tone]] = []

    def state(happened: int, no: str, yes: str, tone: Tone = "bad") -> None:
        found.append((yes, tone) if happened else (no, "good"))

    touched = len(facts.touched)
    if facts.started_at is None:
        state(touched, "No tenant was touched.", f"{count(touched, 'tenant')} touched unstarted.")
        found.append(("The plan was never started.", "plain"))
    rollbacks = len(facts.rollbacks)
    late = sum(1 for rollback in facts.rollbacks if not rollback.in_time)
    state(rollbacks, "No rollback happened.", f"{count(rollbacks, 'rollback')} happened.", "warn")
    if rollbacks:
        state(late, "No rollback missed its limit.", f"{count(late, 'rollback')} missed the limit.")
    waiting = sum(1 for tenant in facts.tenants if tenant.state == "needs_hand")
    state(
        waiting,
        "No tenant was left in need of a hand.",
        f"{count(waiting, 'tenant')} left in need of a hand.",
    )
    adrift = sum(
        1 for t in facts.touched if t.state in {"upgrading", "unknown", "restoring", "failed"}
    )
    state(
        adrift,
        "No touched tenant was left without a settled outcome.",
        f"{count(adrift, 'touched tenant')} without a settled outcome.",
    )
    foreign = sum(1 for tenant in facts.touched if runs_unsigned(facts, tenant))
    state(
        foreign,
        "No tenant was seen with another artifact than was signed.",
        f"{count(foreign, 'tenant')} last seen with another artifact than was signed.",
    )
    breaches = sum(1 for ruling in facts.rulings if ruling.verdict == "breached")
    state(
        breaches,
        "No guardrail was breached.",
        f"{count(breaches, 'ruling')} found a guardrail breached.",
        "warn",
    )
    blind = sum(kpi.blind for kpi in facts.kpis)
    state(
        blind,
        "No look at a metric was without data.",
        f"{count(blind, 'look')} at a metric without data.",
        "warn",
    )
    held = sum(1 for batch in facts.batches if batch.held_at is not None)
    state(held, "No batch was held.", f"{count(held, 'batch', 'batches')} held.", "warn")
    found += grant_statements(facts)
    used = len(facts.overrides)
    state(used, "No freeze override was used.", f"{count(used, 'freeze override')} used.", "warn")
    waited = sum(1 for batch in facts.batches if batch.waited_seconds)
    state(
        waited,
        "No batch waited for an opening in the middle of its calls.",
        f"{count(waited, 'batch', 'batches')} waited for an opening in the middle of the calls.",
        "plain",
    )
    state(
        facts.stopped_at is not None,
        "Nobody ended the plan before its end.",
        f"The plan was stopped where it stood, {utc(facts.stopped_at)}.",
        "warn",
    )
    acts = len(interventions(facts))
    state(
        acts,
        "No person intervened after the start.",
        f"{count(acts, 'act')} of people after the start, listed above.",
        "plain",
    )
    start = facts.started_at
    edits = sum(1 for r in facts.revisions if start is not None and r.at > start)
    state(
        edits,
        "No rule was changed while the plan ran.",
        f"{count(edits, 'revision')} written while the plan ran.",
        "warn",
    )
    state(
        len(facts.alerts),
        "No alert was raised.",
        f"{count(len(facts.alerts), 'alert')} raised.",
        "warn",
    )
    state(
        not facts.trail.intact,
        "No event of the trail was changed, removed or inserted.",
        f"THE TRAIL DOES NOT VERIFY: {facts.trail.finding}.",
    )
    return tuple(found)


def runs_unsigned(facts: ReportFacts, tenant: TenantFact) -> bool:
    """Tell whether the target's name was read back from a tenant with another digest."""
    seen = tenant.digest_observed.removeprefix("sha256:")
    on_target = tenant.version_observed == facts.release.version
    return on_target and bool(seen) and seen != facts.release.digest


def integrity_section(facts: ReportFacts, *, data_digest: str) -> Section:
    """Give what is needed to check the report, and an excerpt of the trail."""
    trail = facts.trail
    last = trail.events[-1].seq if trail.events else 0
    pairs = Pairs(
        (
            ("Trail", Cell(f"{trail.stream}, events 1 to {last:,}", mono=True)),
            ("Head hash", Cell(trail.head_hash, mono=True)),
            (
                "Checked link by link",
                Cell(trail.finding, tone="good" if trail.intact else "bad"),
            ),
            ("Data of this report", Cell(f"report.json, SHA-256 {data_digest}", mono=True)),
            ("Data cut-off", Cell(utc(facts.cut_off))),
            ("Generated by", Cell(facts.generator)),
            ("Instance", Cell(f"{facts.instance} · {facts.url}")),
        )
    )
    checkpoint = trail.checkpoint
    signed: list[Block] = [
        Heading("Signed checkpoint"),
        Paragraph("No checkpoint of the trail could be signed for this report.", tone="warn"),
    ]
    if checkpoint is not None:
        known = checkpoint.proof["seq"]
        said = (
            f"Checkpoint {checkpoint.number:,} of {utc(checkpoint.at)}, signed by the console's key"
            f" {checkpoint.kid}, over the heads of {count(checkpoint.proof['count'], 'stream')};"
            f" this plan's up to event {known:,}. The key stands outside of this report."
        )
        signed = [
            Heading("Signed checkpoint"),
            Paragraph(said),
            Listing(tuple(checkpoint.text.strip().split("\n")), small=True),
        ]
    how = Statements(
        (
            ("Take report.json and trail.jsonl out of this file (attachments).", "plain"),
            ("The SHA-256 of report.json must be the one above and on every page.", "plain"),
            (
                "Each line of trail.jsonl is one event as RFC 8785 JSON. From 64 zeros on, the "
                "next hash is SHA-256 over a zero byte, the hash before as 32 bytes, and the "
                "line. The last one must be the head hash above.",
                "plain",
            ),
            (
                "Or let verify_trail.py do it, which the trail's page hands out and which needs"
                " nothing of the console: verify_trail.py trail.jsonl checkpoint.json --pubkey KEY,"
                " with the key that you were given by another way than this file.",
                "plain",
            ),
        )
    )
    shown, left_out = excerpt(trail.events)
    rows = tuple(
        (
            Cell(f"{e.seq:,}", number=True),
            Cell(moment(e.at)),
            Cell(e.actor),
            Cell(e.sentence),
            Cell(e.hash[:12], mono=True),
        )
        for e in shown
    )
    caption = f"Trail: {len(shown):,} of {count(len(trail.events), 'event')}"
    if left_out:
        caption += f"; {left_out:,} between them are in trail.jsonl only"
    head = ("No.", "When (UTC)", "Who", "What", "Hash")
    blocks: list[Block] = [
        pairs,
        Heading("How to check"),
        how,
        *signed,
        Table(caption, head, (6, 18, 17, 45, 14), rows),
        *_field_changes(facts),
    ]
    return Section("integrity", "How to check this report", tuple(blocks))


def excerpt(events: Sequence[EventFact]) -> tuple[list[EventFact], int]:
    """Return the events to print and how many are not: the ends, and what people did."""
    if len(events) <= MOST_EVENTS:
        return list(events), 0
    middle = events[FIRST_EVENTS:-LAST_EVENTS]
    room = MOST_EVENTS - FIRST_EVENTS - LAST_EVENTS
    people = [event for event in middle if event.human][:room]
    shown = [*events[:FIRST_EVENTS], *people, *events[-LAST_EVENTS:]]
    return shown, len(events) - len(shown)


def _field_changes(facts: ReportFacts) -> tuple[Block, ...]:
    if not facts.field_changes:
        return (Paragraph("The field-level log holds no change of this plan's rows."),)
    shown = facts.field_changes[:MOST_FIELD_CHANGES]
    total = count(len(facts.field_changes), "entry", "entries")
    caption = f"Field-level log: {len(shown):,} of {total}"
    rows = tuple(
        (
            Cell(moment(change.at)),
            Cell(change.actor or NOTHING),
            Cell(f"{words(change.action)} {change.what}"),
            Cell("; ".join(change.changes) or NOTHING),
        )
        for change in shown
    )
    head = ("When (UTC)", "Who", "What", "Changes")
    return (Table(caption, head, (18, 17, 25, 40), rows),)
