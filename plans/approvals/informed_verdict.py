"""Take a verdict only about the content that the person has seen."""

import uuid
from datetime import datetime

from django.db import transaction

from plans.approvals import approval
from plans.log_in.step_up import Proof
from plans.models import Plan, User
from plans.refusal import Refused


class SeenIsOld(Refused):
    """The plan was changed between the look and the click."""

    default_code = "plan_changed"


def _require_seen(plan_id: uuid.UUID, seen_digest: str, now: datetime) -> None:
    # The plan's lock first, as everywhere; it keeps the content still until the verdict is written.
    plan = Plan.objects.locked(plan_id)
    if approval.open_request(plan, now=now).plan_digest != seen_digest:
        raise SeenIsOld(
            "The plan has changed since you looked; look at it again before you decide."
        )


@transaction.atomic
def approve_seen(
    *,
    plan_id: uuid.UUID,
    seen_digest: str,
    approver: User,
    comment: str,
    now: datetime,
    via: str,
    role: str | None = None,
    step_up: Proof | None = None,
) -> Plan:
    """Approve the plan whose digest the person saw; raise SeenIsOld for any other content."""
    _require_seen(plan_id, seen_digest, now)
    return approval.approve(
        plan_id=plan_id,
        approver=approver,
        comment=comment.strip(),
        now=now,
        via=via,
        role=role,
        step_up=step_up,
    )


@transaction.atomic
def reject_seen(
    *, plan_id: uuid.UUID, seen_digest: str, approver: User, reason: str, now: datetime, via: str
) -> Plan:
    """Reject the plan whose digest the person saw; raise SeenIsOld for any other content."""
    _require_seen(plan_id, seen_digest, now)
    return approval.reject(plan_id=plan_id, approver=approver, reason=reason, now=now, via=via)
