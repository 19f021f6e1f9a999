"""Act without the approvers in an emergency: loudly, and reviewed by somebody else within a day.

Only the approvers are passed over. Freezes, windows, the rollback quote, signatures of releases
and every other gate hold as ever; a rollback and a pause never needed this.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from batches.adjust.endings import loosen, operation_of
from batches.alerting import alerts
from batches.rollout import control, launch
from plans.approvals import grants
from plans.approvals.approved_acts import LOOSEN, START, Verdict
from plans.approvals.grant_claims import BREAK_GLASS
from plans.counted_words import counted
from plans.drafting.drafting import current_revision, pinned_file
from plans.log_in.step_up import Proof
from plans.models import (
    Adjustment,
    ApprovalRequest,
    BreakGlass,
    Grant,
    Plan,
    PlanTenant,
    RoleBinding,
    User,
)
from plans.people.permissions import approval_roles, require
from plans.policies.policy import ApprovalRule
from plans.refusal import BadInput, Refused
from plans.trail import events

PROMOTE = "promote"
ACTS = {
    START: "start the plan",
    PROMOTE: "let the next batch begin",
    LOOSEN: "put the loosening in force",
}
DONE = {
    START: "started the plan",
    PROMOTE: "let a batch begin",
    LOOSEN: "put a loosening in force",
}
SHORTEST_REASON = 20
REVIEW_WITHIN = timedelta(hours=24)
BROKEN, OVERDUE = alerts.UNTIL_REVIEWED
OUTCOME = "broken_glass"


@transaction.atomic
def break_glass(
    *,
    plan_id: Any,
    act: str,
    by: User,
    reason: str,
    now: datetime,
    via: str,
    step_up: Proof | None = None,
    batch_number: int | None = None,
) -> BreakGlass:
    """Do one act without those who would have to agree to it; all of them are told.

    Raises BadInput with everything that is wrong, NotAllowed without the right to it or without a
    fresh second factor, and whatever the act itself refuses.
    """
    plan = Plan.objects.locked(plan_id)
    require(by, "break_glass", plan)
    why = " ".join(reason.split())
    problems = [] if act in ACTS else [f"act: write one of {', '.join(ACTS)}"]
    if len(why) < SHORTEST_REASON:
        problems.append(
            f"reason: say in at least {SHORTEST_REASON} characters what cannot wait, and why; all"
            " who could have agreed read it"
        )
    if problems:
        raise BadInput(problems)
    roles, used, batch = _PERFORMED[act](_Breaking(plan, by, why, step_up, now, via, batch_number))
    return _tell(
        BreakGlass(
            plan=plan,
            act=act,
            batch=batch,
            grant=used,
            roles=list(roles),
            told=[str(person.pk) for person in could_have_agreed(plan, roles, by, now)],
            reason=why,
            by=by,
            at=now,
            via=via,
            review_due=now + REVIEW_WITHIN,
        )
    )


@dataclass(frozen=True, slots=True)
class ActNow:
    """What one act without the approvers would do right now: to whom, and past whom."""

    roles: tuple[str, ...]
    told: tuple[str, ...]
    sentence: str
    batch: int | None = None


def act_now(plan: Plan, act: str, *, by: User, now: datetime) -> ActNow:
    """Return what the act would do; raise Refused when it is not possible now. Writes nothing."""
    roles, sentence, batch = _FORESEEN[act](plan)
    told = tuple(person.get_full_name() for person in could_have_agreed(plan, roles, by, now))
    return ActNow(tuple(roles), told, sentence, batch)


Foreseen = tuple[Sequence[str], str, int | None]


def _foresee_start(plan: Plan) -> Foreseen:
    _require_handed_in(plan)
    places = PlanTenant.objects.filter(plan=plan, excluded=False)
    sentence = f"The plan starts at once: {counted(places.count(), 'tenant')}, batch by batch."
    return _rule(plan).required_roles, sentence, None


def _foresee_promote(plan: Plan) -> Foreseen:
    batch = control.batch_at_the_gate(plan, None)
    sentence = f"Batch {batch.number}, {batch.name}, begins with {counted(batch.size, 'tenant')}."
    return _gate_roles(plan), sentence, batch.number


def _foresee_loosen(plan: Plan) -> Foreseen:
    request = _waiting_loosening(plan)
    changes = "; ".join(Adjustment.objects.get(request=request).sentences)
    return request.roles, f"This is in force at once: {changes}.", None


_FORESEEN = {START: _foresee_start, PROMOTE: _foresee_promote, LOOSEN: _foresee_loosen}


def _rule(plan: Plan) -> ApprovalRule:
    revision = current_revision(plan)
    return pinned_file(revision).approvals[revision.approvals]


def _gate_roles(plan: Plan) -> Sequence[str]:
    """Return who would have been asked at a gate; without roles of its own, who agreed before."""
    rule = _rule(plan)
    return rule.gate_roles or rule.required_roles


def _require_handed_in(plan: Plan) -> None:
    state = str(plan.state)
    if state not in {"awaiting_approval", "approved"}:
        raise Refused(
            f"This plan is {plan.lifecycle.states[state].lower()}; without its approvers only a"
            " plan that was handed in can be started.",
            possible=plan.lifecycle.possible(state),
        )


def _waiting_loosening(plan: Plan) -> ApprovalRequest:
    request = (
        ApprovalRequest.objects.select_related("revision", "opened_by")
        .filter(plan=plan, action=LOOSEN, closed_at=None)
        .first()
    )
    if request is None:
        raise Refused(
            "No loosening waits for approval; ask for it first, then it can be put in force.",
            code="nothing_waits",
        )
    return request


class _Breaking:
    """One act without the approvers, under way."""

    def __init__(
        self,
        plan: Plan,
        by: User,
        why: str,
        step_up: Proof | None,
        now: datetime,
        via: str,
        batch_number: int | None,
    ) -> None:
        self.plan, self.by, self.now, self.via = plan, by, now, via
        self.batch_number = batch_number
        self._step_up = step_up
        self._why = hashlib.sha256(why.encode()).hexdigest()

    def sign(self, act: str, roles: Sequence[str], op: str, **bound: Any) -> Grant:
        """Sign and use up the grant of the person alone, none of the roles having agreed."""
        return grants.own_act(
            self.plan,
            BREAK_GLASS + act,
            by=self.by,
            role="",
            step_up=self._step_up,
            op=op,
            now=self.now,
            subject=f"reason sha256:{self._why}",
            quorum=f"0of{max(1, len(roles))}",
            **bound,
        )


Performed = tuple[Sequence[str], Grant, int | None]
"""The roles that were passed over, the grant that was used instead, and the batch."""


def _start(breaking: _Breaking) -> Performed:
    plan = breaking.plan
    _require_handed_in(plan)
    roles = _rule(plan).required_roles
    if str(plan.state) == "awaiting_approval":
        plan.move("approve")
        plan.approved_at = breaking.now
        plan.save()
        request = ApprovalRequest.objects.filter(plan=plan, action=START, closed_at=None).first()
        _close(request, breaking)
    signed: list[Grant] = []

    def authority(locked: Plan, op: str) -> Sequence[Grant]:
        breaking.plan = locked
        signed.append(breaking.sign(START, roles, op))
        return signed

    launch.start_with(
        authority, plan_id=plan.pk, by=breaking.by, now=breaking.now, via=breaking.via
    )
    Grant.objects.filter(plan=plan).void(why="the plan was started without them", now=breaking.now)
    return roles, signed[0], None


def _promote(breaking: _Breaking) -> Performed:
    plan = breaking.plan
    batch = control.batch_at_the_gate(plan, breaking.batch_number)
    grant = breaking.sign(
        PROMOTE,
        _rule(plan).gate_roles,
        control.gate_operation(batch),
        batch=batch.number,
        tenants=control.tenants_of(batch),
    )
    control.let_begin(
        plan,
        batch,
        f"WITHOUT THE APPROVERS {breaking.by.get_full_name()} let",
        by=breaking.by,
        now=breaking.now,
        via=breaking.via,
        used=[grant],
    )
    return _gate_roles(plan), grant, batch.number


def _loosen(breaking: _Breaking) -> Performed:
    plan = breaking.plan
    request = _waiting_loosening(plan)
    _close(request, breaking)
    grant = breaking.sign(LOOSEN, request.roles, operation_of(request), request=request)
    loosen(
        plan,
        request,
        Verdict(breaking.by, breaking.now, breaking.via),
        f"put in force WITHOUT THE APPROVERS by {breaking.by.get_full_name()}",
        used=[grant],
    )
    return request.roles, grant, None


_PERFORMED = {START: _start, PROMOTE: _promote, LOOSEN: _loosen}


def _close(request: ApprovalRequest | None, breaking: _Breaking) -> None:
    """End the question to the approvers: it was answered over their heads."""
    if request is None:
        return
    request.closed_at = breaking.now
    request.outcome = OUTCOME
    request.save()
    why = f"{breaking.by.get_full_name()} acted without the approvers"
    Grant.objects.filter(request=request).void(why=why, now=breaking.now)


def could_have_agreed(plan: Plan, roles: Sequence[str], by: User, now: datetime) -> list[User]:
    """Return who else holds one of the roles over the plan, whoever wrote it left out."""
    holders = (
        RoleBinding.objects.in_force(now)
        .filter(kind=RoleBinding.APPROVAL, role__in=roles)
        .values("user")
    )
    people = User.objects.filter(is_active=True, pk__in=holders).exclude(pk=by.pk)
    not_theirs = grants.writers(plan)
    return [
        person
        for person in people.order_by("email")
        if person.pk not in not_theirs and set(roles) & approval_roles(person, at=now, plan=plan)
    ]


def _tell(broken: BreakGlass) -> BreakGlass:
    """Keep it, write it to the trail of the plan and of the system, and tell everybody."""
    broken.save()
    plan, by = broken.plan, broken.by
    roles = ", ".join(broken.roles) or "nobody"
    sentence = (
        f"GLASS BROKEN: {by.get_full_name()} {DONE[broken.act]} of {plan.external_id} without"
        f" {roles}: {broken.reason.rstrip('.')}. Somebody else reviews it until"
        f" {broken.review_due:%Y-%m-%d %H:%M} UTC."
    )
    alerts.fire(
        plan=plan,
        kind=BROKEN,
        about=str(broken.pk),
        sentence=sentence,
        now=broken.at,
        payload=broken.facts(),
    )
    for stream in (plan, None):
        events.record(
            stream=stream,
            kind="glass_broken",
            sentence=sentence,
            actor=by,
            via=broken.via,
            now=broken.at,
            payload=broken.facts()
            | {"plan": str(plan.pk), "told": broken.told, "grants": grants.told([broken.grant])},
        )
    return broken
