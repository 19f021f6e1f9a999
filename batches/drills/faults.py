"""Faults that a rehearsal puts between the effect loop and the platform; no other plan has any.

A job names its fault; the loop asks here for the deployer that the job's calls go to.
"""

import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from batches.deployers.base import Answer, Deployer, InstallOrder, Observed, RestoreOrder

HUNG_HOOK = "hung_hook"
KILLED_WORKER = "killed_worker"


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(slots=True)
class FaultyDeployer:
    """A deployer whose first call in one direction goes wrong; everything else passes through."""

    behind: Deployer
    fault: str
    sleep: Callable[[float], Awaitable[None]]
    die: Callable[[], None] = _die
    name: str = field(init=False)
    parallelism: int = field(init=False)
    expected_seconds: float = field(init=False)
    _hung: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.name = self.behind.name
        self.parallelism = self.behind.parallelism
        self.expected_seconds = self.behind.expected_seconds

    async def install(self, order: InstallOrder, *, timeout: float) -> Answer:
        """Install; with a killed worker this process dies with the journal row written."""
        if self.fault == KILLED_WORKER:
            self.die()
        return await self.behind.install(order, timeout=timeout)

    async def restore(self, order: RestoreOrder, *, timeout: float) -> Answer:
        """Restore; with a hung hook the first call gets no answer in its time."""
        if self.fault == HUNG_HOOK and not self._hung:
            self._hung = True
            await self.sleep(timeout)
            return Answer("unknown", f"no answer within {timeout:g} s (made to hang by the drill)")
        return await self.behind.restore(order, timeout=timeout)

    async def observe(self, tenant: str, plugin: str, *, timeout: float) -> Observed:
        """Read what the tenant runs now."""
        return await self.behind.observe(tenant, plugin, timeout=timeout)

    async def close(self) -> None:
        """Leave the connections to whoever owns the deployer."""


def with_fault(
    deployer: Deployer, fault: str, sleep: Callable[[float], Awaitable[None]]
) -> Deployer:
    """Return the deployer that a job's calls go to: the very same where the job has no fault."""
    return FaultyDeployer(deployer, fault, sleep) if fault else deployer
