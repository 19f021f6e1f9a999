"""Let a stopped plan go on, whatever stopped it: a person's pause, or a condition's hold."""

from datetime import datetime
from typing import Any

from django.db import transaction

from batches import control
from batches.models import Batch
from plans import events
from plans.models import Plan, User


@transaction.atomic
def go_on(*, plan_id: Any, by: User, reason: str, now: datetime, via: str) -> Plan:
    """Resume a paused plan and release a held batch; NotPossibleNow when nothing stands still."""
    plan = Plan.objects.locked(plan_id)
    paused = str(plan.state) == "paused"
    held = Batch.objects.filter(plan=plan, state="held").exists()
    if paused or not held:
        plan = control.resume(plan_id=plan_id, by=by, now=now, via=via)
    if held:
        return control.release_hold(plan_id=plan_id, by=by, reason=reason, now=now, via=via)
    if reason:
        events.record(
            stream=plan,
            kind="remark",
            sentence=f"{by.get_full_name()} on resuming: {reason}",
            actor=by,
            via=via,
            now=now,
        )
    return plan
