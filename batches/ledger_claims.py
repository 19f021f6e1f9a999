"""What the ledger hands out: claims of tenants, each a new intent with a generation and a fence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import F

from batches.effect_ports import Direction, Task, settle_time
from batches.lifecycle import TENANT_UPGRADE
from batches.models import DeployerCall, TenantUpgrade
from plans.models import Installation, Plan


@dataclass(frozen=True, slots=True)
class Scope:
    """Which tenants one run may claim, and what must stay true for it to go on.

    `batch_id`: only that batch's tenants. `rollback_id`: a restore under that record. `states`:
    what may be claimed. `lease_lost` tells whether this process must not act any more.
    """

    plan_id: Any
    plugin_id: Any
    direction: Direction
    epoch: int
    executor: str
    target_version: str
    target_digest: str
    call_timeout: float
    deployer: str
    lease_lost: Callable[[], bool]
    batch_id: int | None = None
    rollback_id: Any = None
    tenants: tuple[str, ...] = ()
    newest_first: bool = True
    triggered_at: datetime | None = None


@dataclass(slots=True)
class Notes:
    """What one transaction has to tell the trail."""

    moves: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    superseded: list[str] = field(default_factory=list)


class Claims:
    """The claims of one run; every method runs inside the caller's transaction."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.claimed: set[int] = set()
        self.claimed_now: set[int] = set()
        self.notes = Notes()

    def begin(self, notes: Notes) -> None:
        """Forget what a transaction that failed has noted; nothing of it has happened."""
        self.notes, self.claimed_now = notes, set()

    def committed(self) -> None:
        """Keep what the transaction claimed, now that it has happened."""
        self.claimed |= self.claimed_now

    def claim(self, limit: int, now: datetime) -> list[Task]:
        """Claim up to `limit` tenants with one new fence."""
        rows = self._claimable(limit)
        if self.scope.direction == "restore":
            # A chunk that is left alone as a whole does not mean that nothing is left.
            while rows and not (mine := self._leave_superseded_alone(rows)):
                rows = self._claimable(limit)
            rows = mine if rows else []
        if not rows:
            return []
        orphans = [row for row in rows if row.state in {"upgrading", "restoring"}]
        self._close_calls_of(orphans, now)
        fence = self._raise_fences(rows, now)
        name = "claim" if self.scope.direction == "install" else "begin_restore"
        target = TENANT_UPGRADE.named(name).target or ""
        ids = [row.pk for row in rows]
        changed = TenantUpgrade.objects.filter(pk__in=ids).update(
            state=target, generation=F("generation") + 1, fence=fence, started_at=now
        )
        if changed != len(rows):
            raise RuntimeError(f"claimed {changed} of {len(rows)} tenants")
        self.claimed_now.update(ids)
        for row in rows:
            self.notes.moves[row.tenant_key] = target
        return self._tasks(rows, fence)

    def renew(self, tasks: Sequence[Task], now: datetime) -> list[Task | None]:
        """Give tenants a new intent under the claim that this run holds already."""
        rows = [
            row
            for row in TenantUpgrade.objects.select_for_update().filter(
                pk__in=[task.upgrade_id for task in tasks], state="restoring"
            )
            if any((row.pk, row.generation) == (t.upgrade_id, t.generation) for t in tasks)
        ]
        if not rows:
            return [None] * len(tasks)
        fence = self._raise_fences(rows, now)
        TenantUpgrade.objects.filter(pk__in=[row.pk for row in rows]).update(
            generation=F("generation") + 1, fence=fence
        )
        renewed = {task.upgrade_id: task for task in self._tasks(rows, fence)}
        return [renewed.get(task.upgrade_id) for task in tasks]

    def _claimable(self, limit: int) -> list[TenantUpgrade]:
        scope = self.scope
        upgrades = TenantUpgrade.objects.select_for_update().filter(plan_id=scope.plan_id)
        if scope.batch_id is not None:
            upgrades = upgrades.filter(batch_id=scope.batch_id)
        if scope.tenants:
            upgrades = upgrades.filter(tenant_key__in=scope.tenants)
        if scope.direction == "install":
            # What a lost executor left as upgrading is adopted; what failed for good is not.
            wanted = upgrades.filter(
                state__in=("pending", "unknown", "upgrading"), exhausted_at=None
            )
            order: tuple[str, ...] = ("position",)
        elif scope.rollback_id is None:
            wanted = upgrades.touched().filter(state__in=("failed", "unknown", "restoring"))
            order = ("position",)
        else:
            states = (*TENANT_UPGRADE.sources("begin_restore"), "restoring")
            # Who was handed to a person under this very rollback stays with that person.
            wanted = (
                upgrades.touched()
                .filter(state__in=states)
                .exclude(state="needs_hand", exhausted_at__gte=scope.triggered_at)
            )
            order = ("-batch__number" if scope.newest_first else "batch__number", "position")
        mine = self.claimed | self.claimed_now
        return list(wanted.exclude(pk__in=mine).order_by(*order)[:limit])

    def _leave_superseded_alone(self, rows: list[TenantUpgrade]) -> list[TenantUpgrade]:
        """Exclude tenants that a newer plan has moved on: a restore would undo that plan."""
        started = Plan.objects.values_list("started_at", flat=True).get(pk=self.scope.plan_id)
        newer = set(
            TenantUpgrade.objects.touched()
            .filter(
                tenant_id__in=[row.tenant_id for row in rows],
                plan__plugin_id=self.scope.plugin_id,
                plan__started_at__gt=started,
            )
            .exclude(plan_id=self.scope.plan_id)
            .exclude(state="rolled_back")
            .values_list("tenant_id", flat=True)
        )
        if not newer:
            return rows
        gone = [row for row in rows if row.tenant_id in newer]
        TenantUpgrade.objects.filter(pk__in=[row.pk for row in gone]).update(
            state=TENANT_UPGRADE.named("supersede").target,
            last_error="left alone: a newer plan has moved this tenant on",
        )
        for row in gone:
            self.notes.moves[row.tenant_key] = "excluded"
            self.notes.superseded.append(row.tenant_key)
        return [row for row in rows if row.tenant_id not in newer]

    def _close_calls_of(self, orphans: Sequence[TenantUpgrade], now: datetime) -> None:
        """End the open calls of a lost executor as unknown; nobody can tell what they did."""
        if orphans:
            DeployerCall.objects.filter(
                upgrade_id__in=[row.pk for row in orphans],
                direction=self.scope.direction,
                ended_at=None,
            ).update(
                ended_at=now, outcome="unknown", answer="its executor was lost before the answer"
            )

    def _raise_fences(self, rows: Sequence[TenantUpgrade], now: datetime) -> int:
        """Return one fence above every earlier one of these tenants, and keep it for each."""
        tenants = [row.tenant_id for row in rows]
        installations = Installation.objects.filter(
            plugin_id=self.scope.plugin_id, tenant_id__in=tenants
        )
        # Locked: two plans that raise the same fence at once must not end on the same number.
        fences = dict(installations.select_for_update().values_list("tenant_id", "fence"))
        if missing := [tenant for tenant in tenants if tenant not in fences]:
            Installation.objects.bulk_create(
                [
                    Installation(plugin_id=self.scope.plugin_id, tenant_id=tenant)
                    for tenant in missing
                ],
                ignore_conflicts=True,
            )
            fences = dict(installations.select_for_update().values_list("tenant_id", "fence"))
        last = max(fences.values(), default=0)
        fence = max(last + 1, int(now.timestamp() * 1000))
        installations.update(fence=fence)
        return fence

    def _calls_before(self, ids: Sequence[int]) -> dict[int, DeployerCall]:
        """Return the last call in this direction of each tenant that has one."""
        calls = DeployerCall.objects.filter(
            upgrade_id__in=ids, direction=self.scope.direction
        ).order_by("pk")
        return {call.upgrade_id: call for call in calls}

    def late_calls(self, upgrade_ids: Sequence[int]) -> dict[int, datetime]:
        """Return until when forward calls of these tenants may still be applied."""
        calls = DeployerCall.objects.filter(
            upgrade_id__in=upgrade_ids, direction=DeployerCall.INSTALL, outcome__in=("", "unknown")
        )
        late: dict[int, datetime] = {}
        for call in calls:
            until = settle_time(
                call.started_at, call_timeout=self.scope.call_timeout, outcome=call.outcome
            )
            if until is not None:
                late[call.upgrade_id] = max(until, late.get(call.upgrade_id, until))
        return late

    def _tasks(self, rows: Sequence[TenantUpgrade], fence: int) -> list[Task]:
        ids = [row.pk for row in rows]
        restoring = self.scope.direction == "restore"
        repeats = self._calls_before(ids)
        late = self.late_calls(ids) if restoring else {}
        tasks: list[Task] = []
        for row in rows:
            before = repeats.get(row.pk)
            generation = row.generation + 1
            reason = ""
            if before is not None:
                reason = f"after a call that ended {before.outcome}: {before.answer}"[:200]
            tasks.append(
                Task(
                    upgrade_id=row.pk,
                    tenant=row.tenant_key,
                    direction=self.scope.direction,
                    generation=generation,
                    key=f"{self.scope.plan_id}:{row.tenant_key}:{self.scope.direction}:{generation}",
                    fence=fence,
                    version=row.version_before if restoring else self.scope.target_version,
                    digest="" if restoring else self.scope.target_digest,
                    config=row.config_before if restoring else None,
                    version_before=row.version_before,
                    touched=row.touched_at is not None,
                    late_calls=row.pk in late,
                    reason=reason,
                )
            )
        return tasks
