"""A batch waits for an opening: the window has closed, or a freeze began, while it was called.

Calls in flight end and are recorded; nothing new starts. What was upgraded stays under watch, and
what failed for good is taken back at once. The batch's clock stands still until it goes on.
"""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django_q.tasks import async_task

from batches.models import Batch, TenantUpgrade
from plans.counted_words import counted
from plans.models import Plan, PlanTenant
from plans.openings.freezes import first_places, opening_for, places_of
from plans.openings.opening import Opening
from plans.policies.policy import UpgradePolicy
from plans.refusal import Refused
from plans.trail import events

TO_CALL = ("pending", "upgrading", "unknown")
CLOCK_OF_CALLS = "batch_overrun"


def places_to_call(batch: Batch) -> QuerySet[PlanTenant]:
    """Return the places of the batch's tenants whose calls are not over."""
    left = TenantUpgrade.objects.filter(batch=batch, state__in=TO_CALL, exhausted_at=None)
    return places_of(batch.plan).filter(tenant__in=left.values("tenant"))


def _coming_places(plan: Plan) -> QuerySet[PlanTenant]:
    """Return the places that are called next while no batch is under way."""
    batches = Batch.objects.filter(plan=plan).order_by("number")
    # A batch that begins again goes before the next new one, for those who are to be called.
    ended = batches.filter(state__in=("passed", "rolled_back"))
    to_call = TenantUpgrade.objects.filter(batch__in=ended, state__in=TO_CALL, exhausted_at=None)
    again = to_call.order_by("batch__number").select_related("batch").first()
    if again is not None:
        return places_to_call(again.batch)
    coming = batches.filter(state="pending").first()
    if coming is not None:
        return places_of(plan).filter(batch_number=coming.number)
    return places_of(plan).none() if batches.exists() else first_places(plan)


def plan_opening(plan: Plan, policy: UpgradePolicy, now: datetime) -> Opening:
    """Return whether what comes next in the plan may be called now, and when it may."""
    calling = Batch.objects.filter(plan=plan, state="deploying").first()
    if calling is not None:
        return opening_for(plan, policy, places_to_call(calling), now, begun=True)
    return opening_for(plan, policy, _coming_places(plan), now)


@transaction.atomic
def wait_for_opening(*, batch_id: int, why: str, now: datetime) -> Batch:
    """Let nothing new of the batch start until the next opening."""
    batch, plan = Batch.objects.locked(batch_id)
    if str(plan.state) != "running" or str(batch.state) != "deploying":
        raise Refused("Only a batch that is being called can wait for an opening.")
    if batch.waits_since is not None:
        return batch
    batch.waits_since = now
    batch.save()
    # Whoever calls it still, by a clock that is slow, does not go on: its epoch is over.
    plan.epoch += 1
    plan.waiting_for = why[:300]
    plan.save()
    left = places_to_call(batch).count()
    events.record(
        stream=plan,
        kind="batch_waits",
        sentence=f"Batch {batch.number} ({batch.name}) waits with {counted(left, 'tenant')}"
        f" still to be called: {why}. Calls in flight end; its clock stands still.",
        actor=None,
        via="watch",
        now=now,
        payload={"batch": batch.number, "left": left, "why": why},
    )
    return batch


@transaction.atomic
def go_on_at_opening(*, batch_id: int, now: datetime) -> Batch:
    """Hand out again what is left of a batch that waited."""
    batch, plan = Batch.objects.locked(batch_id)
    if str(plan.state) != "running" or str(batch.state) != "deploying":
        raise Refused("Only a batch that is being called can go on.")
    if batch.waits_since is None:
        return batch
    waited = max(0.0, (now - batch.waits_since).total_seconds())
    batch.waited_seconds += waited
    batch.waits_since = None
    if acknowledged := batch.acknowledged.get(CLOCK_OF_CALLS):
        # A person let the clock of calls begin again; it stood still while the batch waited.
        later = datetime.fromisoformat(acknowledged) + timedelta(seconds=waited)
        batch.acknowledged = {**batch.acknowledged, CLOCK_OF_CALLS: later.isoformat()}
    batch.handed_out_at = now
    batch.save()
    plan.waiting_for = ""
    plan.save()
    async_task("batches.tasks.run_batch", batch.pk, cluster="effects")
    events.record(
        stream=plan,
        kind="batch_goes_on",
        sentence=f"Batch {batch.number} ({batch.name}) goes on: it may call again after"
        f" {waited / 60:.0f} min.",
        actor=None,
        via="watch",
        now=now,
        payload={"batch": batch.number, "waited_seconds": round(waited, 1)},
    )
    return batch
