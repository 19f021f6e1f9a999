"""What the ledger hands out: claims of tenants, each a new intent with a generation and a fence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import F, QuerySet

from batches.effects import ledger_statements as statements
from batches.effects.ports import Direction, Task, settle_time
from batches.lifecycle import TENANT_UPGRADE
from batches.models import DeployerCall, TenantUpgrade
from batches.models.batch import TenantUpgradeQuerySet
from batches.rollout.pacing import calls_allowed
from plans.models import Installation, Plan, Release

FAILED_STATES = ("failed", "unknown", "restoring", "rolled_back", "needs_hand", "excluded")


@dataclass(frozen=True, slots=True)
class Scope:
    """Which tenants one run may claim, and what must stay true for it to go on.

    `batch_id`: only that batch's tenants. `rollback_id`: a restore under that record.
    `drill_id`: a drill, with the `states` that may be claimed for it. `closes_at`: when the
    policy's windows close, which ends forward calls and never a restore. `failures_allowed`: what
    the failure budget of the batch allows, None where it does not count. `lease_lost` tells
    whether this process must not act any more.
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
    parallelism: int = 1
    failures_allowed: int | None = None
    newest_first: bool = True
    triggered_at: datetime | None = None
    drill_id: Any = None
    states: tuple[str, ...] = ()
    closes_at: datetime | None = None


@dataclass(slots=True)
class Notes:
    """What one transaction has to tell the trail."""

    moves: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    superseded: list[str] = field(default_factory=list)
    foreign: dict[str, str] = field(default_factory=dict)
    """Tenants that show the wanted version with another digest, and a clause about it."""
    found: dict[str, str] = field(default_factory=dict)
    """Tenants that were on the target already, and the version that was believed there."""


class Row(NamedTuple):
    """What a claim needs to know of a tenant upgrade; models by the hundred would cost more."""

    pk: int
    tenant_id: Any
    tenant_key: str
    state: str
    generation: int
    exhausted_at: datetime | None
    touched_at: datetime | None
    version_before: str
    digest_before: str
    config_before: object | None


class Claims:
    """The claims of one run; each method runs inside the caller's transaction, the plan locked."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.claimed: set[int] = set()
        self.claimed_now: set[int] = set()
        self.notes = Notes()
        self._ways_back: dict[Any, str] = {}
        others = Plan.objects.filter(plugin_id=scope.plugin_id, state="rolling_back")
        self._others_going_back = statements.Question(
            others.exclude(pk=scope.plan_id).values_list("pk")
        )
        self._failed_in_batch: statements.Question | None = None
        self._signed: dict[str, str] = {}

    def begin(self, notes: Notes) -> None:
        """Forget what a transaction that failed has noted; nothing of it has happened."""
        self.notes, self.claimed_now = notes, set()

    def committed(self) -> None:
        """Keep what the transaction claimed, now that it has happened."""
        self.claimed |= self.claimed_now

    def claim(self, limit: int, now: datetime) -> list[Task]:
        """Claim up to `limit` tenants with one new fence."""
        limit = self._within_budget(limit)
        rows = self._claimable(limit) if limit else []
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
        changed = statements.claim(ids, state=target, fence=fence, now=now)
        if changed != len(rows):
            raise RuntimeError(f"claimed {changed} of {len(rows)} tenants")
        self.claimed_now.update(ids)
        if self.scope.direction == "restore" and self.scope.rollback_id is None:
            self._quarantine([row.pk for row in rows if self._failed_for_good(row)], now)
        for row in rows:
            self.notes.moves[row.tenant_key] = target
        return self._tasks(rows, fence)

    def _within_budget(self, limit: int) -> int:
        """Return how many may be claimed beside those under way, by what the failure budget leaves.

        None once it is exceeded: the watch or a person says what becomes of the rest.
        """
        failed = self._failed()
        if not failed:
            return limit
        wide = calls_allowed(self.scope.parallelism, failed, self.scope.failures_allowed)
        under_way = set(self._in_batch().filter(state="upgrading").values_list("pk", flat=True))
        return max(0, min(limit, wide - len(under_way & (self.claimed | self.claimed_now))))

    def budget_exceeded(self) -> bool:
        """Tell whether more tenants of the batch have failed than may."""
        allowed = self.scope.failures_allowed
        return allowed is not None and self._failed() > allowed

    def _failed(self) -> int:
        """Return how many tenants of the batch failed; 0 where no budget counts."""
        if self.scope.failures_allowed is None:
            return 0
        if self._failed_in_batch is None:
            # Nobody of these is on target; in a good rollout the index finds none.
            failed = self._in_batch().filter(state__in=FAILED_STATES, exhausted_at__isnull=False)
            self._failed_in_batch = statements.Question(failed.order_by().values_list("pk"))
        return len(self._failed_in_batch.ask())

    def _in_batch(self) -> TenantUpgradeQuerySet:
        """Return the tenants of the batch that a failure budget is about."""
        if self.scope.batch_id is None:
            raise ValueError("A failure budget belongs to a batch.")
        return TenantUpgrade.objects.filter(batch_id=self.scope.batch_id)

    def _failed_for_good(self, row: Row) -> bool:
        """Tell whether a tenant goes back since it failed: a drill takes one back that did not."""
        return self.scope.drill_id is None or row.exhausted_at is not None

    @staticmethod
    def _quarantine(ids: Sequence[int], now: datetime) -> None:
        """Mark tenants that failed and go back alone, while their batch goes on."""
        TenantUpgrade.objects.filter(pk__in=ids).exclude(
            set_aside=TenantUpgrade.QUARANTINED
        ).update(
            set_aside=TenantUpgrade.QUARANTINED, set_aside_at=now, set_aside_why=F("last_error")
        )

    def renew(self, tasks: Sequence[Task], now: datetime) -> list[Task | None]:
        """Give tenants a new intent under the claim that this run holds already."""
        mine = {(task.upgrade_id, task.generation) for task in tasks}
        known = TenantUpgrade.objects.filter(
            pk__in=[task.upgrade_id for task in tasks], state="restoring"
        )
        rows = [row for row in _rows(known) if (row.pk, row.generation) in mine]
        if not rows:
            return [None] * len(tasks)
        fence = self._raise_fences(rows, now)
        TenantUpgrade.objects.filter(pk__in=[row.pk for row in rows]).update(
            generation=F("generation") + 1, fence=fence
        )
        renewed = {task.upgrade_id: task for task in self._tasks(rows, fence)}
        return [renewed.get(task.upgrade_id) for task in tasks]

    def _claimable(self, limit: int) -> list[Row]:
        scope = self.scope
        upgrades = TenantUpgrade.objects.filter(plan_id=scope.plan_id)
        if scope.batch_id is not None:
            upgrades = upgrades.filter(batch_id=scope.batch_id)
        if scope.tenants:
            upgrades = upgrades.filter(tenant_key__in=scope.tenants)
        if scope.drill_id is not None:
            wanted = upgrades.filter(state__in=scope.states)
            if scope.direction == "install":
                wanted = wanted.filter(exhausted_at=None)
            order: tuple[str, ...] = ("position",)
        elif scope.direction == "install":
            # What a lost executor left as upgrading is adopted; what failed for good is not.
            wanted = upgrades.filter(
                state__in=("pending", "unknown", "upgrading"), exhausted_at=None
            )
            order = ("position",)
        elif scope.rollback_id is None:
            # What a stop left unknown is called again at the next opening, not taken back.
            wanted = (
                upgrades.touched()
                .filter(state__in=("failed", "unknown", "restoring"))
                .exclude(state="unknown", exhausted_at=None)
            )
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
        if scope.direction == "install" and (going_back := self.going_back_elsewhere()):
            wanted = wanted.exclude(tenant_id__in=going_back, touched_at=None)
        if mine:
            wanted = wanted.exclude(pk__in=statements.in_list(mine))
        return _rows(wanted.order_by(*order)[:limit])

    def going_back_elsewhere(self) -> set[Any]:
        """Return the tenants that another plan of the plugin takes back now: this one waits.

        Its reservation alone does not keep them apart: a plan that had ended has let them go.
        """
        plans = [plan_id for (plan_id,) in self._others_going_back.ask()]
        if not plans:
            return set()
        rows = TenantUpgrade.objects.filter(plan_id__in=plans).to_restore()
        return set(rows.values_list("tenant_id", flat=True))

    def hold_installations(self, tenant_keys: Sequence[str]) -> None:
        """Lock rows that plans share in one order, so that two chunks never wait crosswise."""
        if tenant_keys and connection.features.has_select_for_update:
            rows = Installation.objects.filter(
                plugin_id=self.scope.plugin_id, tenant__key__in=tenant_keys
            )
            ordered = rows.select_for_update(no_key=True, of=("self",)).order_by("pk")
            list(ordered.values_list("pk", flat=True))

    def _leave_superseded_alone(self, rows: list[Row]) -> list[Row]:
        """Exclude tenants that a newer plan has moved on: a restore would undo that plan."""
        self.hold_installations([row.tenant_key for row in rows])
        started = Plan.objects.values_list("started_at", flat=True).get(pk=self.scope.plan_id)
        newer = set(
            TenantUpgrade.objects.touched()
            .filter(
                tenant_id__in=_tenants_of(rows),
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
            set_aside="",
            last_error="left alone: a newer plan has moved this tenant on",
        )
        for row in gone:
            self.notes.moves[row.tenant_key] = "excluded"
            self.notes.superseded.append(row.tenant_key)
        return [row for row in rows if row.tenant_id not in newer]

    def _close_calls_of(self, orphans: Sequence[Row], now: datetime) -> None:
        """End the open calls of a lost executor as unknown; nobody can tell what they did."""
        if orphans:
            DeployerCall.objects.filter(
                upgrade_id__in=[row.pk for row in orphans],
                direction=self.scope.direction,
                ended_at=None,
            ).update(
                ended_at=now, outcome="unknown", answer="its executor was lost before the answer"
            )

    def _raise_fences(self, rows: Sequence[Row], now: datetime) -> int:
        """Return one fence above every earlier one of these tenants, and keep it for each."""
        tenants = [row.tenant_id for row in rows]
        installations = Installation.objects.filter(
            plugin_id=self.scope.plugin_id, tenant_id__in=_tenants_of(rows)
        )
        # Locked: two plans that raise the same fence at once must not end on the same number.
        locked = installations.select_for_update(no_key=True).order_by("pk")
        fences: dict[Any, int] = {}
        for tenant, seen, stable in locked.values_list("tenant_id", "fence", "last_stable_version"):
            fences[tenant], self._ways_back[tenant] = seen, stable
        if missing := [tenant for tenant in tenants if tenant not in fences]:
            Installation.objects.bulk_create(
                [
                    Installation(plugin_id=self.scope.plugin_id, tenant_id=tenant)
                    for tenant in missing
                ],
                ignore_conflicts=True,
            )
            fences = dict(locked.all().values_list("tenant_id", "fence"))
        last = max(fences.values(), default=0)
        fence = max(last + 1, int(now.timestamp() * 1000))
        installations.update(fence=fence)
        return fence

    def _calls_before(self, ids: Sequence[int]) -> dict[int, tuple[str, str]]:
        """Return how the last call in this direction of each tenant that has one ended."""
        calls = DeployerCall.objects.filter(
            upgrade_id__in=statements.in_list(ids), direction=self.scope.direction
        ).order_by("pk")
        known = calls.values_list("upgrade_id", "outcome", "answer")
        return {upgrade_id: (outcome, answer) for upgrade_id, outcome, answer in known}

    def late_calls(self, upgrade_ids: Sequence[int]) -> dict[int, datetime]:
        """Return until when forward calls of these tenants may still be applied."""
        calls = DeployerCall.objects.filter(
            upgrade_id__in=statements.in_list(upgrade_ids),
            direction=DeployerCall.INSTALL,
            outcome__in=("", "unknown"),
        )
        late: dict[int, datetime] = {}
        known = calls.order_by().values_list("upgrade_id", "started_at", "outcome")
        for upgrade_id, started_at, outcome in known:
            until = settle_time(started_at, call_timeout=self.scope.call_timeout, outcome=outcome)
            if until is not None:
                late[upgrade_id] = max(until, late.get(upgrade_id, until))
        return late

    def _signed_digests(self, rows: Sequence[Row]) -> dict[str, str]:
        """Return the digests of the versions to go back to, as far as they are registered."""
        versions = {row.version_before for row in rows}
        if new := versions - self._signed.keys():
            releases = Release.objects.filter(plugin_id=self.scope.plugin_id, version__in=new)
            known = dict(releases.values_list("version", "digest"))
            self._signed |= {version: known.get(version, "") for version in new}
        return {version: self._signed[version] for version in versions if self._signed[version]}

    def _tasks(self, rows: Sequence[Row], fence: int) -> list[Task]:
        ids = [row.pk for row in rows]
        restoring = self.scope.direction == "restore"
        signed = self._signed_digests(rows) if restoring else {}
        repeats = self._calls_before(ids)
        late = self.late_calls(ids) if restoring else {}
        tasks: list[Task] = []
        for row in rows:
            before = repeats.get(row.pk)
            generation = row.generation + 1
            reason = ""
            if before is not None:
                outcome, answer = before
                reason = f"after a call that ended {outcome}: {answer}"[:200]
            tasks.append(
                Task(
                    upgrade_id=row.pk,
                    tenant=row.tenant_key,
                    direction=self.scope.direction,
                    generation=generation,
                    key=f"{self.scope.plan_id}:{row.tenant_key}:{self.scope.direction}:{generation}",
                    fence=fence,
                    version=row.version_before if restoring else self.scope.target_version,
                    digest=signed.get(row.version_before, row.digest_before)
                    if restoring
                    else self.scope.target_digest,
                    way_back=self._ways_back.get(row.tenant_id, ""),
                    config=row.config_before if restoring else None,
                    version_before=row.version_before,
                    touched=row.touched_at is not None,
                    late_calls=row.pk in late,
                    reason=reason,
                )
            )
        return tasks


def _rows(upgrades: TenantUpgradeQuerySet) -> list[Row]:
    return [Row(*values) for values in upgrades.values_list(*Row._fields)]


def _tenants_of(rows: Sequence[Row]) -> QuerySet[TenantUpgrade, Any]:
    chunk = TenantUpgrade.objects.filter(pk__in=statements.in_list([row.pk for row in rows]))
    return chunk.order_by().values("tenant_id")
