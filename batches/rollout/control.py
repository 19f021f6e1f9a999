"""Pause, resume, promote, hold and go on: what a person does to a running plan."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django_q.tasks import async_task

from batches.alerting import alerts
from batches.models import Batch, TenantUpgrade
from batches.rollout.pacing import soak_left
from batches.rollout.who_was_first import insist
from plans.approvals import grants
from plans.approvals.grant_claims import PROMOTE
from plans.drafting.drafting import current_revision, pinned_file, policy_of
from plans.log_in.step_up import Proof
from plans.models import Grant, Plan, User
from plans.people.permissions import approval_roles, require
from plans.policies.policy import PAUSE_SECONDS
from plans.refusal import BadInput, NotAllowed, Refused
from plans.releases.trust import ReleaseNotTrusted
from plans.trail import events


def _stop_soak_clock(plan: Plan, now: datetime) -> None:
    for batch in Batch.objects.filter(plan=plan, state="soaking"):
        batch.soak_left = soak_left(batch.soak_left, batch.soak_counted_at, now, counting=True)
        batch.soak_counted_at = None
        batch.save()


def _start_soak_clock(plan: Plan, now: datetime) -> None:
    for batch in Batch.objects.filter(plan=plan, state="soaking", soak_counted_at=None):
        batch.soak_counted_at = now
        batch.save()


@transaction.atomic
def pause(*, plan_id: Any, by: User | None, reason: str, now: datetime, via: str) -> Plan:
    """Stop everything new at once; pausing a paused plan is the same pause.

    Unless somebody resumes, the plan rolls back after the policy's wait, and everything is back
    `rollback_seconds` after that, and 180 s after the pause at the latest. A plan whose release
    cannot be taken back stands still until a person decides.
    """
    plan = Plan.objects.locked(plan_id)
    if by is not None:
        require(by, "pause", plan)
    if str(plan.state) == "paused":
        return plan
    plan.move("pause")
    plan.epoch += 1
    plan.paused_at = now
    plan.waiting_for = ""
    if not plan.release.irreversible:
        policy = policy_of(current_revision(plan))
        plan.resume_by = now + timedelta(seconds=policy.rollback.rollback_after_seconds)
        plan.pause_deadline = min(
            now + timedelta(seconds=PAUSE_SECONDS),
            plan.resume_by + timedelta(seconds=policy.limits.rollback_seconds),
        )
    plan.save()
    _stop_soak_clock(plan, now)
    who = by.get_full_name() if by else "The console"
    sentence = f"{who} paused the plan{': ' + reason if reason else ''}. {_after_the_pause(plan)}"
    events.record(
        stream=plan,
        kind="plan_paused",
        sentence=sentence,
        actor=by,
        via=via,
        now=now,
        payload={
            "reason": reason,
            "by": by.get_full_name() if by else "console",
            "resume_by": plan.resume_by.isoformat() if plan.resume_by else None,
            "deadline": plan.pause_deadline.isoformat() if plan.pause_deadline else None,
        },
    )
    return plan


def _after_the_pause(plan: Plan) -> str:
    if plan.resume_by is None:
        return "Its release cannot be taken back: it stands still until a person decides."
    return f"Unless somebody resumes by {plan.resume_by:%H:%M:%S} UTC, everything is taken back."


@transaction.atomic
def resume(*, plan_id: Any, by: User | None, now: datetime, via: str, why: str = "") -> Plan:
    """Go on where the plan was paused; `by` None = by itself, and then `why` is said."""
    plan = Plan.objects.locked(plan_id)
    if by is not None:
        require(by, "resume", plan)
    plan.move("resume")
    plan.paused_at = plan.resume_by = plan.pause_deadline = None
    plan.save()
    _start_soak_clock(plan, now)
    for batch in Batch.objects.filter(plan=plan, state="deploying"):
        batch.handed_out_at = now
        batch.save()
        async_task("batches.tasks.run_batch", batch.pk, cluster="effects")
    alerts.resolve_all(plan=plan, now=now, kinds=("pause_expired",), why="the plan was resumed")
    events.record(
        stream=plan,
        kind="plan_resumed",
        sentence=f"{by.get_full_name()} resumed the plan." if by else f"The plan goes on: {why}.",
        actor=by,
        via=via,
        now=now,
    )
    return plan


def _refuse_promoted(batch: Batch) -> None:
    if batch.promoted_at is not None:
        who = batch.promoted_by.get_full_name() if batch.promoted_by else "somebody"
        raise Refused(
            f"{who} has promoted batch {batch.number} at {batch.promoted_at:%H:%M:%S} UTC already.",
            code="already_promoted",
        )


def _refuse_other_gate(plan: Plan, number: int, coming: Batch | None) -> None:
    named = Batch.objects.filter(plan=plan, number=number).first()
    if named is None:
        raise BadInput([f"batch: this plan has no batch {number}"])
    _refuse_promoted(named)
    state = named.lifecycle.states[str(named.state)].lower()
    after = f"; batch {coming.number} comes next" if coming is not None else ""
    raise Refused(
        f"Batch {number} is {state}, it does not wait at a gate{after}.", code="not_at_the_gate"
    )


@transaction.atomic
def promote(
    *,
    plan_id: Any,
    by: User,
    now: datetime,
    via: str,
    batch_number: int | None = None,
    step_up: Proof | None = None,
) -> Plan:
    """Let the batch that waits at a manual gate begin, by a grant that the person signs for it.

    With `batch_number` only that batch: of two clicks at once the second never opens the batch
    after the one that both people saw. Where the policy names gate roles, the person has to hold
    one of them and to have written nothing of the plan.
    """
    plan = Plan.objects.locked(plan_id)
    role = _role_at_the_gate(plan, by, now)
    batch = batch_at_the_gate(plan, batch_number)
    grant = grants.own_act(
        plan,
        PROMOTE,
        by=by,
        role=role,
        step_up=step_up,
        op=gate_operation(batch),
        now=now,
        batch=batch.number,
        tenants=tenants_of(batch),
    )
    let_begin(plan, batch, f"{by.get_full_name()} let", by=by, now=now, via=via, used=[grant])
    return plan


def _role_at_the_gate(plan: Plan, by: User, now: datetime) -> str:
    """Return the approval role in which the person opens the gate, empty where none is needed."""
    revision = current_revision(plan)
    wanted = pinned_file(revision).approvals[revision.approvals].gate_roles
    if not wanted:
        require(by, "promote", plan)
        return ""
    held = approval_roles(by, at=now, plan=plan)
    role = next((role for role in wanted if role in held), None)
    if role is None:
        raise NotAllowed(
            f"The policy lets {' or '.join(wanted)} open this gate; you do not hold such a role"
            " over all tenants of the plan.",
            code="holds_no_role",
        )
    if by.pk in grants.writers(plan):
        raise NotAllowed(
            "You wrote or edited this plan; somebody else has to open its gates.",
            code="approver_is_author",
        )
    return role


def gate_operation(batch: Batch) -> str:
    """Return the name of the operation that opens a batch's gate."""
    return f"plan:{batch.plan_id}:promote:b{batch.number}"


def tenants_of(batch: Batch) -> list[str]:
    """Return the tenants of a batch, as the grant for its gate names them."""
    rows = TenantUpgrade.objects.filter(batch=batch)
    return list(rows.values_list("tenant_key", flat=True))


def batch_at_the_gate(plan: Plan, batch_number: int | None) -> Batch:
    """Return the batch that waits for a person; raise Refused when none, or another one, does."""
    insist(plan, "promoting", states=("running",))
    pending = Batch.objects.filter(plan=plan, state="pending").order_by("number")
    batch = pending.first()
    if batch_number is not None and (batch is None or batch.number != batch_number):
        _refuse_other_gate(plan, batch_number, batch)
    if batch is None:
        raise Refused("No batch waits at a gate.", code="nothing_waits")
    if batch.advance != "manual":
        raise Refused(f"Batch {batch.number} begins by itself; it has no manual gate.")
    _refuse_promoted(batch)
    return batch


def let_begin(
    plan: Plan,
    batch: Batch,
    who_let: str,
    *,
    by: User,
    now: datetime,
    via: str,
    used: Sequence[Grant],
) -> None:
    """Open the gate of a batch by the grants that were used up for it."""
    batch.promoted_at = now
    batch.promoted_by = by
    batch.save()
    events.record(
        stream=plan,
        kind="batch_promoted",
        sentence=f"{who_let} batch {batch.number} ({batch.name}) begin.",
        actor=by,
        via=via,
        now=now,
        payload={"batch": batch.number, "grants": grants.told(used)},
    )


@transaction.atomic
def hold(*, batch_id: int, kind: str, reason: str, now: datetime, via: str = "watch") -> Batch:
    """Hold the live batch: nothing new starts and a person decides."""
    batch, plan = Batch.objects.locked(batch_id)
    came_from = str(batch.state)
    if came_from == "held":
        return batch
    if came_from == "soaking":
        batch.soak_left = soak_left(batch.soak_left, batch.soak_counted_at, now, counting=True)
        batch.soak_counted_at = None
    batch.move("hold")
    batch.held_from = came_from
    batch.held_at = now
    batch.held_kind = kind
    batch.held_reason = reason[:400]
    batch.save()
    plan.epoch += 1
    plan.save()
    events.record(
        stream=plan,
        kind="batch_held",
        sentence=f"Batch {batch.number} ({batch.name}) is held: {reason}. A person decides.",
        actor=None,
        via=via,
        now=now,
        payload={"batch": batch.number, "kind": kind, "reason": reason},
    )
    return batch


@transaction.atomic
def acknowledge(*, batch_id: int, condition: str, now: datetime) -> Batch:
    """Let a condition of a batch pass from now on; the event of the caller's act tells of it."""
    batch, _plan = Batch.objects.locked(batch_id)
    batch.acknowledged = {**batch.acknowledged, condition: now.isoformat()}
    batch.save()
    return batch


@transaction.atomic
def release_hold(*, plan_id: Any, by: User | None, reason: str, now: datetime, via: str) -> Plan:
    """Let a held batch go on; the condition that held it does not hold it again for the same.

    `by` None = by itself, since what held it is over. Raises ReleaseNotTrusted while its release
    is not to be installed.
    """
    plan = Plan.objects.locked(plan_id)
    if by is not None:
        require(by, "resume", plan)
    batch = Batch.objects.select_for_update(no_key=True).filter(plan=plan, state="held").first()
    if batch is None:
        raise Refused("No batch is held.", code="nothing_held")
    if not_trusted := plan.release.standing:
        raise ReleaseNotTrusted(
            f"Batch {batch.number} stays held: {not_trusted.rstrip('.')}. Take the plan back, or"
            " stop it where it stands.",
            possible=("rollback", "stop"),
        )
    batch.acknowledged = {**batch.acknowledged, batch.held_kind: now.isoformat()}
    held_kind = batch.held_kind
    batch.move("release_hold", to=batch.held_from)
    if str(batch.state) == "soaking" and str(plan.state) == "running":
        batch.soak_counted_at = now
    batch.held_from = batch.held_kind = batch.held_reason = ""
    batch.held_at = None
    batch.handed_out_at = now
    batch.save()
    if str(batch.state) == "deploying" and str(plan.state) == "running":
        async_task("batches.tasks.run_batch", batch.pk, cluster="effects")
    told = (held_kind, "hold_expired")
    over = "a person let the batch go on" if by is not None else reason
    alerts.resolve_all(plan=plan, now=now, kinds=told, why=over)
    sentence = f"Batch {batch.number} goes on after it was held ({held_kind})"
    if by is not None:
        sentence = f"{by.get_full_name()} let batch {batch.number} go on after it was held"
        sentence += f" ({held_kind})"
    events.record(
        stream=plan,
        kind="hold_released",
        sentence=f"{sentence}{': ' + reason if reason else ''}.",
        actor=by,
        via=via,
        now=now,
        payload={"batch": batch.number, "kind": held_kind, "reason": reason},
    )
    return plan
