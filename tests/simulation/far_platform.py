"""The platform behind the deployer, and its monitoring: outside of the console and of its crashes.

What was sent arrives although its sender dies, and is applied when the platform gets to it. The
platform's own log of what it applied is what the invariants judge by.
"""

import asyncio
import random
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from batches.deployers.base import Answer, InstallOrder, Observed, Order, RestoreOrder
from batches.deployers.simulated_deployer import (
    SimulatedDeployer,
    SimulatedFleet,
    SimulatedOptions,
    SimulatedTenant,
)
from batches.metric_sources import MetricUnavailable, Selector, Series
from batches.metric_sources.simulated_source import SimulatedSource
from tests.builders import artifact
from tests.simulation.simulated_machine import BEGAN
from tests.simulation.virtual_loop import VirtualLoop

OLD, NEW, NEWER = "1.0.0", "1.5.0", "1.6.0"
REQUESTS_PER_SECOND = 10.0


@dataclass(frozen=True, slots=True)
class Applied:
    """A change that the platform made to a tenant."""

    at: float
    tenant: str
    version: str
    key: str
    fence: int
    install: bool
    digest: str


@dataclass(frozen=True, slots=True)
class Sent:
    """A call that a process sent."""

    at: float
    tenant: str
    key: str
    fence: int
    install: bool
    executor: str


class Fleet(SimulatedFleet):
    """The tenants; a `strict` one refuses a fence that is older than one it has seen."""

    def __init__(self, loop: VirtualLoop, options: SimulatedOptions, *, strict: bool) -> None:
        super().__init__(options, clock=loop.time)
        self.strict = strict
        self.applied: list[Applied] = []
        self.fences: dict[str, int] = {}
        self.due: float | None = None

    def tenant(self, key: str) -> SimulatedTenant:
        known = self._tenants.get(key)
        if known is None:
            first = SimulatedTenant(self.options.version, artifact("pay", self.options.version))
            self._tenants[key] = first
        elif known.due:
            for due, order in sorted(known.due, key=lambda item: item[0]):
                if due <= self.now():
                    known.due.remove((due, order))
                    self.due = due
                    self.apply(known, order)
                    self.due = None
        return super().tenant(key)

    def apply(self, tenant: SimulatedTenant, order: Order) -> None:
        newest = self.fences.get(order.tenant, 0)
        if self.strict and order.fence < newest:
            return
        self.fences[order.tenant] = max(newest, order.fence)
        super().apply(tenant, order)
        self.applied.append(
            Applied(
                self.now() if self.due is None else self.due,
                order.tenant,
                order.version,
                order.key,
                order.fence,
                isinstance(order, InstallOrder),
                order.digest or "",
            )
        )

    def drift(self, key: str, version: str) -> None:
        """Let somebody change the tenant who is not the console."""
        changed, digest = self.tenant(key), artifact("pay", version)
        changed.version, changed.digest = version, digest
        self.applied.append(Applied(self.now(), key, version, "", 0, True, digest))


@dataclass(slots=True)
class Platform:
    """The fleet with the way to it."""

    loop: VirtualLoop
    fleet: Fleet
    parallelism: int
    sent: list[Sent] = field(default_factory=list)

    def deployer(self, process: Any, touch: Any) -> "FarDeployer":
        """Return a process's own deployer."""
        inner = SimulatedDeployer(
            "fleet", self.fleet, parallelism=self.parallelism, expected_seconds=0.3
        )
        return FarDeployer(self, inner, process, touch)


class FarDeployer:
    """Implements `Deployer` for one process: every call is a touch of the network."""

    def __init__(
        self, platform: Platform, inner: SimulatedDeployer, process: Any, touch: Any
    ) -> None:
        self.name = inner.name
        self.parallelism = inner.parallelism
        self.expected_seconds = inner.expected_seconds
        self._platform = platform
        self._inner = inner
        self._process = process
        self._touch = touch

    async def install(self, order: InstallOrder, *, timeout: float) -> Answer:
        await self._leaving()
        self._sent(order, install=True)
        return await self._far(self._inner.install(order, timeout=timeout))

    async def restore(self, order: RestoreOrder, *, timeout: float) -> Answer:
        await self._leaving()
        self._sent(order, install=False)
        return await self._far(self._inner.restore(order, timeout=timeout))

    async def observe(self, tenant: str, plugin: str, *, timeout: float) -> Observed:
        self._touch("observe")
        return await self._far(self._inner.observe(tenant, plugin, timeout=timeout))

    async def close(self) -> None:
        await self._inner.close()

    async def _leaving(self) -> None:
        """Be about to send; only a platform that checks fences survives a stand-still just here."""
        self._touch("call")
        if self._platform.fleet.strict:
            await asyncio.sleep(0)

    def _sent(self, order: Order, *, install: bool) -> None:
        self._platform.sent.append(
            Sent(
                self._platform.loop.time(),
                order.tenant,
                order.key,
                order.fence,
                install,
                self._process.name,
            )
        )

    async def _far(self, work: Coroutine[Any, Any, Any]) -> Any:
        loop = self._platform.loop
        there = loop.create_task(work, context=loop.outside.copy())
        there.add_done_callback(lambda done: done.cancelled() or done.exception())
        answer = await asyncio.shield(there)
        self._touch("answer")
        return answer


class Monitoring:
    """The metrics of the fleet's tenants: cumulative counters in virtual time."""

    def __init__(self, loop: VirtualLoop, fleet: Fleet, tenants: Sequence[str], seed: str) -> None:
        self._loop = loop
        self._fleet = fleet
        self._tenants = tenants
        self._random = random.Random(seed)
        self._counts = {key: [0.0, 0.0] for key in tenants}
        self._at = 0.0
        self.bad_share: dict[str, float] = {}
        """Which share of the requests fails on a version."""
        self.fault: str = ""
        self.delay = 0.05

    def build(self, spec: Any) -> SimulatedSource:
        """Return a process's own source."""
        return _FarSource(spec.name, self)

    def reset_counters(self) -> None:
        """Let all counters begin anew, as when the exporter restarts."""
        for counts in self._counts.values():
            counts[:] = [0.0, 0.0]

    def values(self) -> Mapping[Selector, Sequence[Series]]:
        """Return what the source says now."""
        passed, self._at = self._loop.time() - self._at, self._loop.time()
        for key, counts in self._counts.items():
            requests = round(passed * REQUESTS_PER_SECOND)
            bad = self.bad_share.get(self._fleet.tenant(key).version, 0.0)
            counts[0] += requests
            counts[1] += sum(self._random.random() < bad for _one in range(requests))
        at = BEGAN + timedelta(seconds=self._loop.time())
        if self.fault == "stale":
            at -= timedelta(minutes=10)
        nothing = float("nan") if self.fault == "nan" else None
        found: dict[Selector, Sequence[Series]] = {}
        for place, name in enumerate(("requests_total", "errors_total")):
            found[Selector(metric=name)] = [
                Series({"tenant": key}, counts[place] if nothing is None else nothing, at)
                for key, counts in self._counts.items()
                if self.fault != "empty"
            ]
        return found


class _FarSource(SimulatedSource):
    """The way of one process to the monitoring."""

    def __init__(self, name: str, monitoring: Monitoring) -> None:
        super().__init__(name, monitoring.values)
        self._monitoring = monitoring

    async def read(
        self, selectors: Sequence[Selector], *, timeout: float
    ) -> dict[Selector, list[Series]]:
        fault = self._monitoring.fault
        self.fault = None
        if fault == "down":
            self.fault = MetricUnavailable("source_down", "the monitoring is down")
        self.delay_seconds = timeout + 1 if fault == "slow" else self._monitoring.delay
        return await super().read(selectors, timeout=timeout)
