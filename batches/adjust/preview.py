"""What a change of a running plan would do, before anybody decides: writes nothing."""

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from batches.adjust.batches import rows_of, standing_of
from batches.adjust.evidence_preview import VERDICT_WORDS, EvidencePreview, preview_evidence
from batches.adjust.proposal import Expiry, Proposal, Quotes, part_of, propose
from batches.adjust.wanted import ChangeSet
from batches.replay.guardrail import Replayed, replay
from plans.changes.adjustment import limit_text, paired
from plans.changes.change import Change
from plans.models import Plan
from plans.policies.policy import Guardrail, UpgradePolicy
from plans.policies.policy_words import span
from plans.refusal import BadInput


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one guardrail would say now, judged on the stored looks."""

    kpi: str
    limit: str
    verdict: str
    label: str
    sentence: str
    value: float | None
    unit: str
    looks: int
    failed: int
    action: str
    at_next_look: str


@dataclass(frozen=True, slots=True)
class BatchBeforeAfter:
    """A batch as it is and as it would be; no tenants before = new, none after = gone."""

    name: str
    before: int
    after: int
    soak: str
    begins: str
    changed: bool


@dataclass(frozen=True, slots=True)
class AdjustmentPreview:
    """What applies at once, what waits for whom, and what each guardrail would say."""

    problems: tuple[str, ...]
    applies: tuple[Change, ...] = ()
    waits: tuple[Change, ...] = ()
    roles: tuple[str, ...] = ()
    pending: str = ""
    warnings: tuple[str, ...] = ()
    outlooks: tuple[Outlook, ...] = ()
    batches: tuple[BatchBeforeAfter, ...] = ()
    quotes: Quotes | None = None
    evidence: EvidencePreview | None = None


def preview_adjustment(
    *,
    plan: Plan,
    wanted: ChangeSet,
    now: datetime,
    expiry: Expiry | None = None,
    split: bool = True,
) -> AdjustmentPreview:
    """Return what `adjust` would do with the same arguments, or all that is wrong with them."""
    try:
        proposal = propose(plan, wanted, now=now, expiry=expiry)
        at_once = _at_once(proposal, split, now)
    except BadInput as bad:
        return AdjustmentPreview(bad.problems)
    if proposal.problems:
        return AdjustmentPreview(proposal.problems)
    changes = proposal.comparison.changes
    applied = at_once.comparison.changes if at_once is not None else ()
    waits = tuple(change for change in changes if change not in applied)
    return AdjustmentPreview(
        problems=(),
        applies=applied,
        waits=waits,
        roles=proposal.rule.required_roles if waits else (),
        pending=span(60 * proposal.rule.max_pending_minutes) if waits else "",
        warnings=tuple(_warnings(plan, proposal, at_once)),
        outlooks=tuple(outlook for _rule, outlook in _outlooks(plan, proposal.new)),
        batches=tuple(_batches(plan, proposal)),
        quotes=proposal.quotes,
        evidence=preview_evidence(plan, proposal.old, proposal.new, proposal.recut, now=now),
    )


def _at_once(proposal: Proposal, split: bool, now: datetime) -> Proposal | None:
    """Return what would be in force at once, None where all of it waits."""
    if proposal.problems or proposal.comparison.direction != "looser":
        return proposal
    return part_of(proposal, now=now) if split and proposal.comparison.mixed else None


def _outlooks(plan: Plan, policy: UpgradePolicy) -> list[tuple[Guardrail, Outlook]]:
    """Return each guardrail as it is written, with what it would say."""
    scaled = policy.at_scale(settings.SOAK_SCALE).guardrails
    found = []
    for written, rule in zip(policy.guardrails, scaled, strict=True):
        stands = replay(plan, rule, look_seconds=policy.limits.look_seconds)
        if stands is not None:
            found.append((written, _outlook(rule, stands)))
    return found


def _outlook(rule: Guardrail, stands: Replayed) -> Outlook:
    ruling = stands.ruling
    verdict = ruling.verdict if ruling is not None else "undecided"
    return Outlook(
        kpi=rule.kpi,
        limit=limit_text(stands.rule),
        verdict=verdict,
        label=VERDICT_WORDS[verdict],
        sentence=ruling.sentence if ruling is not None else f"{rule.kpi}: nobody has looked yet",
        value=ruling.value if ruling is not None else None,
        unit=ruling.unit if ruling is not None else "",
        looks=stands.looks,
        failed=stands.failed,
        action=rule.action,
        at_next_look=_at_next_look(stands),
    )


def _at_next_look(stands: Replayed) -> str:
    """Return what one more look like the last would do; empty where it is nothing."""
    if not stands.breaches_next:
        return ""
    return "dry_run" if stands.rule.dry_run else stands.rule.action


_THREATS = {
    "rollback": "This would roll the plan back at the next look",
    "pause": "This would pause the plan at the next look",
}


def _warnings(plan: Plan, proposal: Proposal, at_once: Proposal | None) -> list[str]:
    warnings = [f"{one}." for one in proposal.warnings]
    outlooks = _new_breaches(plan, at_once) if at_once is not None else []
    warnings += [
        f"{_THREATS[outlook.at_next_look]}: {outlook.sentence}."
        for outlook in outlooks
        if outlook.at_next_look in _THREATS
    ]
    coming, before = proposal.quotes.coming, proposal.quotes.coming_before
    if coming is not None and before is not None and before.fits and not coming.fits:
        warnings.append(f"The next batch would not begin: {coming.sentence}.")
    now, was = proposal.quotes.now, proposal.quotes.now_before
    if now.seconds > was.seconds:
        warnings.append(
            f"Taking back what is touched would take {now.seconds:.0f} s instead of"
            f" {was.seconds:.0f} s in the worst case."
        )
    return warnings


def _new_breaches(plan: Plan, at_once: Proposal) -> list[Outlook]:
    """Return what the guardrails that are new or changed would say."""
    changed = [
        reads
        for _slot, was, reads in paired(at_once.old.guardrails, at_once.new.guardrails)
        if was != reads
    ]
    return [outlook for written, outlook in _outlooks(plan, at_once.new) if written in changed]


def _batches(plan: Plan, proposal: Proposal) -> list[BatchBeforeAfter]:
    specs = {batch.name: batch for batch in proposal.new.batches}
    old = {batch.name: batch for batch in proposal.old.batches}
    before = {row.name: row.size for row in rows_of(plan)}
    after = dict(before)
    if proposal.recut is not None:
        standing = [row.name for row in rows_of(plan)[: standing_of(plan).begun]]
        after = {name: before[name] for name in standing}
        after |= {wave.name: len(wave.tenants) for wave in proposal.recut.waves}
    return [
        BatchBeforeAfter(
            name=name,
            before=before.get(name, 0),
            after=after.get(name, 0),
            soak=span(specs[name].soak_seconds) if name in specs else "",
            begins=specs[name].advance if name in specs else "",
            changed=before.get(name, 0) != after.get(name, 0)
            or (name in specs and specs[name] != old.get(name)),
        )
        for name in dict.fromkeys((*after, *before))
    ]
