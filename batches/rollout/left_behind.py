"""Account for tenants that no call will reach any more: left out, or their retry called off."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db.models import F

from batches.lifecycle import TENANT_UPGRADE
from batches.models import Batch, Rollback, TenantUpgrade
from batches.models.batch import TenantUpgradeQuerySet
from batches.rollback.rollback import locked_batches
from plans.models import Plan
from plans.trail import events


def call_off_retries(plan: Plan, rows: TenantUpgradeQuerySet, *, now: datetime) -> None:
    """Leave tenants that were to be called again where they are: back on the version before."""
    waiting = rows.touched().filter(state="pending")
    keys = sorted(waiting.values_list("tenant_key", flat=True))
    if not keys:
        return
    waiting.update(state=TENANT_UPGRADE.named("call_off").target)
    events.record(
        stream=plan,
        kind="tenants_moved",
        sentence=f"Tenants: {len(keys)} rolled back already; their retry is called off.",
        actor=None,
        via="watch",
        now=now,
        payload={"tenants": dict.fromkeys(keys, "rolled_back"), "errors": {}},
    )


def account_for_untouched(plan: Plan, rollback: Rollback, now: datetime) -> None:
    """Leave out whom the rolled-back part never reached; nothing of it will be called any more."""
    if rollback.scope == "tenants":
        return
    batches = Batch.objects.filter(plan=plan, state="rolling_back")
    if rollback.scope == "plan":
        for batch in locked_batches(plan).filter(state="pending"):
            batch.move("skip")
            batch.save()
        batches = Batch.objects.filter(plan=plan)
    exclude_untouched(plan, now=now, batches=batches, states=("failed", "pending", "upgrading"))


def exclude_untouched(
    plan: Plan,
    *,
    now: datetime,
    batches: Iterable[Batch],
    states: Sequence[str] = ("failed",),
) -> int:
    """Account for tenants that no call ever reached: they stay on their version, as excluded.

    Whoever failed before any call, as nobody could read its version, is quarantined there.
    """
    upgrades = TenantUpgrade.objects.filter(plan=plan, touched_at=None, batch__in=batches)
    chosen = dict(upgrades.filter(state__in=states).values_list("pk", "tenant_key"))
    if not chosen:
        return 0
    upgrades.filter(pk__in=list(chosen), state="failed").update(
        set_aside=TenantUpgrade.QUARANTINED, set_aside_at=now, set_aside_why=F("last_error")
    )
    TenantUpgrade.objects.filter(pk__in=list(chosen)).update(state="excluded")
    events.record(
        stream=plan,
        kind="tenants_moved",
        sentence=f"Tenants: {len(chosen)} excluded, never touched.",
        actor=None,
        via="watch",
        now=now,
        payload={"tenants": dict.fromkeys(chosen.values(), "excluded"), "errors": {}},
    )
    return len(chosen)
