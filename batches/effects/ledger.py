"""The effect loop's ledger in the database: one writer thread, short transactions, whole chunks.

The loop's coroutines hand in single operations; the writer takes everything that waits (up to
100 rows) and writes it in one transaction with one event. While it writes, the next operations
gather: under load the chunks grow by themselves. Facts alone wait a moment for more of their kind;
claims and calls, for which somebody waits, never do.
"""

import asyncio
import queue
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connections, transaction

from batches.break_glass import offline
from batches.effects.ledger_claims import Scope
from batches.effects.ledger_writes import Writes
from batches.effects.ports import CallStart, Outcome, Task
from batches.runtime import free_space, surroundings
from plans.database_away import DATABASE_AWAY
from plans.failpoints import reach

CHUNK_ROWS = 100
IDLE_LOOK_SECONDS = 0.1
BUSY_RETRY_SECONDS = 90.0
COMMITTED = {
    "claim": "ledger.claimed",
    "begin": "ledger.journalled",
    "record": "ledger.recorded",
}
GATHER_SECONDS = 0.05
"""How long facts wait for more facts, so that few tenants do not make one event each."""


@dataclass(slots=True)
class _Operation:
    name: str
    items: Sequence[Any]
    answer: "asyncio.Future[Any]"

    def conclude(self, result: Any, error: BaseException | None) -> None:
        """Give the answer to whoever still waits; in the thread of its event loop."""
        if self.answer.done():
            return
        if error is None:
            self.answer.set_result(result)
        else:
            self.answer.set_exception(error)


def _answer(
    operations: Sequence[_Operation],
    results: Sequence[Any] = (),
    error: BaseException | None = None,
) -> None:
    """Hand all answers of a chunk over in one go: each hand-over wakes the event loop once."""
    answers = results or [None] * len(operations)

    def conclude() -> None:
        for operation, result in zip(operations, answers, strict=True):
            operation.conclude(result, error)

    if operations:
        # An event loop that is closed has nobody left who waits.
        with suppress(RuntimeError):
            operations[0].answer.get_loop().call_soon_threadsafe(conclude)


class DatabaseLedger:
    """A `Ledger` over the tables; one per run. Use as a context manager around the run."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._writes = Writes(scope)
        self._waiting = surroundings.here().mailbox()
        self._stop = False
        self._failure: BaseException | None = None
        self._thread: surroundings.Running | None = None

    def __enter__(self) -> "DatabaseLedger":
        self._thread = surroundings.here().spawn(self._run, name="ledger")
        return self

    def __exit__(self, *exception: object) -> None:
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join()

    # The port.

    async def claim_many(self, limit: int) -> Sequence[Task]:
        """Claim up to `limit` tenants; none when nothing is left, allowed now, or it must stop."""
        tasks: Sequence[Task] = await self._ask("claim", [limit])
        return tasks

    async def begin_calls(self, starts: Sequence[CallStart]) -> Sequence[int | None]:
        """Write the journal rows of calls that are about to be sent."""
        ids: Sequence[int | None] = await self._ask("begin", starts)
        return ids

    async def record_many(self, outcomes: Sequence[Outcome]) -> None:
        """Write the ends of calls and the moves of tenants."""
        await self._ask("record", outcomes)

    async def settles_at(self, task: Task) -> datetime | None:
        """Return until when an earlier forward call of this tenant may still be applied."""
        (answer,) = await self._ask("settle", [task])
        settles: datetime | None = answer
        return settles

    async def renew(self, task: Task) -> Task | None:
        """Return a new intent for the same tenant; None when it is somebody else's by now."""
        (answer,) = await self._ask("renew", [task])
        renewed: Task | None = answer
        return renewed

    def stop_requested(self) -> bool:
        """Tell whether nothing new may start; known to the writer within 0.1 s."""
        return self._stop or self.scope.lease_lost()

    async def _ask(self, name: str, items: Sequence[Any]) -> Any:
        if failure := self._ended_by():
            raise RuntimeError("The ledger's writer has ended.") from failure
        operation = _Operation(name, items, asyncio.get_running_loop().create_future())
        self._waiting.put(operation)
        if failure := self._ended_by():
            # The writer ended between the question and its answer; nobody else will answer it.
            self._fail_waiting(failure)
        return await operation.answer

    def _ended_by(self) -> BaseException | None:
        return self._failure

    # The writer thread.

    def _run(self) -> None:
        try:
            self._work()
            self._patiently(self._flush)
        except BaseException as error:
            # Whoever waits must not wait for ever; the error is raised in the loop.
            self._failure = error
            self._fail_waiting(error)
            raise
        finally:
            connections.close_all()

    def _fail_waiting(self, error: BaseException) -> None:
        while True:
            try:
                operation = self._waiting.get_nowait()
            except queue.Empty:
                return
            if operation is not None:
                _answer([operation], error=error)

    def _work(self) -> None:
        while True:
            try:
                first = self._waiting.get(timeout=IDLE_LOOK_SECONDS)
            except queue.Empty:
                self._stop = not self._patiently(self._writes.may_go_on)
                continue
            if first is None:
                return
            chunk, ending = self._gather(first)
            # Who has left wants no claim any more; what has happened is written all the same.
            wanted = [op for op in chunk if op.name == "record" or not op.answer.cancelled()]
            try:
                results = self._patiently(lambda wanted=wanted: self._write(wanted))
            except BaseException as error:
                _answer(wanted, error=error)
                raise
            _answer(wanted, results)
            if ending:
                return

    def _gather(self, first: _Operation) -> tuple[list[_Operation], bool]:
        """Return what waits, up to a chunk; facts alone are given a moment to become more."""
        chunk, rows = [first], len(first.items)
        until = surroundings.here().monotonic() + GATHER_SECONDS
        while rows < CHUNK_ROWS:
            facts_only = all(operation.name == "record" for operation in chunk)
            left = until - surroundings.here().monotonic()
            try:
                if facts_only and left > 0:
                    operation = self._waiting.get(timeout=left)
                else:
                    operation = self._waiting.get_nowait()
            except queue.Empty:
                break
            if operation is None:
                return chunk, True
            chunk.append(operation)
            rows += len(operation.items)
        return chunk, False

    def _write(self, chunk: Sequence[_Operation]) -> list[Any]:
        reach("ledger.begun")
        with transaction.atomic():
            results = self._writes.apply([(op.name, op.items) for op in chunk])
            reach("ledger.applied")
        self._writes.committed()
        # Before their calls are sent, which wait for this.
        offline.note_touched(self.scope.plan_id, self._writes.first_touched)
        for name in sorted({op.name for op in chunk} & COMMITTED.keys()):
            reach(COMMITTED[name])
        self._stop = not self._writes.went_on
        return results

    def _flush(self) -> None:
        with transaction.atomic():
            self._writes.flush()
        reach("ledger.flushed")

    def _patiently(self, write: Any) -> Any:
        """Run a transaction, again while the database is busy or away."""
        until = surroundings.here().monotonic() + BUSY_RETRY_SECONDS
        while True:
            try:
                return write()
            except DATABASE_AWAY as error:
                if free_space.says_full(error):
                    free_space.release_reserve("a write of the journal found the disk full")
                if surroundings.here().monotonic() >= until:
                    raise
                connections.close_all()
                surroundings.here().sleep(random.uniform(0.05, 0.3))  # noqa: S311  (jitter, no secret)
