"""What the ledger's writer does inside one transaction: claim, journal, record, tell the trail."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import F

from batches.alerting.digest_alerts import tell_foreign_digests
from batches.alerting.found_alerts import found_words, tell_found
from batches.break_glass.offline_file import Touched
from batches.effects import ledger_statements as statements
from batches.effects.going_on_calling import GoingOn
from batches.effects.ledger_claims import Claims, Notes, Scope
from batches.effects.pace_notes import note_durations
from batches.effects.ports import CallEnd, CallStart, Outcome, Task
from batches.effects.seen import foreign_digest, short_digest
from batches.lifecycle import TENANT_UPGRADE
from batches.models import DeployerCall, Rollback, TenantUpgrade
from batches.runtime import surroundings
from plans.models import Installation, Plan
from plans.trail import events
from plans.trail.commit_notice import notify

MEASURE_SECONDS = 1.0
STAMP_OF_MOVE = {"confirm": "upgraded_at", "restored": "restored_at"}


class Writes:
    """The operations of one run; every method runs inside the caller's transaction."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.claims = Claims(scope)
        self.went_on = True
        # Tenants whose first call the last transaction announced, as they were.
        self.first_touched: list[Touched] = []
        self._notes = Notes()
        self._durations: list[float] = []
        self._plan: Plan | None = None
        self._unmeasured: list[float] = []
        self._measured_at = -math.inf
        self._written = False
        self._called = False
        self._first_call_noted = False
        # Rows of the journal of which nobody knows whether they were written.
        self._doubtful: set[tuple[str, int]] = set()
        self._going_on = GoingOn(scope)
        plan = Plan.objects.select_for_update(no_key=True).filter(pk=scope.plan_id)
        self._plan_held = statements.Question(plan.order_by().values_list("pk"))

    def committed(self) -> None:
        """Keep in mind what the transaction did, now that it has happened."""
        self.claims.committed()
        self._doubtful.clear()
        self._unmeasured = [] if self._written else [*self._unmeasured, *self._durations]
        if self._written:
            self._measured_at = surroundings.here().monotonic()
        self._first_call_noted = self._first_call_noted or self._called

    def flush(self) -> None:
        """Write down the durations that wait; in the caller's transaction."""
        note_durations(self.scope.deployer, self.scope.direction, self._unmeasured)

    def may_go_on(self) -> bool:
        """Tell whether calls are still wanted from this run."""
        return self._going_on.is_wanted()

    def apply(self, operations: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """Apply operations in order: facts first in the database, one event for all of them."""
        # Like every change of a plan: nobody stops, restores or settles it between look and write.
        self._plan_held.ask()
        self._plan = self._plan or Plan.objects.get(pk=self.scope.plan_id)
        now = surroundings.here().now()
        self._notes, self._durations, self.first_touched = Notes(), [], []
        self._written = self._called = False
        self.claims.begin(self._notes)
        self.went_on = self.may_go_on()
        results: list[Any] = [None] * len(operations)
        grouped: dict[str, list[tuple[int, Any]]] = defaultdict(list)
        for index, (name, items) in enumerate(operations):
            if name == "claim":
                results[index] = self.claims.claim(items[0], now) if self.went_on else []
            else:
                results[index] = [None] * len(items)
                grouped[name].extend((index, item) for item in items)
        for name, apply_all in (
            ("record", self._record),
            ("begin", self._begin),
            ("settle", self._settle),
            ("renew", self._renew),
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

    def _renew(self, tasks: Sequence[Task], now: datetime) -> list[Task | None]:
        return self.claims.renew(tasks, now) if self.went_on else [None] * len(tasks)

    # The journal.

    def _begin(self, starts: Sequence[CallStart], now: datetime) -> list[int | None]:
        if not self.went_on or self.claims.budget_exceeded():
            return [None] * len(starts)
        state = "upgrading" if self.scope.direction == "install" else "restoring"
        current = statements.generations([start.task.upgrade_id for start in starts], state)
        allowed = [s for s in starts if current.get(s.task.upgrade_id) == s.task.generation]
        if self.scope.direction == "install":
            allowed = self._not_going_back(allowed)
        ids = self._written_before(allowed)
        new = [start for start in allowed if _row_of(start) not in ids]
        ids |= statements.journal(
            new, plan_id=self.scope.plan_id, executor=self.scope.executor, now=now
        )
        self.first_touched += [
            Touched(
                start.task.tenant,
                start.version_before,
                start.config_before,
                now,
                start.digest_before,
            )
            for start in allowed
            if self._is_first(start)
        ]
        self._mark_touched(new, now)
        self._note_first_call(now)
        return [ids.get(_row_of(start)) for start in starts]

    def _written_before(self, starts: Sequence[CallStart]) -> dict[tuple[str, int], int]:
        """Return the rows that are there: a commit's answer was lost, and it is done again.

        Nobody has sent these calls: whoever wants to waits for the answer of this transaction.
        """
        rows = {_row_of(start) for start in starts}
        doubtful = rows & self._doubtful
        self._doubtful |= rows
        if not doubtful:
            return {}
        calls = DeployerCall.objects.filter(key__in=[key for key, _attempt in doubtful])
        there = {
            (key, attempt): pk for pk, key, attempt in calls.values_list("pk", "key", "attempt")
        }
        return {row: pk for row, pk in there.items() if row in doubtful}

    def _is_first(self, start: CallStart) -> bool:
        """Tell whether a call is the first one that may change its tenant."""
        return not (self.scope.direction == "restore" or start.task.touched or start.attempt > 1)

    def _not_going_back(self, starts: list[CallStart]) -> list[CallStart]:
        """Leave out first calls of tenants that another plan takes back by now; they come later."""
        first = [start.task for start in starts if not start.task.touched and start.attempt == 1]
        self.claims.hold_installations([task.tenant for task in first])
        back = self.claims.going_back_elsewhere()
        if not back:
            return starts
        late = TenantUpgrade.objects.filter(
            pk__in=[task.upgrade_id for task in first], tenant_id__in=back
        )
        gone = set(late.values_list("pk", flat=True))
        return [start for start in starts if start.task.upgrade_id not in gone]

    def _mark_touched(self, starts: Sequence[CallStart], now: datetime) -> None:
        """Count the attempt; keep version and config as they were before the first forward call."""
        groups: dict[tuple[str, str, str], list[CallStart]] = defaultdict(list)
        again: list[int] = []
        for start in starts:
            if self._is_first(start):
                before = (start.version_before, start.digest_before, repr(start.config_before))
                groups[before].append(start)
            else:
                again.append(start.task.upgrade_id)
        for same in groups.values():
            ids = [start.task.upgrade_id for start in same]
            changed = statements.first_touch(
                ids,
                version=same[0].version_before,
                digest=same[0].digest_before,
                config=same[0].config_before,
                now=now,
            )
            if changed != len(ids):
                kept = TenantUpgrade.objects.filter(pk__in=ids).exclude(touched_at=now)
                again += kept.values_list("pk", flat=True)
        if again:
            statements.count_attempt(again)

    def _note_first_call(self, now: datetime) -> None:
        if self.scope.rollback_id is not None and not self._first_call_noted:
            Rollback.objects.filter(pk=self.scope.rollback_id, first_call_at=None).update(
                first_call_at=now
            )
            self._called = True

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
        statements.end_calls(calls)
        self._durations += [
            (call.ended_at - call.started_at).total_seconds()
            for call in calls
            if call.answer.outcome == "ok"
        ]

    def _observe_installations(self, outcomes: Sequence[Outcome]) -> None:
        seen: dict[tuple[str, str], list[Task]] = defaultdict(list)
        latest: datetime | None = None
        for outcome in outcomes:
            if outcome.observed is not None:
                found = outcome.observed
                seen[found.version, found.digest or ""].append(outcome.task)
                latest = outcome.at
        if latest is None:
            return
        self.claims.hold_installations([task.tenant for tasks in seen.values() for task in tasks])
        self._note_found([outcome.task.tenant for outcome in outcomes if _is_found(outcome)])
        for (version, digest), tasks in seen.items():
            statements.note_seen(
                [task.upgrade_id for task in tasks],
                plugin_id=self.scope.plugin_id,
                version=version,
                digest=digest,
                at=latest,
            )

    def _move_tenants(self, outcomes: Sequence[Outcome], now: datetime) -> None:
        groups: dict[tuple[str, int, str, str, bool], list[Outcome]] = defaultdict(list)
        for outcome in outcomes:
            found = outcome.observed
            version = f"{found.version} {found.digest}" if found is not None else ""
            group = (
                outcome.move or "",
                outcome.task.generation,
                version,
                outcome.error,
                outcome.exhausted,
            )
            groups[group].append(outcome)
        for (move, generation, _seen, error, _exhausted), same in groups.items():
            row = TENANT_UPGRADE.named(move)
            # An outcome of an older intent moves nothing: a newer one has taken over the tenant.
            keys = statements.move(
                [outcome.task.upgrade_id for outcome in same],
                generation=generation,
                sources=row.sources,
                changes=_changes(same[0], now),
            )
            if move == "restored":
                # Nobody can wait for these any more: their time to be applied is over.
                statements.give_up_calls(keys, direction=DeployerCall.INSTALL, now=now)
            self._note_foreign([o for o in same if o.task.upgrade_id in keys])
            for key in keys.values():
                self._notes.moves[key] = row.target or ""
                if error:
                    self._notes.errors[key] = error[:200]

    def _note_found(self, tenants: Sequence[str]) -> None:
        """Note tenants that somebody else upgraded, while it is known what they ran before.

        A console that was restored from a copy meets its own calls so, of which it knows nothing.
        What they ran becomes their recorded way back: a plan may take them there.
        """
        if not tenants:
            return
        believed = Installation.objects.filter(
            plugin_id=self.scope.plugin_id, tenant__key__in=tenants
        ).exclude(version__in=("", self.scope.target_version))
        self._notes.found |= dict(believed.order_by().values_list("tenant__key", "version"))
        if self._notes.found:
            believed.update(last_stable_version=F("version"))

    def _note_foreign(self, outcomes: Sequence[Outcome]) -> None:
        """Note tenants that count as failed, or as back, with an artifact that nobody signed."""
        for outcome in outcomes:
            if outcome.move in {"fail", "restored"} and foreign_digest(
                outcome.task, outcome.observed
            ):
                self._notes.foreign[outcome.task.tenant] = _foreign_words(outcome)

    def _settle(self, tasks: Sequence[Task], now: datetime) -> list[datetime | None]:
        late = self.claims.late_calls([task.upgrade_id for task in tasks])
        return [late.get(task.upgrade_id) for task in tasks]

    # What everybody may know.

    def _measure(self) -> None:
        """Write durations once a second at most: the row holds 200 of them."""
        waiting = [*self._unmeasured, *self._durations]
        if waiting and surroundings.here().monotonic() - self._measured_at >= MEASURE_SECONDS:
            note_durations(self.scope.deployer, self.scope.direction, waiting)
            self._written = True

    def _tell(self, now: datetime) -> None:
        if not self._notes.moves:
            # A live page shows calls and their answers, too.
            notify()
            return
        counts = Counter(self._notes.moves.values())
        parts = [f"{n} {TENANT_UPGRADE.states[state].lower()}" for state, n in counts.items()]
        sentence = f"Tenants: {', '.join(parts)}"
        if self._notes.errors:
            tenant, error = next(iter(self._notes.errors.items()))
            sentence += f"; {tenant} {error}"
        if self._notes.superseded and self.scope.rollback_id is not None:
            rollback = Rollback.objects.get(pk=self.scope.rollback_id)
            rollback.superseded = sorted({*rollback.superseded, *self._notes.superseded})
            rollback.save(update_fields=["superseded"])
        if self._notes.foreign:
            plan = Plan.objects.get(pk=self.scope.plan_id)
            tell_foreign_digests(plan, self._notes.foreign, now=now)
        payload: dict[str, Any] = {
            "tenants": dict(self._notes.moves),
            "errors": dict(self._notes.errors),
        }
        if found := {key: v for key, v in self._notes.found.items() if key in self._notes.moves}:
            sentence += f"; {found_words(found)}"
            payload["found"] = found
        events.record(
            stream=self._plan,
            kind="tenants_moved",
            sentence=f"{sentence}.",
            actor=None,
            via=self.scope.executor,
            now=now,
            payload=payload,
        )
        if found:
            plan = Plan.objects.get(pk=self.scope.plan_id)
            tell_found(plan, found, target=self.scope.target_version, now=now)


def _is_found(outcome: Outcome) -> bool:
    """Tell whether a tenant is on the target though no call of this plan took it there."""
    return outcome.move == "confirm" and outcome.call is None and not outcome.task.touched


def _foreign_words(outcome: Outcome) -> str:
    if outcome.move == "fail":
        return outcome.error
    seen = outcome.observed.digest if outcome.observed is not None else ""
    return (
        f"is back on {outcome.task.version} with another digest than"
        f" {short_digest(outcome.task.digest)}: {short_digest(seen or '')}"
    )


def _row_of(start: CallStart) -> tuple[str, int]:
    """Return what a call's row of the journal is known by."""
    return start.task.key, start.attempt


def _changes(outcome: Outcome, now: datetime) -> dict[str, Any]:
    """Return what a move changes in the tenant's row."""
    move = outcome.move or ""
    changes: dict[str, Any] = {"state": TENANT_UPGRADE.named(move).target}
    if outcome.error or move == "confirm":
        # Who was taken back keeps the reason why.
        changes["last_error"] = outcome.error
    if outcome.observed is not None and outcome.observed.version:
        changes |= {
            "version_observed": outcome.observed.version,
            "digest_observed": outcome.observed.digest or "",
            "observed_at": outcome.at,
        }
    if move in STAMP_OF_MOVE:
        changes[STAMP_OF_MOVE[move]] = outcome.at
    if outcome.exhausted:
        changes["exhausted_at"] = now
    return changes
