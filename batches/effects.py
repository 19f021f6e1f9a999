"""The effect loop: the only code that changes or reads tenants.

One asyncio engine without Django. It takes tasks from a `Ledger`, and for each tenant observes,
writes the journal, calls, observes again and records. What a call did is never guessed: an
answer that tells nothing is followed by a look at the tenant. Running two loops over the same
work changes nothing: the ledger hands each intent out once and refuses what is out of date.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from batches.deployers.base import (
    Answer,
    Deployer,
    InstallOrder,
    Observed,
    ObserveFailed,
    RestoreOrder,
)
from batches.drill_faults import with_fault
from batches.effect_ports import (
    CallEnd,
    CallStart,
    Clock,
    Job,
    Ledger,
    Move,
    Outcome,
    Progress,
    SystemClock,
    Task,
)
from batches.pacing import CLAIM_CHUNK, claimed_ahead, journalled_ahead
from batches.seen import back, installed, problem_of
from batches.slots import CALL, CALL_TO_BE_JOURNALLED, LOOK, Slots
from plans.failpoints import reach

READ_BACK_PAUSES = (0.0, 0.1, 0.3, 0.6, 1.0)
"""Seconds before each look after a call: platforms apply a moment after they have answered."""
PATIENCE_WITH_OPEN_CALLS = 2.0
"""Seconds that a restore waits for an open forward call to end before it is sent beside it."""
SETTLE_LOOK = 0.2
STOOD_STILL = 1.0
"""Seconds between journal and call after which a stop, or a lost lease, keeps the call back."""
NOT_SENT = "not sent: its turn came too late"
PACE_WEIGHT = 0.2
"""How much the newest call counts for what a call is expected to take."""
RETRY_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
SETTLING_PER_SLOT = 4
"""How many tenants per slot may wait for late calls without counting as work in hand."""


@dataclass(slots=True)
class _Gate:
    """One deployer and its bound on calls in flight, shared by all runs of this loop."""

    deployer: Deployer
    slots: Slots


@dataclass(slots=True)
class EffectLoop:
    """Owns the deployers of one event loop and runs jobs against them."""

    build: Callable[[str], Deployer]
    clock: Clock = field(default_factory=SystemClock)
    _gates: dict[str, _Gate] = field(default_factory=dict)

    def _gate(self, name: str) -> _Gate:
        if name not in self._gates:
            deployer = self.build(name)
            self._gates[name] = _Gate(deployer, Slots(deployer.parallelism))
        return self._gates[name]

    async def close(self) -> None:
        """Give all connections back."""
        for gate in self._gates.values():
            await gate.deployer.close()
        self._gates.clear()

    async def run(self, job: Job, ledger: Ledger) -> Progress:
        """Work until the ledger hands out nothing more and every call in flight has ended."""
        run = _Run(job, ledger, self._gate(job.deployer), self.clock)
        return await run.until_done()

    async def observe_all(
        self, job: Job, tenants: Sequence[str]
    ) -> Mapping[str, Observed | ObserveFailed]:
        """Read every tenant once, within the job's bounds."""
        gate = self._gate(job.deployer)
        own = Slots(job.parallelism)

        async def read(tenant: str) -> tuple[str, Observed | ObserveFailed]:
            async with own.taken(LOOK), gate.slots.taken(LOOK):
                try:
                    return tenant, await gate.deployer.observe(
                        tenant, job.plugin, timeout=job.call_timeout
                    )
                except ObserveFailed as failed:
                    return tenant, failed

        return dict(await asyncio.gather(*(read(tenant) for tenant in tenants)))


class _Run:
    """The state of one run."""

    def __init__(self, job: Job, ledger: Ledger, gate: _Gate, clock: Clock) -> None:
        self.job = job
        self.ledger = ledger
        self.gate = gate
        self.deployer = with_fault(gate.deployer, job.fault, clock.sleep)
        self.clock = clock
        self.own_slots = Slots(job.parallelism)
        self.width = max(1, min(job.parallelism, gate.deployer.parallelism))
        self.journalled = 0
        self.call_seconds = gate.deployer.expected_seconds
        self.progress = Progress()
        # By the steady clock from here on: the wall clock may be moved while this runs.
        self._gives_up = (
            None
            if job.give_up_at is None
            else clock.monotonic() + (job.give_up_at - clock.now()).total_seconds()
        )
        self.active: set[asyncio.Task[None]] = set()
        self.broken: asyncio.Task[None] | None = None
        self.settling = 0
        self.changed = asyncio.Event()

    @property
    def halted(self) -> bool:
        """Tell whether nothing new may start: asked to stop, or the platform refuses us."""
        return self.ledger.stop_requested() or self._is_refused

    @property
    def _is_refused(self) -> bool:
        return bool(self.progress.unauthorized) and self.job.give_up_at is None

    async def until_done(self) -> Progress:
        """Keep claiming while there is work, a little ahead of the free slots.

        An empty hand means that nothing is left, or that nothing more may run beside what runs:
        it is asked again when half of that has ended, and once more when all of it has.
        """
        ask_below = sys.maxsize
        width = self.width
        chunk = claimed_ahead(width, back=self.job.give_up_at is not None)
        try:
            while True:
                # Who waits for a late call to be over holds no slot, and nobody else up.
                waiting = min(self.settling, SETTLING_PER_SLOT * width)
                room = width + chunk - len(self.active) + waiting
                if len(self.active) <= ask_below and room >= chunk and not self.halted:
                    claimed = await self.ledger.claim_many(min(room, CLAIM_CHUNK))
                    self.progress.tasks += len(claimed)
                    for task in claimed:
                        self._begin(task)
                    if claimed:
                        ask_below = sys.maxsize
                        continue
                    ask_below = len(self.active) // 2 if self.active else -1
                if not self.active:
                    return self.progress
                await self.changed.wait()
                self.changed.clear()
                if self.broken is not None:
                    self.broken.result()
        finally:
            for running in self.active:
                running.cancel()

    def _begin(self, task: Task) -> None:
        running = asyncio.create_task(self._one(task))
        self.active.add(running)
        running.add_done_callback(self._ended)

    def _ended(self, running: asyncio.Task[None]) -> None:
        self.active.discard(running)
        if not running.cancelled() and running.exception() is not None:
            self.broken = self.broken or running
        self.changed.set()

    async def _one(self, task: Task) -> None:
        if task.direction == "install":
            await self._install(task)
        else:
            await self._restore(task)

    # One network operation each, inside both bounds.

    @asynccontextmanager
    async def _slot(self, urgency: int) -> AsyncIterator[None]:
        async with self.own_slots.taken(urgency), self.gate.slots.taken(urgency):
            yield

    async def _observe(self, task: Task) -> Observed | ObserveFailed:
        async with self._slot(LOOK):
            asked_at = self.clock.monotonic()
            try:
                observed = await self.gate.deployer.observe(
                    task.tenant, self.job.plugin, timeout=self.job.call_timeout
                )
            except ObserveFailed as failed:
                self._note_unauthorized(failed.unauthorized, failed.reason)
                return failed
            self.progress.looks.append(self.clock.monotonic() - asked_at)
        self.progress.last_read_back_at = self.clock.now()
        reach("effects.observed")
        return observed

    async def _call(
        self, task: Task, attempt: int, before: Observed | None, reason: str
    ) -> CallEnd | None:
        """Write the journal, send, and return the call's end; None when it may not be sent.

        A few calls are journalled while they wait for a slot: no slot stands idle for the database.
        """
        start = CallStart(
            task=task,
            attempt=attempt,
            version_before=before.version if before else task.version_before,
            config_before=before.config if before else None,
            reason=reason,
        )
        async with AsyncExitStack() as held:
            asked_at = self.clock.monotonic()
            if self._may_be_journalled_ahead():
                self.journalled += 1
                try:
                    call_id = await self._journal(start)
                    if call_id is None:
                        return None
                    await held.enter_async_context(self._slot(CALL))
                finally:
                    self.journalled -= 1
            else:
                await held.enter_async_context(self._slot(CALL_TO_BE_JOURNALLED))
                asked_at = self.clock.monotonic()
                call_id = await self._journal(start)
                if call_id is None:
                    return None
            started_at = self.clock.now()
            if self._came_too_late(self.clock.monotonic() - asked_at):
                answer = Answer("failed", NOT_SENT)
                return CallEnd(call_id, started_at, self.clock.now(), answer)
            if self.progress.first_call_at is None:
                self.progress.first_call_at = started_at
            self.progress.calls += 1
            answer = await self._send(task)
        reach("effects.call_sent")
        self._note_unauthorized(answer.unauthorized, answer.text)
        return CallEnd(call_id, started_at, self.clock.now(), answer)

    def _may_be_journalled_ahead(self) -> bool:
        """Tell whether a call that has to wait for its slot may be in the journal already."""
        if self.own_slots.is_free and self.gate.slots.is_free:
            return False
        return self.journalled < journalled_ahead(self.width, self.call_seconds)

    async def _journal(self, start: CallStart) -> int | None:
        if self.halted:
            # Asked to stop, or refused as a whole, while this call waited for its turn.
            return None
        (call_id,) = await self.ledger.begin_calls([start])
        return call_id

    def _came_too_late(self, spent: float) -> bool:
        """Tell whether a call must not be sent any more, `spent` seconds after its journal row.

        This process may have slept since; the world may have moved on, and whoever restores waits
        for call_timeout after the journal row only. Or the platform refuses us since.
        """
        stopped = spent > STOOD_STILL and self.ledger.stop_requested()
        return stopped or self._is_refused or spent > self.job.call_timeout

    async def _send(self, task: Task) -> Answer:
        order = {
            "tenant": task.tenant,
            "plugin": self.job.plugin,
            "version": task.version,
            "key": task.key,
            "fence": task.fence,
            "digest": task.digest or None,
            "plan": self.job.plan,
        }
        timeout = self.job.call_timeout
        sent_at = self.clock.monotonic()
        reach("effects.call_ready")
        if task.direction == "install":
            answer = await self.deployer.install(
                InstallOrder(**order),  # type: ignore[arg-type]
                timeout=timeout,
            )
        else:
            answer = await self.deployer.restore(
                RestoreOrder(**order, config=task.config),  # type: ignore[arg-type]
                timeout=timeout,
            )
        took = self.clock.monotonic() - sent_at
        self.call_seconds += PACE_WEIGHT * (took - self.call_seconds)
        return answer

    def _note_unauthorized(self, unauthorized: bool, text: str) -> None:
        if unauthorized and not self.progress.unauthorized:
            self.progress.unauthorized = text or "the platform refused our credentials"

    async def _read_back(self, task: Task, *, patient: bool) -> Observed | ObserveFailed:
        """Look until the wanted version shows, a few times when the platform said it is done."""
        seen: Observed | ObserveFailed = ObserveFailed("not observed")
        for pause in READ_BACK_PAUSES if patient else (0.0,):
            if pause:
                await self.clock.sleep(pause)
            seen = await self._observe(task)
            if isinstance(seen, Observed) and seen.version == task.version:
                return seen
        return seen

    async def _finish(
        self,
        task: Task,
        move: Move | None,
        *,
        observed: Observed | ObserveFailed | None = None,
        error: str = "",
        call: CallEnd | None = None,
        exhausted: bool = False,
    ) -> None:
        seen = observed if isinstance(observed, Observed) else None
        await self.ledger.record_many(
            [Outcome(task, self.clock.now(), move, seen, error[:480], call, exhausted)]
        )

    async def _pause_before(self, attempt: int, answer: Answer | None) -> None:
        asked = answer.retry_after if answer is not None and answer.retry_after else 0.0
        usual = RETRY_PAUSES[min(attempt - 1, len(RETRY_PAUSES) - 1)]
        await self.clock.sleep(min(max(asked, usual), self.job.call_timeout))

    # Forward.

    async def _first_look(self, task: Task) -> Observed | ObserveFailed:
        seen: Observed | ObserveFailed = ObserveFailed("not observed")
        for attempt in range(1, self.job.attempts + 1):
            seen = await self._observe(task)
            if isinstance(seen, Observed) or seen.permanent or self.halted:
                return seen
            if attempt < self.job.attempts:
                await self._pause_before(attempt, None)
        return seen

    async def _install(self, task: Task) -> None:
        before = await self._first_look(task)
        if isinstance(before, ObserveFailed):
            error = f"could not be observed: {before.reason}"
            if self.halted:
                await self._finish(task, "lose" if task.touched else "release", error=error)
                return
            move: Move = "lose" if task.touched else "fail"
            await self._finish(task, move, error=error, exhausted=True)
            return
        if installed(task, before):
            await self._finish(task, "confirm", observed=before)
            return
        reason = task.reason
        for attempt in range(1, self.job.attempts + 1):
            if self.halted:
                await self._stopped(task, attempt, before)
                return
            call = await self._call(task, attempt, before, reason)
            if call is None:
                await self._stopped(task, attempt, before)
                return
            answer = call.answer
            seen = await self._read_back(task, patient=answer.outcome in {"ok", "unknown"})
            if installed(task, seen):
                await self._finish(task, "confirm", observed=seen, call=call)
                return
            problem = problem_of(task, seen, answer)
            if self._was_not_its_fault(call, attempt):
                await self._finish(task, "lose", observed=seen, error=problem, call=call)
                return
            if attempt == self.job.attempts or answer.permanent:
                lost = isinstance(seen, ObserveFailed) or answer.outcome == "unknown"
                await self._finish(
                    task,
                    "lose" if lost else "fail",
                    observed=seen,
                    error=problem,
                    call=call,
                    exhausted=True,
                )
                return
            await self._finish(task, None, observed=seen, error=problem, call=call)
            reason = f"attempt {attempt} {answer.outcome}: {answer.text}"[:200]
            await self._pause_before(attempt, answer)

    def _was_not_its_fault(self, call: CallEnd, attempt: int) -> bool:
        """Tell whether the tenant keeps its attempts: it is claimed again by a later run.

        The platform refused our credentials (a person lets the plan go on), or this process stood
        still before its last attempt.
        """
        not_sent = call.answer.text == NOT_SENT and attempt == self.job.attempts
        return call.answer.unauthorized or not_sent

    async def _stopped(self, task: Task, attempt: int, before: Observed) -> None:
        """Give the intent back: untouched as if never claimed, touched as unknown."""
        if attempt == 1 and not task.touched:
            await self._finish(task, "release", observed=before)
        else:
            await self._finish(
                task, "lose", observed=before, error="stopped before it was finished"
            )

    # Back.

    async def _restore(self, task: Task) -> None:
        """Restore until the old version is observed and no late forward call can undo that."""
        attempt = tries = 0
        reason = task.reason
        if task.late_calls:
            await self._settle(task, patience=PATIENCE_WITH_OPEN_CALLS)
        while True:
            attempt, tries = attempt + 1, tries + 1
            call: CallEnd | None = await self._call(task, attempt, None, reason)
            if call is None:
                # Another holder has the lease now; the intent is theirs to finish.
                return
            answer = call.answer
            seen = await self._read_back(task, patient=answer.outcome in {"ok", "unknown"})
            seen, call, proven = await self._prove(task, seen, call)
            if proven:
                return
            problem = problem_of(task, seen, answer)
            if await self._given_up(task, seen, answer, call, problem):
                return
            reason = f"attempt {attempt} {answer.outcome}: {answer.text}"[:200]
            if call is None:
                reason = "a late forward call undid the restore"
            if isinstance(seen, Observed) and (call is None or answer.outcome in {"ok", "failed"}):
                # A platform that keeps what came of a key would answer the same key as before,
                # done long ago or failed, and change nothing.
                renewed = await self.ledger.renew(task)
                if renewed is None:
                    return
                task, attempt = renewed, 0
            await self._pause_before(tries, answer)

    async def _prove(
        self, task: Task, seen: Observed | ObserveFailed, call: CallEnd | None
    ) -> tuple[Observed | ObserveFailed, CallEnd | None, bool]:
        """Record a tenant that is back; return the last look, the call to record, and whether.

        While a late forward call may still be applied, only what is seen after that tells.
        """
        if not back(task, seen):
            return seen, call, False
        if task.late_calls:
            await self._finish(task, None, observed=seen, call=call)
            call = None
            await self._settle(task)
            seen = await self._observe(task)
        if proven := back(task, seen):
            await self._finish(task, "restored", observed=seen, call=call)
        return seen, call, proven

    async def _given_up(
        self,
        task: Task,
        seen: Observed | ObserveFailed,
        answer: Answer,
        call: CallEnd | None,
        problem: str,
    ) -> bool:
        """Record a restore that did not succeed; tell whether to leave it at that."""
        stopped = self.ledger.stop_requested()
        over = self._gives_up is not None and self.clock.monotonic() >= self._gives_up
        # A restore that was undone afterwards had worked, whatever its answer said.
        refused = answer.permanent and call is not None
        gives_up = not stopped and (refused or over)
        await self._finish(
            task,
            "give_up" if gives_up else None,
            observed=seen,
            error=problem,
            call=call,
            exhausted=gives_up,
        )
        return stopped or gives_up

    async def _settle(self, task: Task, *, patience: float | None = None) -> None:
        """Wait until no earlier forward call can be applied any more.

        `patience` bounds the wait in seconds; an open call usually ends long before its time-out.
        """
        self.settling += 1
        self.changed.set()
        try:
            await self._until_settled(task, patience)
        finally:
            self.settling -= 1

    async def _until_settled(self, task: Task, patience: float | None) -> None:
        began = self.clock.monotonic()
        known, ends = None, began
        while True:
            settles_at = await self.ledger.settles_at(task)
            if settles_at is None:
                return
            if settles_at != known:
                # Waited for by the steady clock: the wall clock may be moved meanwhile.
                rest = (settles_at - self.clock.now()).total_seconds()
                longest = 2 * self.job.call_timeout
                known, ends = settles_at, self.clock.monotonic() + min(rest, longest)
            left = ends - self.clock.monotonic()
            waited = self.clock.monotonic() - began
            if left <= 0 or (patience is not None and waited >= patience):
                return
            await self.clock.sleep(min(left, SETTLE_LOOK))
