"""One network operation each on one tenant, inside both bounds: look, call, look again, record.

What a run of the effect loop knows while it works; `effect_forward.py` and `effect_back.py` are
made of these.
"""

import asyncio
from dataclasses import dataclass

from batches.deployers.base import (
    Answer,
    Deployer,
    InstallOrder,
    Observed,
    ObserveFailed,
    RestoreOrder,
)
from batches.drills.faults import with_fault
from batches.effects.ports import (
    CallEnd,
    CallStart,
    Clock,
    Job,
    Ledger,
    Move,
    Outcome,
    Progress,
    Task,
)
from batches.effects.seen import back, installed
from batches.effects.slots import CALL, CALL_TO_BE_JOURNALLED, LOOK, Slots, TurnOfBoth
from batches.rollout.pacing import journalled_ahead
from plans.failpoints import reach

READ_BACK_PAUSES = (0.0, 0.1, 0.3, 0.6, 1.0)
"""Seconds before each look after a call: platforms apply a moment after they have answered."""
STOOD_STILL = 1.0
"""Seconds between journal and call after which a stop, or a lost lease, keeps the call back."""
NOT_SENT = "not sent: its turn came too late"
PACE_WEIGHT = 0.2
"""How much the newest call counts for what a call is expected to take."""
ARRIVED = frozenset({"confirm", "restored"})
RETRY_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(slots=True)
class Gate:
    """One deployer and its bound on calls in flight, shared by all runs of one loop."""

    deployer: Deployer
    slots: Slots


class Calls:
    """The operations of one run, and what it has come to so far."""

    def __init__(self, job: Job, ledger: Ledger, gate: Gate, clock: Clock) -> None:
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
        self.settling = 0
        # Tenants that are on their version and only have to be written down.
        self.arriving = 0
        self.changed = asyncio.Event()

    @property
    def halted(self) -> bool:
        """Tell whether nothing new may start: asked to stop, or the platform refuses us."""
        return self.ledger.stop_requested() or self._is_refused

    @property
    def _is_refused(self) -> bool:
        return bool(self.progress.unauthorized) and self.job.give_up_at is None

    @property
    def out_of_time(self) -> bool:
        """Tell whether a person gets what is not done by now."""
        return self._gives_up is not None and self.clock.monotonic() >= self._gives_up

    def _slot(self, urgency: int) -> TurnOfBoth:
        return TurnOfBoth(self.own_slots, self.gate.slots, urgency)

    async def observe(self, task: Task) -> Observed | ObserveFailed:
        """Look at the tenant once."""
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

    async def call(
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
            digest_before=(before.digest or "") if before else "",
        )
        asked_at = self.clock.monotonic()
        if not self._may_be_journalled_ahead():
            async with self._slot(CALL_TO_BE_JOURNALLED):
                asked_at = self.clock.monotonic()
                call_id = await self._journal(start)
                return await self._in_turn(task, call_id, asked_at)
        self.journalled += 1
        ahead = True
        try:
            call_id = await self._journal(start)
            if call_id is None:
                return None
            async with self._slot(CALL):
                self.journalled -= 1
                ahead = False
                return await self._in_turn(task, call_id, asked_at)
        finally:
            if ahead:
                self.journalled -= 1

    async def _in_turn(self, task: Task, call_id: int | None, asked_at: float) -> CallEnd | None:
        """Send what is in the journal, now that there is a slot for it."""
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

    async def read_back(self, task: Task, *, patient: bool) -> Observed | ObserveFailed:
        """Look until the wanted version shows, a few times when the platform said it is done."""
        seen: Observed | ObserveFailed = ObserveFailed("not observed")
        for pause in READ_BACK_PAUSES if patient else (0.0,):
            if pause:
                await self.clock.sleep(pause)
            seen = await self.observe(task)
            if installed(task, seen) or (task.direction == "restore" and back(task, seen)):
                return seen
        return seen

    async def finish(
        self,
        task: Task,
        move: Move | None,
        *,
        observed: Observed | ObserveFailed | None = None,
        error: str = "",
        call: CallEnd | None = None,
        exhausted: bool = False,
    ) -> None:
        """Record what came of the task, or of one call of it."""
        seen = observed if isinstance(observed, Observed) else None
        outcome = Outcome(task, self.clock.now(), move, seen, error[:480], call, exhausted)
        if move not in ARRIVED:
            await self.ledger.record_many([outcome])
            return
        self.arriving += 1
        self.changed.set()
        try:
            await self.ledger.record_many([outcome])
        finally:
            self.arriving -= 1

    async def pause_before(self, attempt: int, answer: Answer | None) -> None:
        """Wait before the next attempt, at least as long as the platform asked for."""
        asked = answer.retry_after if answer is not None and answer.retry_after else 0.0
        usual = RETRY_PAUSES[min(attempt - 1, len(RETRY_PAUSES) - 1)]
        await self.clock.sleep(min(max(asked, usual), self.job.call_timeout))
