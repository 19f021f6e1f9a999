"""What this watch answers for: which plans it decides about, and whether it does the chores.

On SQLite there is one decider, who does everything. On PostgreSQL each live plan has a lease of its
own; the watches that are alive share the plans out, and one of them does what concerns no plan.
"""

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta

from django.db import connection

from batches.models import Heartbeat, Lease
from batches.runtime import leases
from batches.runtime.kept_leases import KeptLeases
from batches.runtime.plan_shares import fair_share
from plans.models import Plan

DECIDE_LEASE = "watch:decide"
"""Of the one decider on SQLite; of whoever does the chores on PostgreSQL."""
ALIVE_SECONDS = 5.0
"""A watch that did not say so for that long has no share; shorter than its leases last."""
FORGET_SECONDS = 60.0

Fence = Callable[[uuid.UUID], AbstractContextManager[None]]


def decide_lease(plan_id: uuid.UUID | str) -> str:
    """Return the name of the lease of whoever decides about one plan."""
    return f"plan:{plan_id}:decide"


def _plan_of(name: str) -> uuid.UUID:
    return uuid.UUID(name.split(":")[1])


class Duties:
    """The leases of one watch, looked after at each tick."""

    def __init__(self, holder: str) -> None:
        self.holder = holder
        self.leases = KeptLeases(holder, kind="watch")
        self.shared = connection.vendor == "postgresql"
        self.leads = False
        self.held_for = 0.0
        """How long whoever leads holds that lease from this look on, unless it is renewed."""
        self._mine: dict[str, int] = {}

    def refresh(self, now: datetime) -> "set[uuid.UUID | None]":
        """Take and give up leases; return the plans that were lost, None standing for all.

        What is known of them may be old: somebody else may have decided since.
        """
        before = self._mine
        self.leads = DECIDE_LEASE in self.leases.tokens() or self._lead(now)
        if self.shared:
            self._share(now)
        self._mine = self.leases.tokens()
        lost = {name for name, token in before.items() if self._mine.get(name) != token}
        if self.shared:
            return {_plan_of(name) for name in lost - {DECIDE_LEASE}}
        return {None} if lost else set()

    @property
    def idle(self) -> bool:
        """Tell whether others do everything."""
        return not self._mine

    def decides(self, plan_id: uuid.UUID) -> bool:
        """Tell whether this watch decides about the plan."""
        return self._name(plan_id) in self._mine

    def fence(self, plan_id: uuid.UUID) -> AbstractContextManager[None]:
        """Return one transaction that writes only while this watch decides about the plan."""
        return self.leases.under(self._name(plan_id))

    def fence_of_chores(self) -> AbstractContextManager[None]:
        """Return one transaction that writes only while this watch does the chores."""
        return self.leases.under(DECIDE_LEASE)

    def _name(self, plan_id: uuid.UUID) -> str:
        return decide_lease(plan_id) if self.shared else DECIDE_LEASE

    def _lead(self, now: datetime) -> bool:
        # Asked first, so that who stands by locks no row at each tick.
        self.held_for = leases.seconds_left(DECIDE_LEASE, now=now)
        if self.held_for:
            return False
        taken = self.leases.take(DECIDE_LEASE, now=now)
        self.held_for = leases.LEASE_SECONDS
        return taken

    def _share(self, now: datetime) -> None:
        states = {
            decide_lease(pk): str(state)
            for pk, state in Plan.objects.live().values_list("pk", "state")
        }
        mine = set(self.leases.tokens()) - {DECIDE_LEASE}
        if not states and not mine:
            return
        of_others = Lease.objects.filter(name__in=states).exclude(holder=self.holder)
        held = {lease.name for lease in of_others if not leases.has_run_out(lease, now)}
        share = fair_share(
            watch=self.holder,
            plans=states,
            mine=mine,
            free=states.keys() - mine - held,
            bound={name for name, state in states.items() if state == "rolling_back"},
            watches=1 + self._other_watches(now),
        )
        for name in share.give_up:
            self.leases.give_up(name, now=now)
        for name in share.take:
            self.leases.take(name, now=now)

    def _other_watches(self, now: datetime) -> int:
        alive = Heartbeat.objects.filter(
            kind="watch", at__gt=now - timedelta(seconds=ALIVE_SECONDS)
        )
        return alive.exclude(name=self.holder).count()

    def forget_dead_watches(self, now: datetime) -> None:
        """Remove what watches that are gone last said."""
        if self.shared:
            gone = now - timedelta(seconds=FORGET_SECONDS)
            Heartbeat.objects.filter(kind="watch", at__lt=gone).exclude(name=self.holder).delete()
