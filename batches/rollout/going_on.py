"""Let a stopped plan go on, whatever stopped it: a person's pause, or a condition's hold."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Count, Q

from batches.guardrails.measured_words import named
from batches.models import Batch, TenantUpgrade
from batches.rollout import control
from batches.rollout.pacing import allowed_failures
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Plan, User
from plans.policies.policy import Limits
from plans.trail import events


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


def go_on_with_data(*, plan_id: Any, now: datetime) -> Plan:
    """Release a batch that was held for missing data alone: the data is back."""
    return control.release_hold(
        plan_id=plan_id, by=None, reason="the data that was missing is back", now=now, via="watch"
    )


@transaction.atomic
def go_on_without(*, plan_id: Any, tenants: Sequence[str], now: datetime) -> Plan:
    """Let a plan go on after tenants that broke a guardrail by themselves were taken back.

    As long as no batch has more tenants in quarantine than its failure budget allows, and all of
    these are back; else it stays paused for a person.
    """
    plan = Plan.objects.locked(plan_id)
    away = TenantUpgrade.objects.filter(plan=plan, tenant_key__in=tenants)
    stuck = away.filter(state="needs_hand").exists()
    if stuck or _over_budget(plan, policy_of(current_revision(plan)).limits):
        return plan
    why = f"{named(tenants)} went back alone, within the failure budget"
    return control.resume(plan_id=plan_id, by=None, now=now, via="watch", why=why)


def _over_budget(plan: Plan, limits: Limits) -> bool:
    """Tell whether a batch has more tenants in quarantine than it may."""
    rows = (
        TenantUpgrade.objects.filter(plan=plan)
        .order_by()
        .values("batch__size", "batch_id")
        .annotate(
            out=Count("pk", filter=Q(set_aside=TenantUpgrade.QUARANTINED)),
            never=Count("pk", filter=Q(state="excluded", touched_at=None, exhausted_at=None)),
        )
    )
    return any(
        row["out"]
        > allowed_failures(row["batch__size"] - row["never"], limits.failure_rate, limits.failures)
        for row in rows
        if row["out"]
    )
