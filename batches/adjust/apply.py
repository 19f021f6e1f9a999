"""Adjust a running plan: what is tighter applies at once, what is looser waits for approval.

Every change is a revision of its own with a full policy text, its digest, its author and why.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from batches.adjust.batches import refit, share_out
from batches.adjust.proposal import (
    Expiry,
    Proposal,
    approval_rule,
    part_of,
    probe_what_is_added,
    proposal_for,
    propose,
    require_adjustable,
    sentences,
)
from batches.adjust.wanted import ChangeSet
from batches.replay.guardrail import keep_standing
from plans.approvals import grants
from plans.approvals.approved_acts import LOOSEN
from plans.changes.adjustment import paired
from plans.drafting.drafting import current_revision
from plans.drafting.revision_writing import plan_digest
from plans.models import Adjustment, ApprovalRequest, Grant, Plan, PlanRevision, User
from plans.people.permissions import require
from plans.policies.policy import UpgradePolicy
from plans.refusal import BadInput
from plans.trail import events


@dataclass(frozen=True, slots=True)
class Adjusted:
    """What became of a change set: what is in force now, and what waits for approval."""

    plan: Plan
    applied: Adjustment | None = None
    waiting: Adjustment | None = None


def adjust(
    *,
    plan_id: Any,
    wanted: ChangeSet,
    by: User,
    reason: str,
    now: datetime,
    via: str,
    expiry: Expiry | None = None,
    split: bool = True,
) -> Adjusted:
    """Change a running or paused plan; raise BadInput with everything that is wrong.

    Tightening is in force at the next look. For anything looser a request opens, and nothing of
    it changes before all roles have agreed. Of a mixed set the tighter part applies and the rest
    waits, unless `split` is false: then all of it waits. What waited before is superseded;
    asking for exactly that once more changes nothing. Kpis that are added are probed before, and
    have to fit.
    """
    plan = Plan.objects.get(pk=plan_id)
    require(by, "adjust", plan)
    probe_what_is_added(plan, wanted, now=now, via=via)
    asked = _Asked(by, reason.strip().rstrip(".")[:300], via, now)
    return _adjust(plan_id, wanted, asked, expiry=expiry, split=split)


@transaction.atomic
def _adjust(
    plan_id: Any, wanted: ChangeSet, asked: "_Asked", *, expiry: Expiry | None, split: bool
) -> Adjusted:
    plan = Plan.objects.locked(plan_id)
    by, now = asked.by, asked.now
    require(by, "adjust", plan)
    proposal = propose(plan, wanted, now=now, expiry=expiry)
    problems = list(proposal.problems)
    if not asked.reason:
        problems.append("reason: say why; it stands in the trail and in the report")
    if problems:
        raise BadInput(problems)
    if (same := _waits_already(proposal, expiry)) is not None:
        return Adjusted(plan, waiting=same)
    supersede_waiting(plan, by=by, via=asked.via, now=now)
    if proposal.comparison.direction != "looser":
        return Adjusted(plan, applied=_apply_new(proposal, asked))
    applied = None
    if split and proposal.comparison.mixed:
        part = part_of(proposal, now=now)
        if part.problems:
            raise BadInput([*part.problems, "the tighter part cannot apply alone; ask for both"])
        applied = _apply_new(part, asked)
        proposal = proposal_for(
            plan, current_revision(plan), proposal.edited, now=now, expiry=expiry
        )
    return Adjusted(plan, applied=applied, waiting=_ask(proposal, asked, expiry))


def _waits_already(proposal: Proposal, expiry: Expiry | None) -> Adjustment | None:
    """Return the request for exactly this: asking again, after a lost answer, is the same one."""
    waiting = Adjustment.objects.filter(
        plan=proposal.plan,
        state=Adjustment.WAITING,
        before=proposal.before,
        revision__policy_digest=proposal.edited.digest,
    ).first()
    if waiting is None or _end_asked(waiting) != expiry:
        return None
    return waiting


def _end_asked(waiting: Adjustment) -> Expiry | None:
    if waiting.expires_at is not None:
        return Expiry(at=waiting.expires_at)
    if waiting.expires_after_seconds is not None:
        return Expiry(after=timedelta(seconds=waiting.expires_after_seconds))
    return None


@dataclass(frozen=True, slots=True)
class _Asked:
    by: User
    reason: str
    via: str
    now: datetime


def _apply_new(proposal: Proposal, asked: _Asked) -> Adjustment:
    adjustment = _write(proposal, asked, state=Adjustment.APPLIED)
    told = f"{asked.by.get_full_name()} changed the running plan"
    put_in_force(adjustment, proposal, told, by=asked.by, via=asked.via, now=asked.now)
    return adjustment


def _ask(proposal: Proposal, asked: _Asked, expiry: Expiry | None) -> Adjustment:
    plan, rule = proposal.plan, approval_rule(proposal.before)
    adjustment = _write(proposal, asked, state=Adjustment.WAITING)
    adjustment.request = ApprovalRequest.objects.create(
        plan=plan,
        revision=adjustment.revision,
        action=LOOSEN,
        plan_digest=adjustment.revision.plan_digest,
        roles=list(rule.required_roles),
        deadline=asked.now + timedelta(minutes=rule.max_pending_minutes),
        opened_by=asked.by,
        opened_at=asked.now,
    )
    if expiry is not None:
        adjustment.expires_at = expiry.at
        if expiry.after is not None:
            adjustment.expires_after_seconds = expiry.after.total_seconds()
    adjustment.save()
    changes = proposal.comparison.changes
    events.record(
        stream=plan,
        kind="adjustment_asked",
        sentence=f"{asked.by.get_full_name()} asks to loosen the running plan"
        f" ({sentences(changes)}): {asked.reason}. Nothing changes before"
        f" {', '.join(rule.required_roles)} have agreed, until"
        f" {adjustment.request.deadline:%Y-%m-%d %H:%M} UTC.",
        actor=asked.by,
        via=asked.via,
        now=asked.now,
        payload=_payload(adjustment)
        | {"roles": list(rule.required_roles), "deadline": adjustment.request.deadline.isoformat()},
    )
    return adjustment


def _write(proposal: Proposal, asked: _Asked, *, state: str) -> Adjustment:
    return Adjustment.objects.create(
        plan=proposal.plan,
        before=proposal.before,
        revision=write_revision(proposal, author=asked.by, why=asked.reason, now=asked.now),
        direction=proposal.comparison.direction,
        changes=[change.to_json() for change in proposal.comparison.changes],
        reason=asked.reason,
        by=asked.by,
        via=asked.via,
        asked_at=asked.now,
        state=state,
    )


def write_revision(proposal: Proposal, *, author: User, why: str, now: datetime) -> PlanRevision:
    """Write down what the plan would say; it is in force once the plan counts it as its own."""
    before, plan, wanted = proposal.before, proposal.plan, proposal.edited
    newest = PlanRevision.objects.filter(plan=plan).aggregate(n=Max("number"))["n"]
    tenants = proposal.recut.digest if proposal.recut is not None else before.tenants_digest
    return PlanRevision.objects.create(
        plan=plan,
        number=newest + 1,
        release=before.release,
        deployer=before.deployer,
        not_before=before.not_before,
        policy=wanted.row,
        policy_name=wanted.name,
        policy_text=wanted.text,
        policy_digest=wanted.digest,
        approvals=before.approvals,
        tenant_choice=before.tenant_choice,
        tenants_digest=tenants,
        seed=before.seed,
        plan_digest=plan_digest(
            plan,
            policy_digest=wanted.digest,
            approvals=before.approvals,
            tenants_digest=tenants,
        ),
        author=author,
        why=why,
        created_at=now,
    )


def put_in_force(
    adjustment: Adjustment,
    proposal: Proposal,
    told: str,
    *,
    by: User | None,
    via: str,
    now: datetime,
    used: Sequence[Grant] = (),
) -> None:
    """Let the revision be the plan's own: batches, tenants and guardrails follow it from now on."""
    plan = proposal.plan
    require_adjustable(plan)
    plan.revision = adjustment.revision.number
    # What it waited for may be over; the watch says anew what it waits for.
    plan.waiting_for = ""
    plan.save()
    old, new = (policy.at_scale(settings.SOAK_SCALE) for policy in (proposal.old, proposal.new))
    refit(plan, old, new, proposal.standing, now)
    if proposal.recut is not None:
        share_out(plan, proposal.recut.waves, proposal.standing)
    keep_standing(plan, new, _new_rules(old, new), now)
    adjustment.state = Adjustment.APPLIED
    adjustment.applied_at = now
    if adjustment.expires_at is not None or adjustment.expires_after_seconds is not None:
        after = timedelta(seconds=adjustment.expires_after_seconds or 0)
        adjustment.expires_at = adjustment.expires_at or now + after
    adjustment.save()
    until = ""
    if adjustment.expires_at is not None:
        until = f" It ends by itself at {adjustment.expires_at:%Y-%m-%d %H:%M:%S} UTC."
    events.record(
        stream=plan,
        kind="plan_adjusted",
        sentence=f"{told}, revision {adjustment.revision.number}"
        f" ({sentences(proposal.comparison.changes)}): {adjustment.reason}.{until}",
        actor=by,
        via=via,
        now=now,
        payload=_payload(adjustment)
        | {
            "policy_digest": adjustment.revision.policy_digest,
            "batches": {w.name: len(w.tenants) for w in proposal.recut.waves}
            if proposal.recut is not None
            else {},
            "expires_at": adjustment.expires_at.isoformat() if adjustment.expires_at else None,
            "grants": grants.told(used),
        },
    )


def _new_rules(old: UpgradePolicy, new: UpgradePolicy) -> list[Any]:
    """Return the guardrails that are new or read differently."""
    return [
        reads
        for _slot, was, reads in paired(old.guardrails, new.guardrails)
        if reads is not None and was != reads
    ]


def supersede_waiting(plan: Plan, *, by: User | None, via: str, now: datetime) -> None:
    """Void what waits for approval: a newer change takes its place."""
    waiting = Adjustment.objects.filter(plan=plan, state=Adjustment.WAITING).first()
    if waiting is not None:
        who = by.get_full_name() if by is not None else "The console"
        why = f"{who} made a newer change"
        drop_waiting(waiting, Adjustment.SUPERSEDED, why, by=by, via=via, now=now)


def drop_waiting(
    waiting: Adjustment, outcome: str, why: str, *, by: User | None, via: str, now: datetime
) -> None:
    """End a loosening that is not in force; its approvals so far are void."""
    waiting.state = outcome
    waiting.ended_at = now
    waiting.save()
    if waiting.request is not None and waiting.request.closed_at is None:
        waiting.request.closed_at = now
        waiting.request.outcome = outcome
        waiting.request.save()
        Grant.objects.filter(request=waiting.request).void(why=why, now=now)
    events.record(
        stream=waiting.plan,
        kind=f"adjustment_{outcome}",
        sentence=f"The loosening that was asked for will not be ({'; '.join(waiting.sentences)}):"
        f" {why}.",
        actor=by,
        via=via,
        now=now,
        payload=_payload(waiting),
    )


def _payload(adjustment: Adjustment) -> dict[str, Any]:
    return {
        "adjustment": str(adjustment.pk),
        "revision": adjustment.revision.number,
        "before": adjustment.before.number,
        "digest": adjustment.revision.plan_digest,
        "direction": adjustment.direction,
        "changes": adjustment.sentences,
        "reason": adjustment.reason,
        "request": str(adjustment.request_id) if adjustment.request_id else None,
    }
