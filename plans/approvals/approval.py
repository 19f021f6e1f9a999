"""Submit, approve, reject, expire, cancel and archive plans."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q

from plans import flags
from plans.approvals import grants
from plans.approvals.approved_acts import ACTS, START, Verdict
from plans.drafting.drafting import current_revision, policy_of
from plans.drafting.old_versions import look_before, words_of
from plans.log_in.step_up import Proof
from plans.models import (
    Approval,
    ApprovalRequest,
    Grant,
    Plan,
    PlanRevision,
    RoleBinding,
    User,
)
from plans.models.rights import bindings_in_force
from plans.people.permissions import approval_roles, require
from plans.policies.policy_yaml import parse_policy_file
from plans.refusal import NotAllowed, Refused
from plans.releases.registering import verify_again
from plans.trail import events


class AlreadyDecided(Refused):
    """This person has given a verdict on this request."""

    default_code = "already_decided"


class NoOpenRequest(Refused):
    """Nothing waits for approval."""

    default_code = "no_open_request"


class ApproverIsAuthor(NotAllowed):
    """The person wrote or edited what is to be approved."""

    default_code = "approver_is_author"


class HoldsNoRole(NotAllowed):
    """The person holds none of the roles that are still missing."""

    default_code = "holds_no_role"


def submit(*, plan_id: Any, by: User, now: datetime, via: str) -> Plan:
    """Hand a draft in: verify the release again and open the request for approval."""
    plan = Plan.objects.select_related("release").get(pk=plan_id)
    require(by, "submit", plan)
    if not flags.is_on(flags.POLICY):
        raise Refused(
            f"No plan is submitted while {flags.POLICY} is off; an administrator can turn it on.",
            code="flag_off",
        )
    verify_again(release=plan.release, now=now)
    with transaction.atomic():
        plan = Plan.objects.locked(plan_id)
        plan.move("submit")
        revision = current_revision(plan)
        unsigned = look_before(plan, policy_of(revision), now)
        rule = parse_policy_file(revision.policy_text).approvals[revision.approvals]
        plan.submitted_at = now
        plan.save()
        request = ApprovalRequest.objects.create(
            plan=plan,
            revision=revision,
            plan_digest=revision.plan_digest,
            roles=list(rule.required_roles),
            deadline=now + timedelta(minutes=rule.max_pending_minutes),
            opened_by=by,
            opened_at=now,
        )
        events.record(
            stream=plan,
            kind="plan_submitted",
            sentence=f"{by.get_full_name()} asked for approval by"
            f" {', '.join(rule.required_roles)} until {request.deadline:%Y-%m-%d %H:%M} UTC."
            + (f" Mind that {words_of(unsigned)}." if unsigned else ""),
            actor=by,
            via=via,
            now=now,
            payload={
                "request": str(request.pk),
                "digest": revision.plan_digest,
                "roles": list(rule.required_roles),
                "deadline": request.deadline.isoformat(),
                "old_versions": plan.old_versions,
            },
        )
    return plan


def open_request(plan: Plan, *, now: datetime) -> ApprovalRequest:
    """Return the plan's open request; raise NoOpenRequest when there is none or it is too late."""
    request = (
        ApprovalRequest.objects.select_for_update(no_key=True)
        .filter(plan=plan, closed_at=None)
        .first()
    )
    if request is None:
        raise NoOpenRequest(
            "Nothing waits for approval here.",
            possible=plan.lifecycle.possible(str(plan.state)),
        )
    if request.deadline <= now:
        raise NoOpenRequest(
            f"The time for approval ended at {request.deadline:%Y-%m-%d %H:%M} UTC;"
            " submit the plan again.",
            code="request_expired",
        )
    return request


def standing(request: ApprovalRequest, plan: Plan, person: User, now: datetime) -> list[str]:
    """Return the missing roles that the person may stand for; raise the reason why none."""
    if person.pk in grants.writers(plan):
        raise ApproverIsAuthor(
            "You wrote or edited this plan; somebody else has to decide about it."
        )
    if person.pk == request.opened_by_id:
        raise ApproverIsAuthor("You asked for this approval; somebody else has to decide.")
    if request.approvals.filter(user=person).exists():
        raise AlreadyDecided("You have already given your verdict on this plan.")
    held = approval_roles(person, at=now, plan=plan)
    missing = request.missing_roles(request.approvals.all())
    roles = [role for role in missing if role in held]
    if not roles:
        raise HoldsNoRole(
            f"This plan waits for {', '.join(missing)}; you do not hold that approval role."
        )
    return roles


def _rarest(roles: list[str]) -> str:
    """Return the role that the fewest people hold, so that nobody else's way is blocked."""

    def holders(role: str) -> int:
        return RoleBinding.objects.filter(kind=RoleBinding.APPROVAL, role=role).count()

    return min(roles, key=lambda role: (holders(role), roles.index(role)))


@transaction.atomic
def approve(
    *,
    plan_id: Any,
    approver: User,
    now: datetime,
    via: str,
    comment: str = "",
    role: str | None = None,
    step_up: Proof | None = None,
) -> Plan:
    """Give one person's signed yes for one role; the last missing one approves the plan.

    Raises StepUpRequired unless the person has proved lately, by a second factor, that it is them.
    """
    plan = Plan.objects.locked(plan_id)
    request = open_request(plan, now=now)
    roles = standing(request, plan, approver, now)
    if role is not None and role not in roles:
        raise HoldsNoRole(f"You cannot approve as {role!r} here; possible: {', '.join(roles)}.")
    chosen = role or _rarest(roles)
    act = ACTS[request.action]
    if request.action == START:
        # Nobody agrees to what could not be started.
        verify_again(release=plan.release, now=now)
    _require_unchanged(plan, request)
    bound = grants.bound_by_request(plan, request)
    proof = grants.proof_for(step_up, plan, bound, now=now)
    given = Approval.objects.create(
        request=request,
        user=approver,
        verdict=Approval.APPROVED,
        role=chosen,
        comment=comment,
        method=via,
        at=now,
    )
    grant = grants.give_for_verdict(plan, request, given, bound=bound, proof=proof, now=now)
    missing = request.missing_roles(request.approvals.all())
    sentence = f"{approver.get_full_name()} approved as {chosen}"
    if missing:
        sentence += f"; {', '.join(missing)} still to decide."
    else:
        request.closed_at = now
        request.outcome = Approval.APPROVED
        request.save()
        sentence += f"; the {act.noun} is approved."
    if comment:
        sentence += f" “{comment}”"
    events.record(
        stream=plan,
        kind=act.approved_kind if not missing else "approval_given",
        sentence=sentence,
        actor=approver,
        via=via,
        now=now,
        payload={
            "request": str(request.pk),
            "role": chosen,
            "digest": request.plan_digest,
            "counts_until": grant.expires_at.isoformat(),
            **grants.told([grant])[0],
        },
    )
    if not missing:
        act.grant(plan, request, Verdict(approver, now, via))
    return plan


def _require_unchanged(plan: Plan, request: ApprovalRequest) -> None:
    """Raise unless what was asked about is what the database says now, row by row."""
    shown = current_revision(plan) if request.action == START else request.revision
    digests = {shown.plan_digest, grants.bound_by_request(plan, request).plan_digest}
    if digests != {request.plan_digest}:
        raise NoOpenRequest("The plan has changed since; look at it again.", code="plan_changed")


@transaction.atomic
def reject(*, plan_id: Any, approver: User, reason: str, now: datetime, via: str) -> Plan:
    """Say no, with a reason; the plan, or the change that was asked for, is rejected at once."""
    if not reason.strip():
        raise Refused("Say why you reject it; its author has to mend it.", code="no_reason")
    plan = Plan.objects.locked(plan_id)
    request = open_request(plan, now=now)
    roles = standing(request, plan, approver, now)
    Approval.objects.create(
        request=request,
        user=approver,
        verdict=Approval.REJECTED,
        role=roles[0],
        comment=reason,
        method=via,
        at=now,
    )
    request.closed_at = now
    request.outcome = Approval.REJECTED
    request.save()
    _void(request, f"{approver.get_full_name()} rejected it", now)
    act = ACTS[request.action]
    act.refuse(plan, request, Verdict(approver, now, via))
    events.record(
        stream=plan,
        kind=act.rejected_kind,
        sentence=f"{approver.get_full_name()} rejected the {act.noun}: {reason.strip()}",
        actor=approver,
        via=via,
        now=now,
        payload={"request": str(request.pk), "role": roles[0], "reason": reason},
    )
    return plan


def due_to_expire(now: datetime) -> list[Any]:
    """Return the ids of plans whose time for approval or for starting has run out."""
    unanswered = ApprovalRequest.objects.filter(closed_at=None, deadline__lte=now)
    too_old = Grant.objects.unused().filter(expires_at__lte=now)
    late = Plan.objects.filter(
        Q(state="awaiting_approval", pk__in=unanswered.values("plan"))
        | Q(state="approved", pk__in=too_old.values("plan"))
    )
    due = list(late.order_by().values_list("pk", flat=True))
    in_force = PlanRevision.objects.filter(plan__state="approved", number=F("plan__revision"))
    for revision in in_force.exclude(plan__in=due).order_by("pk"):
        limit = policy_of(revision).not_after
        if limit is not None and limit <= now:
            due.append(revision.plan_id)
    return due


def _void(request: ApprovalRequest, why: str, now: datetime) -> None:
    Grant.objects.filter(request=request).void(why=why, now=now)


def _why_expired(plan: Plan, now: datetime) -> str:
    if str(plan.state) == "awaiting_approval":
        return "Nobody completed the approval in time; the plan has expired."
    over = Grant.objects.filter(plan=plan).unused().filter(expires_at__lte=now)
    first = over.order_by("expires_at").first()
    limit = policy_of(current_revision(plan)).not_after
    if first is None or (limit is not None and limit <= now):
        return "The plan could not start before its policy's not_after; it has expired."
    return (
        f"The approvals counted until {first.expires_at:%Y-%m-%d %H:%M} UTC and the plan had not"
        " started by then; it has expired."
    )


@transaction.atomic
def expire(*, plan_id: Any, now: datetime) -> Plan:
    """End a plan whose time has run out; Refused when somebody was faster."""
    plan = Plan.objects.locked(plan_id)
    if plan.pk not in due_to_expire(now):
        raise Refused("This plan's time has not run out (any more).", code="not_due")
    sentence = _why_expired(plan, now)
    plan.move("expire")
    plan.ended_at = now
    plan.save()
    ApprovalRequest.objects.filter(plan=plan, closed_at=None).update(
        closed_at=now, outcome="expired"
    )
    Grant.objects.filter(plan=plan).void(why="the plan has expired", now=now)
    events.record(
        stream=plan,
        kind="plan_expired",
        sentence=sentence,
        actor=None,
        via="watch",
        now=now,
    )
    return plan


@transaction.atomic
def cancel(*, plan_id: Any, by: User, reason: str, now: datetime, via: str) -> Plan:
    """Give a plan up before it has started."""
    plan = Plan.objects.locked(plan_id)
    require(by, "cancel", plan)
    plan.move("cancel")
    plan.ended_at = now
    plan.save()
    ApprovalRequest.objects.filter(plan=plan, closed_at=None).update(
        closed_at=now, outcome="cancelled"
    )
    Grant.objects.filter(plan=plan).void(why="the plan was cancelled", now=now)
    events.record(
        stream=plan,
        kind="plan_cancelled",
        sentence=f"{by.get_full_name()} cancelled the plan{': ' + reason if reason else ''}.",
        actor=by,
        via=via,
        now=now,
        payload={"reason": reason},
    )
    return plan


@transaction.atomic
def archive(*, plan_id: Any, by: User, now: datetime, via: str) -> Plan:
    """Put an ended plan away; it can no longer be rolled back."""
    plan = Plan.objects.locked(plan_id)
    require(by, "archive", plan)
    plan.move("archive")
    plan.save()
    events.record(
        stream=plan,
        kind="plan_archived",
        sentence=f"{by.get_full_name()} archived the plan.",
        actor=by,
        via=via,
        now=now,
    )
    return plan


def waiting_for(person: User, *, now: datetime) -> list[ApprovalRequest]:
    """Return the open requests on which this person can still decide, most urgent first."""
    requests = (
        ApprovalRequest.objects.filter(closed_at=None, deadline__gt=now)
        .select_related(
            "plan__plugin", "plan__release", "plan__author", "revision", "adjustment__by"
        )
        .prefetch_related("approvals")
        .order_by("deadline")
    )
    waiting: list[ApprovalRequest] = []
    held = bindings_in_force(person, now)
    if not any(binding.kind == RoleBinding.APPROVAL for binding in held):
        return waiting
    for request in requests:
        try:
            standing(request, request.plan, person, now)
        except Refused:
            continue
        waiting.append(request)
    return waiting
