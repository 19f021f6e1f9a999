"""What the ledger's writer does inside one transaction: claim, journal, record, tell the trail."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import F, Max
from django.utils import timezone

from batches.effect_ports import CallEnd, CallStart, Direction, Outcome, Task
from batches.effects import settle_time
from batches.lifecycle import TENANT_UPGRADE
from batches.models import Batch, DeployerCall, DeployerMeasurement, Rollback, TenantUpgrade
from plans import events, flags
from plans.models import Installation, Plan

MEASURED_CALLS = 200
"""How many of the newest durations a deployer's measurement keeps."""


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


class Writes:
    """The operations of one run; every method runs inside the caller's transaction."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.claimed: set[int] = set()
        self.went_on = True
        self._moves: dict[str, str] = {}
        self._errors: dict[str, str] = {}
        self._durations: list[float] = []
        self._superseded: list[str] = []

    def may_go_on(self) -> bool:
        """Tell whether new intents and calls are still wanted from this run."""
        if self.scope.lease_lost():
            return False
        if self.scope.rollback_id is not None:
            return Rollback.objects.filter(pk=self.scope.rollback_id, finished_at=None).exists()
        plan = Plan.objects.filter(
            pk=self.scope.plan_id, state="running", epoch=self.scope.epoch
        ).exists()
        batch = Batch.objects.filter(plan_id=self.scope.plan_id, state="deploying")
        if not plan or self.scope.batch_id not in batch.values_list("pk", flat=True):
            return False
        return self.scope.direction == "restore" or flags.is_on(flags.ORCHESTRATOR)

    def apply(self, operations: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Apply operations in order: facts first in the database, one event for all of them."""
        now = timezone.now()
        self.went_on = self.may_go_on()
        results: list[Any] = [None] * len(operations)
        grouped: dict[str, list[tuple[int, Any]]] = defaultdict(list)
        for index, (name, items) in enumerate(operations):
            if name == "claim":
                results[index] = self._claim(items[0], now) if self.went_on else []
            else:
                results[index] = [None] * len(items)
                grouped[name].extend((index, item) for item in items)
        for name, apply_all in (
            ("record", self._record),
            ("begin", self._begin),
            ("settle", self._settle),
        ):
            entries = grouped.get(name, [])
            if not entries:
                continue
            answers = apply_all([item for _index, item in entries], now)
            places: Counter[int] = Counter()
            for (index, _item), answer in zip(entries, answers, strict=True):
                results[index][places[index]] = answer
                places[index] += 1
        self._measure()
        self._tell(now)
        return results

    # Claims.

    def _claim(self, limit: int, now: datetime) -> list[Task]:
        rows = self._claimable(limit)
        if not rows:
            return []
        if self.scope.direction == "restore":
            rows = self._leave_superseded_alone(rows)
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
        self.claimed.update(ids)
        for row in rows:
            self._moves[row.tenant_key] = target
        repeats = self._calls_before(ids)
        return [self._task(row, fence, repeats.get(row.pk)) for row in rows]

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
        return list(wanted.exclude(pk__in=self.claimed).order_by(*order)[:limit])

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
            self._moves[row.tenant_key] = "excluded"
            self._superseded.append(row.tenant_key)
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
        known = set(installations.values_list("tenant_id", flat=True))
        Installation.objects.bulk_create(
            [
                Installation(plugin_id=self.scope.plugin_id, tenant_id=tenant)
                for tenant in tenants
                if tenant not in known
            ]
        )
        last = installations.aggregate(last=Max("fence"))["last"] or 0
        fence = max(last + 1, int(now.timestamp() * 1000))
        installations.update(fence=fence)
        return fence

    def _calls_before(self, ids: Sequence[int]) -> dict[int, DeployerCall]:
        """Return the last call in this direction of each tenant that has one."""
        calls = DeployerCall.objects.filter(
            upgrade_id__in=ids, direction=self.scope.direction
        ).order_by("pk")
        return {call.upgrade_id: call for call in calls}

    def _late_calls(self, upgrade_ids: Sequence[int]) -> dict[int, datetime]:
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

    def _task(self, row: TenantUpgrade, fence: int, before: DeployerCall | None) -> Task:
        restoring = self.scope.direction == "restore"
        generation = row.generation + 1
        reason = ""
        if before is not None:
            reason = f"after a call that ended {before.outcome}: {before.answer}"[:200]
        return Task(
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
            late_calls=restoring and bool(self._late_calls([row.pk])),
            reason=reason,
        )

    # The journal.

    def _begin(self, starts: Sequence[CallStart], now: datetime) -> list[int | None]:
        if not self.went_on:
            return [None] * len(starts)
        state = "upgrading" if self.scope.direction == "install" else "restoring"
        current = dict(
            TenantUpgrade.objects.select_for_update()
            .filter(pk__in=[start.task.upgrade_id for start in starts], state=state)
            .values_list("pk", "generation")
        )
        allowed = [s for s in starts if current.get(s.task.upgrade_id) == s.task.generation]
        calls = DeployerCall.objects.bulk_create(
            [
                DeployerCall(
                    plan_id=self.scope.plan_id,
                    upgrade_id=start.task.upgrade_id,
                    direction=self.scope.direction,
                    generation=start.task.generation,
                    attempt=start.attempt,
                    key=start.task.key,
                    fence=start.task.fence,
                    version=start.task.version,
                    executor=self.scope.executor,
                    reason=start.reason,
                    started_at=now,
                )
                for start in allowed
            ]
        )
        self._mark_touched(allowed, now)
        TenantUpgrade.objects.filter(pk__in=[s.task.upgrade_id for s in allowed]).update(
            attempts=F("attempts") + 1
        )
        self._note_first_call(now)
        ids = {id(start): call.pk for start, call in zip(allowed, calls, strict=True)}
        return [ids.get(id(start)) for start in starts]

    def _mark_touched(self, starts: Sequence[CallStart], now: datetime) -> None:
        """Keep version and config as they were right before the first forward call."""
        if self.scope.direction == "restore":
            return
        groups: dict[tuple[str, str], list[CallStart]] = defaultdict(list)
        for start in starts:
            if not start.task.touched:
                groups[start.version_before, repr(start.config_before)].append(start)
        for same in groups.values():
            TenantUpgrade.objects.filter(
                pk__in=[start.task.upgrade_id for start in same], touched_at=None
            ).update(
                touched_at=now,
                version_before=same[0].version_before,
                config_before=same[0].config_before,
            )

    def _note_first_call(self, now: datetime) -> None:
        if self.scope.rollback_id is not None:
            Rollback.objects.filter(pk=self.scope.rollback_id, first_call_at=None).update(
                first_call_at=now
            )

    # Facts.

    def _record(self, outcomes: Sequence[Outcome], now: datetime) -> list[None]:
        self._end_calls([outcome.call for outcome in outcomes if outcome.call is not None])
        self._observe_installations(outcomes)
        self._move_tenants([outcome for outcome in outcomes if outcome.move is not None], now)
        for outcome in outcomes:
            if outcome.error and outcome.move is None:
                TenantUpgrade.objects.filter(
                    pk=outcome.task.upgrade_id, generation=outcome.task.generation
                ).update(last_error=outcome.error)
        return [None] * len(outcomes)

    def _end_calls(self, calls: Sequence[CallEnd]) -> None:
        if not calls:
            return
        adapt = connection.ops.adapt_datetimefield_value
        with connection.cursor() as cursor:
            # A call that was given up as lost keeps that outcome: its tenant was looked at since.
            cursor.executemany(
                "UPDATE batches_deployercall SET started_at = %s, ended_at = %s, outcome = %s,"
                " status = %s, answer = %s WHERE id = %s AND ended_at IS NULL",
                [
                    (
                        adapt(call.started_at),
                        adapt(call.ended_at),
                        call.answer.outcome,
                        call.answer.status,
                        call.answer.text[:500],
                        call.call_id,
                    )
                    for call in calls
                ],
            )
        self._durations += [
            (call.ended_at - call.started_at).total_seconds()
            for call in calls
            if call.answer.outcome == "ok"
        ]

    def _observe_installations(self, outcomes: Sequence[Outcome]) -> None:
        seen: dict[str, list[str]] = defaultdict(list)
        latest: datetime | None = None
        for outcome in outcomes:
            if outcome.observed is not None:
                seen[outcome.observed.version].append(outcome.task.tenant)
                latest = outcome.at
        for version, tenants in seen.items():
            Installation.objects.filter(
                plugin_id=self.scope.plugin_id, tenant__key__in=tenants
            ).update(version=version, observed_at=latest)

    def _move_tenants(self, outcomes: Sequence[Outcome], now: datetime) -> None:
        groups: dict[tuple[str, int, str, str, bool], list[Outcome]] = defaultdict(list)
        for outcome in outcomes:
            version = outcome.observed.version if outcome.observed is not None else ""
            group = (
                outcome.move or "",
                outcome.task.generation,
                version,
                outcome.error,
                outcome.exhausted,
            )
            groups[group].append(outcome)
        for (move, generation, version, error, exhausted), same in groups.items():
            row = TENANT_UPGRADE.named(move)
            rows = TenantUpgrade.objects.select_for_update().filter(
                pk__in=[outcome.task.upgrade_id for outcome in same],
                generation=generation,
                state__in=row.sources,
            )
            # An outcome of an older intent moves nothing: a newer one has taken over the tenant.
            keys = dict(rows.values_list("pk", "tenant_key"))
            changes: dict[str, Any] = {"state": row.target, "last_error": error}
            if version:
                changes |= {"version_observed": version, "observed_at": same[0].at}
            if move == "confirm":
                changes["upgraded_at"] = same[0].at
            if move == "restored":
                changes["restored_at"] = same[0].at
            if exhausted:
                changes["exhausted_at"] = now
            changed = TenantUpgrade.objects.filter(pk__in=list(keys)).update(**changes)
            if changed != len(keys):
                raise RuntimeError(f"moved {changed} of {len(keys)} tenants")
            for key in keys.values():
                self._moves[key] = row.target or ""
                if error:
                    self._errors[key] = error[:200]

    def _settle(self, tasks: Sequence[Task], now: datetime) -> list[datetime | None]:
        late = self._late_calls([task.upgrade_id for task in tasks])
        return [late.get(task.upgrade_id) for task in tasks]

    # What everybody may know.

    def _measure(self) -> None:
        if not self._durations:
            return
        row, _made = DeployerMeasurement.objects.select_for_update().get_or_create(
            deployer=self.scope.deployer, direction=self.scope.direction
        )
        row.count += len(self._durations)
        row.durations = [*row.durations, *(round(d, 4) for d in self._durations)][-MEASURED_CALLS:]
        row.save()
        self._durations = []

    def _tell(self, now: datetime) -> None:
        if not self._moves:
            return
        plan = Plan.objects.get(pk=self.scope.plan_id)
        counts = Counter(self._moves.values())
        parts = [f"{n} {TENANT_UPGRADE.states[state].lower()}" for state, n in counts.items()]
        sentence = f"Tenants: {', '.join(parts)}"
        if self._errors:
            tenant, error = next(iter(self._errors.items()))
            sentence += f"; {tenant} {error}"
        if self._superseded and self.scope.rollback_id is not None:
            rollback = Rollback.objects.get(pk=self.scope.rollback_id)
            rollback.superseded = sorted({*rollback.superseded, *self._superseded})
            rollback.save()
        events.record(
            stream=plan,
            kind="tenants_moved",
            sentence=f"{sentence}.",
            actor=None,
            via=self.scope.executor,
            now=now,
            payload={"tenants": dict(self._moves), "errors": dict(self._errors)},
        )
        self._moves, self._errors, self._superseded = {}, {}, []
