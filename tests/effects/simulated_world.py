"""A fleet, a ledger and a clock in memory: the effect loop runs for hours within milliseconds."""

import asyncio
import heapq
import itertools
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from batches.deployers.simulated_deployer import (
    Fault,
    SimulatedDeployer,
    SimulatedFleet,
    SimulatedOptions,
)
from batches.effects.loop import EffectLoop
from batches.effects.ports import (
    CallStart,
    Direction,
    Job,
    Outcome,
    Progress,
    Task,
    settle_time,
)

BEGAN = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


class VirtualClock:
    """Time that jumps to the next sleeper as soon as nobody has anything to do."""

    def __init__(self) -> None:
        self._at = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=self._at)

    def monotonic(self) -> float:
        return self._at

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._at + seconds, next(self._order), woken))
        await woken

    async def drive(self, work: Coroutine[Any, Any, Progress]) -> Progress:
        """Run the work to its end."""
        running = asyncio.ensure_future(work)
        while not running.done():
            for _turn in range(50):
                await asyncio.sleep(0)
            if not running.done():
                assert self._sleepers, "everybody waits and nobody sleeps"
                at, _order, woken = heapq.heappop(self._sleepers)
                self._at = max(self._at, at)
                if not woken.done():
                    woken.set_result(None)
        return running.result()


@dataclass
class JournalRow:
    """One call in the ledger's journal."""

    tenant: str
    direction: str
    key: str
    attempt: int
    started: datetime
    reason: str
    outcome: str = ""
    ended: datetime | None = None


@dataclass
class MemoryLedger:
    """A ledger of one plan; `stop` and `deny_calls` are turned by the tests."""

    clock: VirtualClock
    call_timeout: float = 5.0
    stop: bool = False
    deny_calls: bool = False
    waiting: list[Task] = field(default_factory=list)
    journal: list[JournalRow] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    starts: list[CallStart] = field(default_factory=list)
    stop_after_calls: int | None = None

    async def claim_many(self, limit: int) -> Sequence[Task]:
        if self.stop:
            return []
        claimed, self.waiting = self.waiting[:limit], self.waiting[limit:]
        for task in claimed:
            self.states[task.tenant] = "upgrading" if task.direction == "install" else "restoring"
        return claimed

    async def begin_calls(self, starts: Sequence[CallStart]) -> Sequence[int | None]:
        return [self._begin(start) for start in starts]

    def _begin(self, start: CallStart) -> int | None:
        if self.stop or self.deny_calls:
            return None
        self.starts.append(start)
        task = start.task
        assert (task.key, start.attempt) not in {(row.key, row.attempt) for row in self.journal}
        self.journal.append(
            JournalRow(
                task.tenant,
                task.direction,
                task.key,
                start.attempt,
                self.clock.now(),
                start.reason,
            )
        )
        if self.stop_after_calls is not None and len(self.journal) >= self.stop_after_calls:
            self.stop = True
        return len(self.journal) - 1

    async def record_many(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self.outcomes.append(outcome)
            if outcome.call is not None:
                row = self.journal[outcome.call.call_id]
                row.outcome, row.ended = outcome.call.answer.outcome, outcome.call.ended_at
            if outcome.move is not None:
                self.states[outcome.task.tenant] = outcome.move
                self.errors[outcome.task.tenant] = outcome.error

    async def settles_at(self, task: Task) -> datetime | None:
        times = [
            settle_time(row.started, call_timeout=self.call_timeout, outcome=row.outcome)
            for row in self.journal
            if row.tenant == task.tenant and row.direction == "install"
        ]
        return max((time for time in times if time is not None), default=None)

    async def renew(self, task: Task) -> Task | None:
        if self.stop:
            return None
        return task_for(task.tenant, task.direction, generation=task.generation + 1, like=task)

    def stop_requested(self) -> bool:
        return self.stop


def task_for(
    tenant: str, direction: Direction = "install", *, generation: int = 1, like: Task | None = None
) -> Task:
    """Return an intent for a tenant: to 2.0 forward, to 1.0 back."""
    base = like or Task(
        upgrade_id=hash(tenant),
        tenant=tenant,
        direction=direction,
        generation=generation,
        key="",
        fence=0,
        version="2.0" if direction == "install" else "1.0",
        version_before="1.0" if direction == "restore" else "",
        touched=direction == "restore",
    )
    key = f"plan:{tenant}:{direction}:{generation}"
    return replace(base, generation=generation, key=key, fence=generation)


class World:
    """Everything that one run of the loop needs; every tenant starts on 1.0."""

    def __init__(self, *, parallelism: int = 10, latency: float = 0.1) -> None:
        self.clock = VirtualClock()
        self.ledger = MemoryLedger(self.clock)
        self.fleet = SimulatedFleet(
            SimulatedOptions(version="1.0", latency_seconds=latency), clock=self.clock.monotonic
        )
        self.deployer = SimulatedDeployer(
            "fleet",
            self.fleet,
            parallelism=parallelism,
            expected_seconds=latency,
            sleep=self.clock.sleep,
        )

    def fault(self, tenant: str, *args: Any, **changes: Any) -> None:
        """Let a tenant's calls misbehave; looks at it still work."""
        changes.setdefault("directions", frozenset({"install", "restore"}))
        self.fleet.faults[tenant] = Fault(*args, **changes)

    def run(
        self,
        *tasks: Task,
        attempts: int = 3,
        parallelism: int = 10,
        give_up_after: float | None = None,
    ) -> Progress:
        """Run the loop over the tasks until its end."""
        self.ledger.waiting += tasks
        give_up_at = None
        if give_up_after is not None:
            give_up_at = self.clock.now() + timedelta(seconds=give_up_after)
        job = Job(
            plan="plan",
            plugin="pay",
            deployer="fleet",
            parallelism=parallelism,
            attempts=attempts,
            call_timeout=self.ledger.call_timeout,
            give_up_at=give_up_at,
        )
        loop = EffectLoop(build=lambda name: self.deployer, clock=self.clock)
        return asyncio.run(self.clock.drive(loop.run(job, self.ledger)))

    def calls(self, direction: str | None = None) -> list[Any]:
        """Return what reached the fleet, without the looks."""
        wanted = {direction} if direction else {"install", "restore"}
        return [call for call in self.fleet.log if call.direction in wanted]

    def version(self, tenant: str) -> str:
        return self.fleet.tenant(tenant).version
