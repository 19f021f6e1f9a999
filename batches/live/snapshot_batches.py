"""The batches in a plan's picture: as they are or as planned, with their tenants counted."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Count, Q

from batches.lifecycle import BATCH, TENANT_UPGRADE
from batches.live.quarantine import failed_of
from batches.models import Batch, TenantUpgrade
from batches.rollout.pacing import soak_left
from batches.rollout.readiness import AT_STAKE
from plans.models import Plan, PlanTenant
from plans.policies.policy import HOLD_BACK, UpgradePolicy

WORST_FIRST = (
    "needs_hand",
    "failed",
    "unknown",
    "restoring",
    "upgrading",
    "rolled_back",
    "pending",
    "upgraded",
    "excluded",
)
"""The order in which tenants and counts are shown: what needs eyes comes first."""


def batches_shown(plan: Plan, policy: UpgradePolicy, now: datetime) -> list[dict[str, Any]]:
    """Return the batches with their counts; planned ones where the plan has not started."""
    rows = list(Batch.objects.filter(plan=plan).order_by("number"))
    if not rows:
        return _planned_batches(plan, policy)
    counts: dict[int, dict[str, int]] = {}
    touched: dict[int, int] = {}
    to_retry: dict[int, int] = {}
    grouped = (
        TenantUpgrade.objects.filter(plan=plan)
        .order_by()
        .values("batch_id", "state")
        .annotate(
            n=Count("pk"),
            reached=Count("pk", filter=Q(touched_at__isnull=False)),
            quarantined=Count("pk", filter=Q(set_aside=TenantUpgrade.QUARANTINED)),
            exhausted=Count("pk", filter=Q(exhausted_at__isnull=False)),
        )
    )
    for group in grouped:
        again = failed_of(group["state"], group["quarantined"], group["exhausted"])
        to_retry[group["batch_id"]] = to_retry.get(group["batch_id"], 0) + again
        counts.setdefault(group["batch_id"], {})[group["state"]] = group["n"]
        if group["state"] in AT_STAKE:
            touched[group["batch_id"]] = touched.get(group["batch_id"], 0) + group["reached"]
    running = str(plan.state) == "running"
    return [
        {
            "number": row.number,
            "name": row.name,
            "state": str(row.state),
            "label": BATCH.states[str(row.state)],
            "size": row.size,
            "counts": counts.get(row.pk, {}),
            "touched": touched.get(row.pk, 0),
            "to_retry": to_retry.get(row.pk, 0),
            "metrics": row.metrics,
            "advance": row.advance,
            "hold_back": row.hold_back,
            "at_gate": row.advance == "manual" and row.promoted_at is None,
            "soak_seconds": row.soak_seconds,
            "soak_left": round(
                soak_left(
                    row.soak_left,
                    row.soak_counted_at,
                    now,
                    counting=running and str(row.state) == "soaking",
                ),
                1,
            ),
            "soak_counts": row.soak_counted_at is not None and str(row.state) == "soaking",
            "held_reason": row.held_reason,
            "held_kind": row.held_kind,
            "waits_since": row.waits_since if str(row.state) == "deploying" else None,
            "opened_at": row.opened_at,
            "calling_since": row.calling_since,
            "calls_done_at": row.calls_done_at,
            "ended_at": row.ended_at,
            "owner": row.owner,
        }
        for row in rows
    ]


def _planned_batches(plan: Plan, policy: UpgradePolicy) -> list[dict[str, Any]]:
    """Return the batches of a plan that has not started: who would come when."""
    sizes = (
        PlanTenant.objects.filter(plan=plan, excluded=False)
        .order_by("batch_number")
        .values("batch_number")
        .annotate(n=Count("pk"))
    )
    planned = []
    for place in sizes:
        number = place["batch_number"]
        spec = policy.batches[number - 1] if number <= len(policy.batches) else None
        advance = (spec.advance if spec else "") or policy.advance
        planned.append(
            {
                "number": number,
                "name": spec.name if spec else HOLD_BACK,
                "state": BATCH.initial,
                "label": "Planned",
                "size": place["n"],
                "counts": {TENANT_UPGRADE.initial: place["n"]},
                "touched": 0,
                "to_retry": 0,
                "metrics": list(spec.metrics) if spec else [],
                "advance": advance,
                "hold_back": spec is None,
                "at_gate": advance == "manual",
                "soak_seconds": spec.soak_seconds if spec else 0,
                "soak_left": spec.soak_seconds if spec else 0,
                "soak_counts": False,
                "held_reason": "",
                "held_kind": "",
                "waits_since": None,
                "opened_at": None,
                "calling_since": None,
                "calls_done_at": None,
                "ended_at": None,
                "owner": "",
            }
        )
    return planned


def summed(batches: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the tenant counts of all batches, the worst state first."""
    total: dict[str, int] = {}
    for batch in batches:
        for state, n in batch["counts"].items():
            total[state] = total.get(state, 0) + n
    return {state: total[state] for state in WORST_FIRST if state in total}
