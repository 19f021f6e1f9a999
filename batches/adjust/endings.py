"""How changes of running plans end: approved, rejected, too late, overtaken, or put back."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from batches.adjust.apply import drop_waiting, put_in_force, supersede_waiting, write_revision
from batches.adjust.batches import standing_of
from batches.adjust.proposal import ADJUSTABLE, Proposal, proposal_for
from batches.adjust.wanted import Edited, in_kpi_words, rewritten
from batches.alerting import alerts
from plans.approvals import grants
from plans.approvals.approved_acts import LOOSEN, Act, Verdict, register
from plans.changes.adjustment import compare, restored
from plans.drafting.drafting import current_revision, written_policy
from plans.failpoints import reach
from plans.models import Adjustment, Approval, ApprovalRequest, Grant, Plan
from plans.refusal import BadInput, Refused
from plans.trail import events

logger = logging.getLogger(__name__)

STILL_LOOSE = "loosening_not_ended"


class Overtaken(Refused):
    """The plan has moved on since the change was asked for."""

    default_code = "overtaken"


def _proposal_of(adjustment: Adjustment, plan: Plan, now: datetime) -> Proposal:
    """Return the change as the plan of now takes it; raise Overtaken where it cannot be."""
    revision = adjustment.revision
    if plan.revision != adjustment.before.number:
        raise Overtaken("The plan was changed since; the change has to be asked for anew.")
    wanted = Edited.read(revision.policy, revision.policy_name, revision.policy_text)
    proposal = proposal_for(plan, adjustment.before, wanted, now=now)
    problems = list(proposal.problems)
    if adjustment.expires_at is not None and adjustment.expires_at <= now:
        problems.append(f"it was to end at {adjustment.expires_at:%Y-%m-%d %H:%M} UTC")
    if proposal.recut is not None and proposal.recut.digest != revision.tenants_digest:
        problems.append("the tenants that wait are not those of the change any more")
    if problems:
        raise Overtaken(f"The plan has moved on since this was asked for: {'; '.join(problems)}.")
    return proposal


def grant(plan: Plan, request: ApprovalRequest, verdict: Verdict) -> None:
    """All roles have agreed: their grants are used up and the loosening is in force."""
    given = request.approvals.filter(verdict=Approval.APPROVED).select_related("user")
    who = ", ".join(f"{one.user.get_full_name()} as {one.role}" for one in given)
    used = grants.spend_quorum(plan, request, op=operation_of(request), now=verdict.now)
    loosen(plan, request, verdict, f"approved by {who}", used=used)


def operation_of(request: ApprovalRequest) -> str:
    """Return the name of the operation for which a loosening's grants are used up."""
    return f"plan:{request.plan_id}:loosen:r{request.revision.number}"


def loosen(
    plan: Plan, request: ApprovalRequest, verdict: Verdict, how: str, *, used: Sequence[Grant]
) -> Adjustment:
    """Put in force what a request asks for; `used` are the grants that allow it."""
    adjustment = Adjustment.objects.select_related("before", "revision__policy", "by").get(
        request=request
    )
    adjustment.plan = plan
    proposal = _proposal_of(adjustment, plan, verdict.now)
    author = adjustment.by.get_full_name() if adjustment.by is not None else "the console"
    told = f"The change by {author}, {how}, is in force"
    put_in_force(
        adjustment, proposal, told, by=verdict.by, via=verdict.via, now=verdict.now, used=used
    )
    return adjustment


def refuse(plan: Plan, request: ApprovalRequest, verdict: Verdict) -> None:
    """Somebody said no: nothing is loosened."""
    adjustment = Adjustment.objects.get(request=request)
    adjustment.state = Adjustment.REJECTED
    adjustment.ended_at = verdict.now
    adjustment.save()


register(LOOSEN, Act("change", "adjustment_approved", "adjustment_rejected", grant, refuse))


def end_what_is_over(now: datetime) -> None:
    """Drop what waits and cannot be any more; put back what was loosened for a time only."""
    for waiting in _waiting():
        if _over(waiting, waiting.plan, now) is not None:
            _alone(drop_when_over, waiting, now)
    over = Adjustment.objects.filter(
        state=Adjustment.APPLIED, expires_at__lte=now, ended_at=None
    ).select_related("plan")
    for loose in over:
        reach("adjust.restoring")
        _alone(put_back, loose, now)


def _alone(act: Any, adjustment: Adjustment, now: datetime) -> None:
    """End one change; what goes wrong there must not keep the others from ending."""
    try:
        act(adjustment_id=adjustment.pk, plan_id=adjustment.plan_id, now=now)
    except BadInput as broken:
        alerts.fire(
            plan=adjustment.plan,
            kind=STILL_LOOSE,
            about=str(adjustment.pk),
            sentence="a loosening is over, but its values cannot be put back now:"
            f" {broken.sentence}",
            now=now,
        )
    except Refused as refused:
        logger.info("Plan %s: %s", adjustment.plan.external_id, refused.sentence)


@transaction.atomic
def drop_when_over(*, adjustment_id: Any, plan_id: Any, now: datetime) -> None:
    """Drop a waiting loosening whose time is over, or that the plan has overtaken."""
    plan = Plan.objects.locked(plan_id)
    waiting = _waiting().filter(pk=adjustment_id).first()
    over = _over(waiting, plan, now) if waiting is not None else None
    if waiting is not None and over is not None:
        waiting.plan = plan
        outcome, why = over
        drop_waiting(waiting, outcome, why, by=None, via="watch", now=now)


def _waiting() -> QuerySet[Adjustment]:
    rows = Adjustment.objects.filter(state=Adjustment.WAITING)
    return rows.select_related("plan", "before", "revision", "request")


def _over(waiting: Adjustment, plan: Plan, now: datetime) -> tuple[str, str] | None:
    """Return how and why a waiting loosening ends now, None while it may still be approved."""
    if waiting.request is not None and waiting.request.deadline <= now:
        return Adjustment.EXPIRED, "nobody completed the approval in time"
    if str(plan.state) not in ADJUSTABLE:
        return Adjustment.DROPPED, f"the plan is {plan.lifecycle.states[str(plan.state)].lower()}"
    if waiting.expires_at is not None and waiting.expires_at <= now:
        return Adjustment.DROPPED, "it was to end by now"
    # What only the moment forbids, such as a quote, is no reason to end what may yet be approved.
    refused = compare(
        written_policy(waiting.before), written_policy(waiting.revision), standing_of(plan)
    ).refused
    return (Adjustment.DROPPED, "; ".join(refused)) if refused else None


@transaction.atomic
def put_back(*, adjustment_id: Any, plan_id: Any, now: datetime) -> None:
    """Put back what a loosening changed, now that its time is over.

    What became tighter since stays. Raises BadInput when a value may not go back now.
    """
    plan = Plan.objects.locked(plan_id)
    loose = (
        Adjustment.objects.select_related("before", "revision", "by")
        .filter(pk=adjustment_id, state=Adjustment.APPLIED, ended_at=None)
        .first()
    )
    if loose is None or str(plan.state) == "rolling_back":
        return
    loose.ended_at = now
    if str(plan.state) not in ADJUSTABLE:
        # Nothing is judged by it any more.
        loose.save()
        return
    current = current_revision(plan)
    policy = restored(
        written_policy(current),
        written_policy(loose.before),
        {str(c["path"]) for c in loose.changes if c["direction"] == "looser"},
        standing_of(plan),
        resolve=in_kpi_words,
    )
    loose.save()
    told = f"The time of revision {loose.revision.number} is over"
    if policy == written_policy(current):
        events.record(
            stream=plan,
            kind="loosening_ended",
            sentence=f"{told}; a later change has replaced all that it loosened.",
            actor=None,
            via="watch",
            now=now,
            payload={"adjustment": str(loose.pk), "revision": loose.revision.number},
        )
    else:
        _put_back(plan, loose, rewritten(current, policy), told, now)
    alerts.resolve(plan=plan, kind=STILL_LOOSE, about=str(loose.pk), now=now)


def _put_back(plan: Plan, loose: Adjustment, wanted: Edited, told: str, now: datetime) -> None:
    proposal = proposal_for(plan, current_revision(plan), wanted, now=now)
    if proposal.problems:
        raise BadInput(proposal.problems)
    supersede_waiting(plan, by=None, via="watch", now=now)
    reason = f"the loosening of revision {loose.revision.number} has ended"
    # Its end was part of what was asked for and approved: the revision is by whoever asked.
    author = loose.by or plan.author
    adjustment = Adjustment.objects.create(
        plan=plan,
        before=proposal.before,
        revision=write_revision(proposal, author=author, why=reason, now=now),
        direction=proposal.comparison.direction,
        changes=[change.to_json() for change in proposal.comparison.changes],
        reason=reason,
        by=None,
        via="watch",
        asked_at=now,
        state=Adjustment.APPLIED,
        restores=loose,
    )
    told += ": the console put its values back"
    put_in_force(adjustment, proposal, told, by=None, via="watch", now=now)
