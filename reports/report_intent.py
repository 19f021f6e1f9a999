"""The report's first part: what was intended, who decided, and under which rules."""

from reports.report_blocks import (
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
    cells,
    count,
    in_chunks,
    moment,
    quantity,
    utc,
    words,
)
from reports.report_facts import Person, ReportFacts, RequestFact

POLICY_LINES_PER_CHUNK = 40
VERDICT_TONES: dict[str, Tone] = {"approved": "good", "rejected": "bad"}


def plan_section(facts: ReportFacts) -> Section:
    """Say what the plan was and how its content came about."""
    release = facts.release
    rows = (
        ("Plan", Cell(f"{facts.external_id} · {facts.plan_id}", mono=True)),
        ("Plugin", Cell(release.plugin)),
        ("From version", Cell(", ".join(facts.from_versions) or "none was observed")),
        ("To version", Cell(release.version)),
        ("Artifact digest", Cell(f"sha256:{release.digest}", mono=True)),
        ("Signature", Cell(f"verified {utc(release.verified_at)}, key {release.signed_by}")),
        (
            "Way back",
            Cell("irreversible release", tone="warn")
            if release.irreversible
            else Cell("the release can be taken back"),
        ),
        ("Deployer", Cell(facts.deployer)),
        ("Tenants planned", Cell(f"{facts.planned_tenants:,}")),
        ("Owner", Cell(str(facts.owner) or NOTHING)),
        ("Reason, ticket", Cell(facts.note or "none was given")),
        ("Drafted", Cell(f"{utc(facts.created_at)} by {facts.author}")),
        ("Handed in", Cell(utc(facts.submitted_at))),
        ("Approved", Cell(utc(facts.approved_at))),
        ("Started", Cell(utc(facts.started_at))),
        ("Ended", Cell(utc(facts.ended_at))),
    )
    blocks: list[Block] = [Pairs(rows), _revisions(facts), *_quotes(facts)]
    if facts.left_out:
        blocks.append(_left_out(facts))
    return Section("plan", "What was intended", tuple(blocks))


def people_section(facts: ReportFacts) -> Section:
    """Say who did what, and whether the duties were kept apart."""
    rows: list[tuple[Cell, ...]] = [
        cells("Author", str(facts.author), moment(facts.created_at), "drafted the plan")
    ]
    rows += [
        cells("Editor", str(r.author), moment(r.at), f"wrote revision {r.number}")
        for r in facts.revisions
        if r.number > 1
    ]
    for request in facts.requests:
        rows.append(
            cells(
                "Submitter",
                str(request.opened_by),
                moment(request.opened_at),
                f"asked to {request.action} revision {request.revision}",
            )
        )
        rows += [
            cells(
                "Approver" if v.verdict == "approved" else "Refuser",
                str(v.person),
                moment(v.at),
                f"{v.verdict} as {v.role or 'no role'}" + (f", {v.method}" if v.method else ""),
            )
            for v in request.verdicts
        ]
    if facts.started_at is not None:
        starter = str(facts.started_by) if facts.started_by else "the console, by schedule"
        rows.append(cells("Starter", starter, moment(facts.started_at), "started the plan"))
    rows += [
        cells("Rollback", r.by, moment(r.triggered_at), f"{words(r.trigger)}, via {r.via}")
        for r in facts.rollbacks
    ]
    table = Table(
        caption="Segregation of duties",
        head=("Duty", "Who", "When (UTC)", "What and how"),
        widths=(13, 37, 20, 30),
        rows=tuple(rows),
    )
    blocks: list[Block] = [Statements(separation(facts)), table, Heading("Approval trail")]
    if not facts.requests:
        blocks.append(Paragraph("No approval was ever asked for; nothing was started."))
    for request in facts.requests:
        blocks.extend(_request(request, facts))
    return Section("people", "Who decided", tuple(blocks))


def separation(facts: ReportFacts) -> tuple[tuple[str, Tone], ...]:
    """Return the findings on the segregation of duties, the bad ones included."""
    writers = {str(facts.author), *(str(revision.author) for revision in facts.revisions)}
    approvals = [v for r in facts.requests for v in r.verdicts if v.verdict == "approved"]
    if not approvals:
        if facts.started_at is None:
            return (("Nobody approved the plan, and it was never started.", "plain"),)
        return (("The plan was started although nobody approved it.", "bad"),)
    found: list[tuple[str, Tone]] = []
    both = sorted(writers & {str(v.person) for v in approvals})
    if both:
        found.append((f"Wrote the plan and approved it: {', '.join(both)}.", "bad"))
    else:
        found.append(("No approver wrote any part of the plan.", "good"))
    granted = next((r for r in facts.requests if r.outcome == "approved"), None)
    if granted is not None:
        signers = [v for v in granted.verdicts if v.verdict == "approved"]
        missing = [r for r in granted.roles if r not in {v.role for v in signers}]
        people = {str(v.person) for v in signers}
        if missing:
            found.append((f"Roles without a signature: {', '.join(missing)}.", "bad"))
        elif len(people) < len(granted.roles):
            found.append(("One person signed for several roles.", "bad"))
        else:
            roles = ", ".join(granted.roles)
            found.append((f"Each role was signed for by a person of its own: {roles}.", "good"))
    if facts.started_at is not None:
        late = [v for v in approvals if v.at > facts.started_at]
        words_ = f"{count(len(late), 'approval')} came after the start."
        found.append((words_, "bad") if late else ("Every approval came before the start.", "good"))
    return tuple(found)


def policy_section(facts: ReportFacts) -> Section:
    """Say which rules applied; their full text is annex A."""
    limits = facts.limits
    rows = (
        ("Policy", Cell(facts.policy_name)),
        ("Digest", Cell(f"sha256:{facts.policy_digest}", mono=True)),
        ("Success rate", Cell(f"at least {quantity(limits.success_rate, '%')} of the tenants")),
        ("Failure rate", Cell(f"alert above {quantity(limits.failure_rate, '%')} of a batch")),
        ("Rollback", Cell(f"complete within {quantity(limits.rollback_seconds, 's')}")),
        ("Calling of a batch", Cell(f"alert above {quantity(limits.batch_minutes, 'min')}")),
        (
            "Missing metrics",
            Cell(f"alert above {quantity(limits.missing_metrics_minutes, 'min')}"),
        ),
    )
    blocks: list[Block] = [
        Paragraph("The rules as they were approved. Annex A holds them word for word."),
        Pairs(rows),
    ]
    if facts.soak_scale != 1:
        text = (
            f"REHEARSAL: soaks and windows of the policy were multiplied by {facts.soak_scale:g}. "
            "Times in this report are not those of a real roll-out."
        )
        blocks.append(Paragraph(text, tone="warn"))
    return Section("policy", "Which rules applied", tuple(blocks))


def policy_annex(facts: ReportFacts) -> Section:
    """Print the policy word for word."""
    chunks = in_chunks(facts.policy_text.rstrip().splitlines(), POLICY_LINES_PER_CHUNK)
    return Section("annex-policy", "Annex A: the policy word for word", (Listing(chunks),), True)


def _revisions(facts: ReportFacts) -> Table:
    rows = tuple(
        (
            Cell(str(r.number), number=True),
            Cell(moment(r.at)),
            Cell(r.author.name),
            Cell(r.why or NOTHING),
            Cell(r.policy_name),
            Cell(r.plan_digest, mono=True),
        )
        for r in facts.revisions
    )
    return Table(
        caption="Revisions of the plan",
        head=("No.", "Written (UTC)", "By", "Why", "Policy", "Plan digest (SHA-256)"),
        widths=(5, 18, 14, 17, 13, 33),
        rows=rows,
    )


def _quotes(facts: ReportFacts) -> tuple[Block, ...]:
    """Give the rollback quote that each batch's gate was taken by, with its arithmetic."""
    quoted = [(batch, batch.quote) for batch in facts.batches if batch.quote is not None]
    if not quoted:
        return ()
    rows = tuple(
        (
            Cell(batch.name),
            Cell(f"{quote.touched:,}", number=True),
            Cell(f"{quote.seconds:.0f} s of {quote.limit:.0f} s", number=True),
            Cell(f"{quote.expected_seconds:.0f} s", number=True),
            Cell("; ".join(f"{label}: {seconds:.1f} s" for label, seconds in quote.terms)),
        )
        for batch, quote in quoted
    )
    head = ("Batch", "Tenants touched", "At worst, of limit", "Expected", "Arithmetic, worst case")
    caption = "Rollback quote at each batch's gate: everything touched before and by it"
    return (Table(caption=caption, head=head, widths=(13, 10, 15, 10, 52), rows=rows),)


def _left_out(facts: ReportFacts) -> Table:
    shown = facts.left_out[:40]
    more = len(facts.left_out) - len(shown)
    caption = f"Tenants left out of the plan ({len(facts.left_out):,})"
    if more:
        caption += f"; {more:,} more in report.json"
    rows = tuple((Cell(key, mono=True), Cell(why or "no reason given")) for key, why in shown)
    return Table(caption=caption, head=("Tenant", "Why"), widths=(35, 65), rows=rows)


def _request(request: RequestFact, facts: ReportFacts) -> tuple[Block, ...]:
    fits = any(
        revision.number == request.revision and revision.plan_digest == request.plan_digest
        for revision in facts.revisions
    )
    outcome: Tone = "good" if request.outcome == "approved" else "warn"
    pairs = Pairs(
        (
            ("Asked", Cell(f"to {request.action}, {utc(request.opened_at)}")),
            ("By", Cell(str(request.opened_by))),
            ("Roles needed", Cell(", ".join(request.roles))),
            ("Deadline", Cell(utc(request.deadline))),
            (
                "Content",
                Cell(f"revision {request.revision}, {request.plan_digest}", mono=True)
                if fits
                else Cell("the digest fits no revision of this plan", tone="bad"),
            ),
            (
                "Outcome",
                Cell(f"{words(request.outcome) or 'open'}, {utc(request.closed_at)}", tone=outcome),
            ),
        )
    )
    if not request.verdicts:
        return (pairs, Paragraph("Nobody answered this request."))
    rows = tuple(
        (
            Cell(v.role or NOTHING),
            Cell(_who(v.person)),
            Cell(v.verdict, tone=VERDICT_TONES.get(v.verdict, "plain")),
            Cell(moment(v.at)),
            Cell(v.method or NOTHING),
            Cell(v.comment or NOTHING),
        )
        for v in request.verdicts
    )
    table = Table(
        caption=f"Answers to the request of {utc(request.opened_at)}",
        head=("Role", "Who", "Verdict", "When (UTC)", "How", "Comment"),
        widths=(15, 24, 11, 18, 10, 22),
        rows=rows,
    )
    return (pairs, table)


def _who(person: Person) -> str:
    return str(person)
