"""The effect loop: the only code that changes or reads tenants.

One asyncio engine without Django. It takes tasks from a `Ledger`, and for each tenant observes,
writes the journal, calls, observes again and records. What a call did is never guessed: an
answer that tells nothing is followed by a look at the tenant. Running two loops over the same
work changes nothing: the ledger hands each intent out once and refuses what is out of date.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from batches.deployers.base import Deployer, Observed, ObserveFailed
from batches.effects.back import restore
from batches.effects.calls import Calls, Gate
from batches.effects.forward import install
from batches.effects.ports import Clock, Job, Ledger, Progress, SystemClock, Task
from batches.effects.slots import LOOK, Slots, TurnOfBoth
from batches.rollout.pacing import CLAIM_CHUNK, claimed_ahead

SETTLING_PER_SLOT = 4
"""How many tenants per slot may wait for late calls without counting as work in hand."""


@dataclass(slots=True)
class EffectLoop:
    """Owns the deployers of one event loop and runs jobs against them."""

    build: Callable[[str], Deployer]
    clock: Clock = field(default_factory=SystemClock)
    _gates: dict[str, Gate] = field(default_factory=dict)

    def _gate(self, name: str) -> Gate:
        if name not in self._gates:
            deployer = self.build(name)
            self._gates[name] = Gate(deployer, Slots(deployer.parallelism))
        return self._gates[name]

    async def close(self) -> None:
        """Give all connections back."""
        for gate in self._gates.values():
            await gate.deployer.close()
        self._gates.clear()

    async def run(self, job: Job, ledger: Ledger) -> Progress:
        """Work until the ledger hands out nothing more and every call in flight has ended."""
        run = _Run(Calls(job, ledger, self._gate(job.deployer), self.clock))
        return await run.until_done()

    async def observe_all(
        self, job: Job, tenants: Sequence[str]
    ) -> Mapping[str, Observed | ObserveFailed]:
        """Read every tenant once, within the job's bounds."""
        gate = self._gate(job.deployer)
        own = Slots(job.parallelism)

        async def read(tenant: str) -> tuple[str, Observed | ObserveFailed]:
            async with TurnOfBoth(own, gate.slots, LOOK):
                try:
                    return tenant, await gate.deployer.observe(
                        tenant, job.plugin, timeout=job.call_timeout
                    )
                except ObserveFailed as failed:
                    return tenant, failed

        return dict(await asyncio.gather(*(read(tenant) for tenant in tenants)))


class _Run:
    """The state of one run: who is being worked on, and how much more may be claimed."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.active: set[asyncio.Task[None]] = set()
        self.broken: asyncio.Task[None] | None = None

    async def until_done(self) -> Progress:
        """Keep claiming while there is work, a little ahead of the free slots.

        An empty hand means that nothing is left, or that nothing more may run beside what runs:
        it is asked again when half of that has ended, and once more when all of it has.
        """
        ask_below = sys.maxsize
        width = self.calls.width
        chunk = claimed_ahead(width, back=self.calls.job.give_up_at is not None)
        try:
            while True:
                # Who waits for a late call to be over holds no slot, and nobody else up.
                waiting = min(self.calls.settling, SETTLING_PER_SLOT * width)
                # Whoever has arrived can fail no more; only the database still has to hear of it.
                arriving = min(self.calls.arriving, width)
                room = width + chunk - len(self.active) + waiting + arriving
                if len(self.active) <= ask_below and room >= chunk and not self.calls.halted:
                    claimed = await self.calls.ledger.claim_many(min(room, CLAIM_CHUNK))
                    self.calls.progress.tasks += len(claimed)
                    for task in claimed:
                        self._begin(task)
                    if claimed:
                        ask_below = sys.maxsize
                        continue
                    ask_below = len(self.active) // 2 if self.active else -1
                if not self.active:
                    return self.calls.progress
                await self.calls.changed.wait()
                self.calls.changed.clear()
                if self.broken is not None:
                    self.broken.result()
        finally:
            for running in self.active:
                running.cancel()

    def _begin(self, task: Task) -> None:
        work = install if task.direction == "install" else restore
        running = asyncio.create_task(work(self.calls, task))
        self.active.add(running)
        running.add_done_callback(self._ended)

    def _ended(self, running: asyncio.Task[None]) -> None:
        self.active.discard(running)
        if not running.cancelled() and running.exception() is not None:
            self.broken = self.broken or running
        self.calls.changed.set()
