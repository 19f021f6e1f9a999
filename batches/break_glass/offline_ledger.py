"""A ledger for the effect loop when the database is away: intents from a break-glass file.

What is done is written to a record beside it before and after each call, for the trail later. No
Django and no database here.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from batches.break_glass.offline_file import OfflinePlan, append, restore_key
from batches.deployers import Observed
from batches.effects.ports import CallStart, Clock, Outcome, Task, settle_time

FIRST_GENERATION = 1_000_000_000
"""Above every generation of the database, so that no key was ever used before."""


class OfflineLedger:
    """Hands each touched tenant out once, as a restore."""

    def __init__(
        self,
        plan: OfflinePlan,
        *,
        tenants: Sequence[str],
        record: Path,
        key: bytes,
        clock: Clock,
    ) -> None:
        self.restored: list[str] = []
        self.left: dict[str, str] = {}
        self._plan, self._record, self._key, self._clock = plan, record, key, clock
        self._waiting = list(tenants)
        # A second replay must not repeat the keys of the first.
        self._generation = FIRST_GENERATION + int(clock.now().timestamp())
        self._calls = 0
        self._tasks: dict[int, Task] = {}

    async def claim_many(self, limit: int) -> Sequence[Task]:
        """Return restores of tenants that were not handed out yet."""
        claimed, self._waiting = self._waiting[:limit], self._waiting[limit:]
        return [self._task(tenant, self._generation) for tenant in claimed]

    def _task(self, tenant: str, generation: int, reason: str = "") -> Task:
        touched = self._plan.touched[tenant]
        return Task(
            upgrade_id=0,
            tenant=tenant,
            direction="restore",
            generation=generation,
            key=restore_key(self._plan.plan, tenant, "restore", generation),
            fence=int(self._clock.now().timestamp() * 1000),
            version=touched.version_before,
            digest=touched.digest_before,
            config=touched.config_before,
            version_before=touched.version_before,
            touched=True,
            late_calls=self._settles(tenant) is not None,
            reason=reason,
        )

    def _settles(self, tenant: str) -> datetime | None:
        until = settle_time(
            self._plan.touched[tenant].at, call_timeout=self._plan.call_timeout, outcome=""
        )
        return until if until is not None and until > self._clock.now() else None

    async def begin_calls(self, starts: Sequence[CallStart]) -> Sequence[int | None]:
        """Write each call into the record before it is sent; a call that is not there is not sent.

        Raises OSError.
        """
        ids: list[int | None] = []
        lines: list[dict[str, Any]] = []
        for start in starts:
            self._calls += 1
            self._tasks[self._calls] = start.task
            lines.append(
                {
                    **self._line("call", start.task),
                    "call": self._calls,
                    "attempt": start.attempt,
                    "reason": start.reason,
                }
            )
            ids.append(self._calls)
        self._write(lines)
        return ids

    async def record_many(self, outcomes: Sequence[Outcome]) -> None:
        """Write how calls and tenants ended."""
        lines: list[dict[str, Any]] = []
        for outcome in outcomes:
            line = self._line("outcome", outcome.task) | {"move": outcome.move or ""}
            if isinstance(outcome.observed, Observed):
                line["observed"] = outcome.observed.version
            if outcome.error:
                line["error"] = outcome.error
            if outcome.call is not None:
                line |= {
                    "call": outcome.call.call_id,
                    "outcome": outcome.call.answer.outcome,
                    "status": outcome.call.answer.status,
                    "answer": outcome.call.answer.text[:500],
                }
            lines.append(line)
            if outcome.move == "restored":
                self.left.pop(outcome.task.tenant, None)
                self.restored.append(outcome.task.tenant)
            elif outcome.error:
                self.left[outcome.task.tenant] = outcome.error
        self._write(lines)

    async def settles_at(self, task: Task) -> datetime | None:
        """Return until when the tenant's forward call may still be applied."""
        return self._settles(task.tenant)

    async def renew(self, task: Task) -> Task | None:
        """Return a new intent with a key of its own."""
        return replace(self._task(task.tenant, task.generation + 1), late_calls=task.late_calls)

    def stop_requested(self) -> bool:
        """Nobody can ask an offline rollback to stop but by ending it."""
        return False

    def begin(self, *, by: str, reason: str) -> None:
        """Write who takes the plan back and why. Raises OSError."""
        self._write([self._fact("begun") | {"by": by, "reason": reason}])

    def end(self) -> None:
        """Write that the replay is over."""
        self._write(
            [self._fact("ended") | {"restored": sorted(set(self.restored)), "left": self.left}]
        )

    def _fact(self, line: str) -> dict[str, Any]:
        return {"line": line, "plan": self._plan.plan, "at": self._clock.now().isoformat()}

    def _line(self, line: str, task: Task) -> dict[str, Any]:
        return self._fact(line) | {
            "tenant": task.tenant,
            "key": task.key,
            "fence": task.fence,
            "version": task.version,
        }

    def _write(self, lines: Sequence[dict[str, Any]]) -> None:
        append(self._record, lines, key=self._key)
        handle = os.open(self._record, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
