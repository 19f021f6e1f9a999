"""The report's first part: what was intended, who decided, and under which rules."""

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
    cells,
    count,
    in_chunks,
    moment,
    quantity,
    utc,
    words,
)
from reports.document.facts import ReportFacts
from reports.document.facts_agreed import FreezeFact, Person, RequestFact
from reports.document.grants import broken_glass_blocks, grant_blocks

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
        ("All its signatures", Cell("; ".join(release.signatures) or NOTHING)),
        (
            "Standing at the cut-off",
            Cell(release.standing or "trusted", tone="bad" if release.standing else "good"),
        ),
        (
            "Way back",
            Cell(
                "NONE: this release cannot be taken back; whatever went wrong stopped the plan"
                " and restored nothing",
                tone="bad",
            )
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
    blocks: list[Block] = [Pairs(rows), _revisions(facts), *_quotes(facts), *_soaks(facts)]
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
    blocks: list[Block] = [
        *broken_glass_blocks(facts),
        Statements(separation(facts)),
        table,
        Heading("Approval trail"),
    ]
    if not facts.requests:
        blocks.append(Paragraph("No approval was ever asked for; nothing was started."))
    for request in facts.requests:
        blocks.extend(_request(request, facts))
    blocks += grant_blocks(facts)
    return Section("people", "Who decided", tuple(blocks))


def separation(facts: ReportFacts) -> tuple[tuple[str, Tone], ...]:
    """Return the findings on the segregation of duties, the bad ones included."""
    approvals = [v for r in facts.requests for v in r.verdicts if v.verdict == "approved"]
    if not approvals:
        if facts.started_at is None:
            return (("Nobody approved the plan, and it was never started.", "plain"),)
        return (("The plan was started although nobody approved it.", "bad"),)
    found: list[tuple[str, Tone]] = []
    both = sorted({name for r in facts.requests for name in _wrote_and_approved(r, facts)})
    if both:
        found.append((f"Wrote the plan and approved it: {', '.join(both)}.", "bad"))
    else:
        found.append(("No approver wrote any part of what they approved.", "good"))
    starts = [r for r in facts.requests if r.action == "start"]
    granted = next((r for r in starts if r.outcome == "approved"), None)
    if granted is not None:
        found.append(_signed(granted))
    if facts.started_at is not None:
        given = [v for r in starts for v in r.verdicts if v.verdict == "approved"]
        late = [v for v in given if v.at > facts.started_at]
        words_ = f"{count(len(late), 'approval')} came after the start."
        found.append((words_, "bad") if late else ("Every approval came before the start.", "good"))
    return tuple(found)


def _wrote_and_approved(request: RequestFact, facts: ReportFacts) -> set[str]:
    """Return who approved what they had written themselves, up to the request's revision."""
    writers = {str(r.author) for r in facts.revisions if r.number <= request.revision}
    approvers = {str(v.person) for v in request.verdicts if v.verdict == "approved"}
    return (writers | {str(facts.author)}) & approvers


def _signed(granted: RequestFact) -> tuple[str, Tone]:
    signers = [v for v in granted.verdicts if v.verdict == "approved"]
    missing = [r for r in granted.roles if r not in {v.role for v in signers}]
    if missing:
        return f"Roles without a signature: {', '.join(missing)}.", "bad"
    if len({str(v.person) for v in signers}) < len(granted.roles):
        return "One person signed for several roles.", "bad"
    roles = ", ".join(granted.roles)
    return f"Each role was signed for by a person of its own: {roles}.", "good"


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
        ("Windows", Cell(" ".join(facts.windows) or "At any time.")),
    )
    blocks: list[Block] = [
        Paragraph(
            "The rules as they were in force at the end. Annex A holds them word for word; what"
            " changed while the plan ran stands in the next section."
            if facts.adjusted
            else "The rules as they were approved. Annex A holds them word for word."
        ),
        Pairs(rows),
    ]
    if facts.soak_scale != 1:
        text = (
            f"REHEARSAL: soaks and windows of the policy were multiplied by {facts.soak_scale:g}. "
            "Times in this report are not those of a real roll-out."
        )
        blocks.append(Paragraph(text, tone="warn"))
    blocks += _freezes(facts)
    return Section("policy", "Which rules applied", tuple(blocks))


def _freezes(facts: ReportFacts) -> list[Block]:
    """List the freezes over the plan, and who let it through which."""
    blocks: list[Block] = [Heading("Freezes")]
    if not facts.freezes:
        blocks.append(Paragraph("No freeze covered a tenant of this plan while it lived."))
    else:
        rows = tuple(
            cells(
                freeze.name,
                freeze.reason,
                moment(freeze.begins_at),
                _freeze_end(freeze),
                str(freeze.declared_by),
            )
            for freeze in facts.freezes
        )
        head = ("Freeze", "Why", "From (UTC)", "Until (UTC)", "Declared by")
        blocks.append(Table("Freezes over this plan", head, (15, 25, 15, 25, 20), rows))
    if not facts.overrides:
        blocks.append(Paragraph("No freeze override was used.", tone="good"))
        return blocks
    rows = tuple(
        (
            Cell(override.freeze),
            Cell(str(override.by)),
            Cell(words(override.role)),
            Cell(moment(override.at)),
            Cell(override.reason, tone="warn"),
        )
        for override in facts.overrides
    )
    head = ("Freeze", "Overridden by", "As", "When (UTC)", "Why")
    blocks.append(Table("Freeze overrides", head, (15, 25, 15, 15, 30), rows))
    return blocks


def _freeze_end(freeze: FreezeFact) -> str:
    if freeze.lifted_at is not None:
        return f"{moment(freeze.lifted_at)}, lifted by {freeze.lifted_by}: {freeze.lifted_why}"
    return moment(freeze.ends_at) if freeze.ends_at is not None else "not lifted yet"


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


def _soaks(facts: ReportFacts) -> tuple[Block, ...]:
    """Say what each soak could find at the traffic of its tenants, as it was forecast."""
    if not facts.soaks:
        return ()
    rows = tuple(
        (
            Cell(soak.batch),
            Cell(soak.kpi, mono=True),
            Cell(soak.sentence, tone="plain" if soak.enough else "bad"),
        )
        for soak in facts.soaks
    )
    caption = "What each soak could find, as forecast when the plan was handed in"
    return (
        Table(caption=caption, head=("Batch", "Kpi", "Forecast"), widths=(15, 20, 65), rows=rows),
    )


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
