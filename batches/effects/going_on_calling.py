"""Whether a run of the effect loop may go on: its lease, its plan, the openings for new calls."""

from datetime import datetime

from django.db.models import Exists, QuerySet

from batches.effects.ledger_claims import Scope
from batches.models import Batch, Rollback, RollbackDrill
from batches.rollout.waiting import places_to_call
from batches.runtime import surroundings
from plans import flags
from plans.models import Freeze, Release
from plans.openings.freezes import is_frozen, places_of


def may_go_on(scope: Scope) -> bool:
    """Tell whether new intents and calls are still wanted from this run."""
    if scope.lease_lost():
        return False
    if scope.rollback_id is not None:
        return Rollback.objects.filter(pk=scope.rollback_id, finished_at=None).exists()
    if scope.batch_id is None:
        return False
    drills = scope.drill_id is not None
    if drills and not RollbackDrill.objects.filter(pk=scope.drill_id, ended_at=None).exists():
        return False
    now = surroundings.here().now()
    calling = Batch.objects.filter(
        pk=scope.batch_id,
        plan_id=scope.plan_id,
        state="soaking" if drills else "deploying",
        plan__state="running",
        plan__epoch=scope.epoch,
    )
    if scope.direction == "restore":
        return calling.exists()
    # One question per transaction: this is asked before every chunk.
    freezes = Freeze.objects.in_force(now).over_plugin(scope.plugin_id)
    asked = with_trust(calling).annotate(
        off=Exists(flags.turned_off(flags.ORCHESTRATOR)), freezes=Exists(freezes)
    )
    found = next(iter(asked.values_list("off", "freezes")), None)
    if found is None:
        return False
    off, some_freeze = found
    return not off and _is_open(scope, scope.batch_id, now, some_freeze=some_freeze)


def with_trust(calling: QuerySet[Batch]) -> QuerySet[Batch]:
    """Return the batch while its release is trusted.

    From the chunk after a revocation or a quarantine on, nothing of it is sent any more.
    """
    return calling.filter(plan__release__state=Release.TRUSTED)


def _is_open(scope: Scope, batch_id: int, now: datetime, *, some_freeze: bool) -> bool:
    """Tell whether windows and freezes let forward calls start; asked in each transaction.

    The windows of a pinned policy are known from the start of the run; a freeze may have been
    declared since. A restore never comes here.
    """
    if scope.closes_at is not None and now >= scope.closes_at:
        return False
    if not some_freeze:
        return True
    batch = Batch.objects.select_related("plan").get(pk=batch_id)
    places = places_to_call(batch)
    if scope.drill_id is not None:
        # Its tenant is back on the version before, and no other one is called.
        places = places_of(batch.plan).filter(tenant__key__in=scope.tenants)
    return not is_frozen(batch.plan, places, now)
