"""Whether a run of the effect loop may go on: its lease, its plan, the openings for new calls."""

from datetime import datetime
from typing import Any

from django.db.models import Exists, QuerySet

from batches.effects.ledger_claims import Scope
from batches.effects.ledger_statements import MOMENT, Question
from batches.models import Batch, Rollback, RollbackDrill
from batches.rollout.waiting import places_to_call
from batches.runtime import surroundings
from plans import flags
from plans.models import Freeze, Release
from plans.openings.freezes import is_frozen, places_of


class GoingOn:
    """Whether new intents and calls of one run are still wanted; asked before every chunk."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._found = Question(_rows_of(scope))

    def is_wanted(self) -> bool:
        """Tell it as of now."""
        scope = self.scope
        if scope.lease_lost():
            return False
        if scope.rollback_id is not None:
            return bool(self._found.ask())
        if scope.batch_id is None:
            return False
        drills = RollbackDrill.objects.filter(pk=scope.drill_id, ended_at=None)
        if scope.drill_id is not None and not drills.exists():
            return False
        now = surroundings.here().now()
        found = next(iter(self._found.ask(now)), None)
        if found is None or scope.direction == "restore":
            return found is not None
        off, some_freeze = found
        return not off and _is_open(scope, scope.batch_id, now, some_freeze=some_freeze)


def _rows_of(scope: Scope) -> QuerySet[Any, Any]:
    """Return what has a row while the run may go on, openings apart: one question."""
    if scope.rollback_id is not None:
        open_ones = Rollback.objects.filter(pk=scope.rollback_id, finished_at=None)
        return open_ones.order_by().values_list("pk")
    if scope.batch_id is None:
        return Batch.objects.none().values_list("pk")
    calling = Batch.objects.filter(
        pk=scope.batch_id,
        plan_id=scope.plan_id,
        state="soaking" if scope.drill_id is not None else "deploying",
        plan__state="running",
        plan__epoch=scope.epoch,
    ).order_by()
    if scope.direction == "restore":
        return calling.values_list("pk")
    freezes = Freeze.objects.in_force(MOMENT).over_plugin(scope.plugin_id)
    asked = with_trust(calling).annotate(
        off=Exists(flags.turned_off(flags.ORCHESTRATOR)), freezes=Exists(freezes)
    )
    return asked.values_list("off", "freezes")


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
