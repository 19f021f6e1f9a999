"""What a person does with tenants that could not be taken back: settle them or try again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from batches.alerting import alerts
from batches.models import Batch, Rollback, TenantUpgrade
from batches.rollback.ending import end_settled_batches
from batches.rollback.rollback import request_rollback
from batches.rollout.launch import free_reservations
from plans.counted_words import counted
from plans.models import Plan, User
from plans.people.permissions import require
from plans.refusal import BadInput, Refused
from plans.trail import events


@transaction.atomic
def settle(
    *,
    plan_id: Any,
    tenant_keys: Sequence[str],
    outcome: str,
    reason: str,
    by: User,
    now: datetime,
    via: str,
) -> Plan:
    """Say what became of tenants that needed a hand; the last one ends the plan."""
    plan = Plan.objects.locked(plan_id)
    require(by, "settle", plan)
    if outcome not in {"rolled_back", "upgraded", "excluded"}:
        raise BadInput([f"outcome: {outcome!r}; write rolled_back, upgraded or excluded"])
    if not reason.strip():
        raise BadInput(["reason: say how you know; the report shows it"])
    rows = TenantUpgrade.objects.select_for_update(no_key=True).filter(
        plan=plan, state="needs_hand", tenant_key__in=tenant_keys
    )
    found = sorted(rows.values_list("tenant_key", flat=True))
    missing = sorted(set(tenant_keys) - set(found))
    if missing:
        raise Refused(f"{', '.join(missing)} does not need a hand (any more).", code="not_waiting")
    rows.update(state=outcome, last_error=f"settled by {by.get_full_name()}: {reason}"[:500])
    events.record(
        stream=plan,
        kind="tenants_settled",
        sentence=f"{by.get_full_name()} settled {', '.join(found)} as"
        f" {outcome.replace('_', ' ')}: {reason}",
        actor=by,
        via=via,
        now=now,
        payload={"tenants": dict.fromkeys(found, outcome), "reason": reason},
    )
    end_settled_batches(plan, now)
    waiting = TenantUpgrade.objects.filter(plan=plan, state="needs_hand").exists()
    if not waiting and str(plan.state) == "needs_hand":
        end_settled(plan, by=by, now=now, via=via)
    return plan


@transaction.atomic
def hand_over_stragglers(*, batch_id: int, now: datetime) -> int:
    """Give a person what failed in a batch whose release cannot be taken back."""
    batch, plan = Batch.objects.locked(batch_id)
    rows = (
        TenantUpgrade.objects.select_for_update(no_key=True)
        .filter(batch=batch, state__in=("failed", "unknown"))
        .touched()
        .exclude(state="unknown", exhausted_at=None)
    )
    keys = dict(rows.values_list("pk", "tenant_key"))
    if not keys:
        return 0
    TenantUpgrade.objects.filter(pk__in=list(keys)).update(state="needs_hand", exhausted_at=now)
    events.record(
        stream=plan,
        kind="tenants_moved",
        sentence=f"Tenants: {counted(len(keys), 'needs', 'need')} a hand; their release cannot"
        f" be taken back: {', '.join(sorted(keys.values())[:10])}.",
        actor=None,
        via="watch",
        now=now,
        payload={"tenants": dict.fromkeys(keys.values(), "needs_hand"), "errors": {}},
    )
    return len(keys)


def end_settled(plan: Plan, *, by: User | None, now: datetime, via: str) -> None:
    """End a plan of which no tenant needs a hand any more."""
    if _taken_back(plan):
        plan.move("settle_rolled_back")
    else:
        plan.move("settle_completed" if plan.stopped_at is None else "settle_stopped")
    plan.ended_at = now
    plan.save()
    free_reservations(plan)
    alerts.resolve_all(plan=plan, now=now)
    events.record(
        stream=plan,
        kind="plan_settled",
        sentence="Nothing needs a hand any more; the plan has ended"
        f" {plan.lifecycle.states[str(plan.state)].lower()}.",
        actor=by,
        via=via,
        now=now,
    )


def _taken_back(plan: Plan) -> bool:
    """Tell whether the whole plan was rolled back."""
    return Rollback.objects.filter(plan=plan, scope="plan").exists()


def retry_needs_hand(*, plan_id: Any, by: User, now: datetime, via: str) -> Rollback:
    """Try again to take back every tenant that needs a hand, and only those."""
    plan = Plan.objects.get(pk=plan_id)
    require(by, "rollback", plan)
    keys = list(
        TenantUpgrade.objects.filter(plan_id=plan_id, state="needs_hand").values_list(
            "tenant_key", flat=True
        )
    )
    if not keys:
        raise Refused("No tenant needs a hand.", code="nothing_waits")
    whole = _taken_back(plan)
    return request_rollback(
        plan_id=plan_id,
        by=by,
        reason="another try for"
        f" {counted(len(keys), 'tenant that needs', 'tenants that need')} a hand",
        now=now,
        via=via,
        trigger="retry",
        scope="plan" if whole else None,
        tenants=() if whole else keys,
    )
