"""The report's words on signed approvals: who agreed to what, how proved, and what used it up."""

import base64
import json

from reports.document.blocks import (
    Block,
    Cell,
    Heading,
    Listing,
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
from reports.document.facts import ReportFacts
from reports.document.facts_agreed import BrokenGlassFact, GrantFact

MOST_PRINTED = 60
ACTS = {
    "start": "started the plan",
    "promote": "let a batch begin",
    "loosen": "put a loosening in force",
}


def grant_blocks(facts: ReportFacts) -> list[Block]:
    """List the grants, each with its signature's finding and with what used it up."""
    blocks: list[Block] = [Heading("Signed approvals")]
    if not facts.grants:
        if facts.requests:
            blocks.append(Paragraph("No approval of this plan was signed.", tone="bad"))
        return blocks
    rows = tuple(
        (
            Cell(str(one.person)),
            Cell(words(one.action) + (f", batch {one.batch}" if one.batch else "")),
            Cell(" and ".join(one.methods), tone=_proof_tone(one)),
            Cell(moment(one.issued_at)),
            Cell(_use(one)),
            Cell("holds", tone="good") if one.genuine else Cell(one.finding, tone="bad"),
        )
        for one in facts.grants
    )
    head = ("Who", "For", "Proved by", "Signed (UTC)", "Used up by", "Signature")
    caption = "Signed approvals (Ed25519 over canonical JSON); the last annex holds them in full"
    return [*blocks, Table(caption, head, (20, 14, 11, 15, 28, 12), rows)]


def _proof_tone(one: GrantFact) -> Tone:
    return "warn" if set(one.methods) <= {"pwd", "rehearsal"} else "plain"


def _use(one: GrantFact) -> str:
    if one.consumed_at is not None:
        return f"{one.op}, {moment(one.consumed_at)}"
    return one.voided_why or "nothing"


def broken_glass_blocks(facts: ReportFacts) -> list[Block]:
    """Say in red what was done without the approvers, and what others found afterwards."""
    blocks: list[Block] = []
    for one in facts.broken_glass:
        told = f"{count(len(one.told), 'person', 'people')} who could have agreed were told"
        said: tuple[tuple[str, Tone], ...] = (
            (f"GLASS BROKEN: {broken_sentence(one)}", "bad"),
            (f"Reason: {one.reason}", "plain"),
            (f"Not separated: {', '.join(one.roles)} did not agree; {told}.", "bad"),
            review_statement(one),
        )
        blocks.append(Statements(said))
    return blocks


def broken_sentence(one: BrokenGlassFact) -> str:
    """Return what was done, by whom, when."""
    batch = f" ({one.batch})" if one.batch else ""
    return f"{one.by} {ACTS[one.act]}{batch} without the approvers, {utc(one.at)}."


def review_statement(one: BrokenGlassFact) -> tuple[str, Tone]:
    """Return what somebody else found, or that nobody has looked yet."""
    if one.reviewed_at is None:
        return f"Nobody has reviewed it yet; it is due {utc(one.review_due)}.", "bad"
    late = ", late" if one.reviewed_at > one.review_due else ""
    tone: Tone = "warn" if one.verdict == "justified" else "bad"
    return (
        f"Reviewed by {one.reviewed_by}, {utc(one.reviewed_at)}{late}:"
        f" {words(one.verdict)}. {one.review}",
        tone,
    )


def grant_statements(facts: ReportFacts) -> tuple[tuple[str, Tone], ...]:
    """Return the explicit statements on signed approvals, the good ones included."""
    broken, false = len(facts.broken_glass), [g for g in facts.grants if not g.genuine]
    found: list[tuple[str, Tone]] = [
        (f"{count(broken, 'act')} without the approvers (glass broken).", "bad")
        if broken
        else ("No act was done without the approvers.", "good")
    ]
    if facts.grants:
        found.append(
            (f"{count(len(false), 'signed approval')} whose signature does not hold.", "bad")
            if false
            else ("The signature of every approval holds.", "good")
        )
    weak = [g for g in facts.grants if _proof_tone(g) == "warn"]
    if weak:
        found.append((f"{count(len(weak), 'approval')} given without a second factor.", "warn"))
    return tuple(found)


def grants_annex(facts: ReportFacts) -> Section | None:
    """Print the grants as they were signed, with what verifies them; None where there are none."""
    if not facts.grants:
        return None
    shown = facts.grants[:MOST_PRINTED]
    more = len(facts.grants) - len(shown)
    how: tuple[tuple[str, Tone], ...] = (
        (
            "Each is the JSON below as RFC 8785 bytes, signed with Ed25519 by the key that it"
            " names. report.json holds them as {payload, sig, kid} in base64;"
            " `manage.py grant_verify report.json` verifies them offline.",
            "plain",
        ),
        ("Compare the key with the console's own, got by another way than this report.", "plain"),
        *((f"Key {kid}, public part in base64: {key}", "plain") for kid, key in facts.grant_keys),
    )
    blocks: list[Block] = [Statements(how)]
    if more:
        blocks.append(Paragraph(f"{more:,} more are in report.json."))
    blocks.append(Listing(tuple(_printed(one) for one in shown), small=True))
    return Section(
        "annex-grants", "Annex C: the approvals as they were signed", tuple(blocks), True
    )


def _printed(one: GrantFact) -> str:
    payload = json.loads(base64.b64decode(one.grant["payload"])) if one.genuine else {}
    body = json.dumps(payload, indent=1, sort_keys=True, ensure_ascii=False) if payload else ""
    used = f"used {utc(one.consumed_at)} by {one.op}" if one.consumed_at else "not used"
    if one.voided_why:
        used = f"counts no more: {one.voided_why}"
    lines = [body or one.grant["payload"], f"sig {one.grant['sig']}", f"kid {one.grant['kid']}"]
    return "\n".join([*lines, used])
