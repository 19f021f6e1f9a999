"""A fleet in memory that misbehaves as scripted: for tests, forecasts and trying policies out.

It lives in one process: another process that loads the same deployers.yaml has its own fleet.
Clock and sleep are given, so a virtual clock can drive it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from batches.deployers.base import (
    Answer,
    InstallOrder,
    Observed,
    ObserveFailed,
    Order,
    RestoreOrder,
)

Happens = Literal["ok", "fail", "refuse", "unauthorized", "throttle", "hang", "reset"]
Applies = Literal["now", "late", "never"]
_STATUS: Final = {
    "ok": 200,
    "fail": 500,
    "refuse": 422,
    "unauthorized": 401,
    "throttle": 429,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a tenant's calls. applies says if, and when, they take effect after all.

    Fault("fail", times=2)                            fails twice, then works
    Fault("fail", applies="now")                      takes effect, yet says it failed
    Fault("ok", applies="never")                      says 200, and the old version stays
    Fault("hang", applies="late", late_seconds=30)    no answer, takes effect after 30 s
    Fault(digest="0" * 64)                            puts another artifact in its place
    """

    happens: Happens = "ok"
    applies: Applies | None = None  # None: now where it says ok, else never
    times: int | None = None  # None: always
    late_seconds: float = 5.0
    latency_seconds: float | None = None
    directions: frozenset[str] = frozenset({"install", "restore"})
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class SimulatedCall:
    """One line of the fleet's own log, for comparing with the console's journal."""

    started: float
    ended: float
    tenant: str
    direction: str
    version: str
    key: str
    fence: int
    outcome: str
    applied: bool


@dataclass(frozen=True, slots=True)
class SimulatedOptions:
    """One `kind: simulated` entry of deployers.yaml; every tenant starts on the version."""

    version: str = "1.0.0"
    latency_seconds: float = 0.05
    jitter_seconds: float = 0.0
    fail_percentage: float = 0.0
    seed: str = "simulated"


@dataclass(slots=True)
class SimulatedTenant:
    """A tenant as the fleet knows it."""

    version: str
    digest: str | None = None
    config: object | None = None
    calls: int = 0
    done: set[str] = field(default_factory=set)
    due: list[tuple[float, Order]] = field(default_factory=list)


class SimulatedFleet:
    """The tenants, their scripted faults and the log of what reached them."""

    def __init__(
        self, options: SimulatedOptions, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.options = options
        self.log: list[SimulatedCall] = []
        self.faults: dict[str, Fault] = {}
        self._tenants: dict[str, SimulatedTenant] = {}
        self._clock = clock

    def now(self) -> float:
        """Return the fleet's clock."""
        return self._clock()

    def tenant(self, key: str) -> SimulatedTenant:
        """Return the tenant with everything applied that was due by now."""
        found = self._tenants.setdefault(key, SimulatedTenant(self.options.version))
        for due, order in sorted(found.due, key=lambda item: item[0]):
            if due <= self._clock():
                found.due.remove((due, order))
                self.apply(found, order)
        return found

    def apply(self, tenant: SimulatedTenant, order: Order) -> None:
        """Change the tenant as the order says."""
        tenant.version = order.version
        tenant.digest = order.digest or None
        if isinstance(order, RestoreOrder) and order.config is not None:
            tenant.config = order.config

    def fault_of(self, key: str, direction: str) -> Fault:
        """Return what is scripted for the tenant's next call, and count it off."""
        fault = self.faults.get(key)
        if fault is None or direction not in fault.directions or fault.times == 0:
            return self._by_chance(key, direction)
        if fault.times is not None:
            self.faults[key] = replace(fault, times=fault.times - 1)
        return fault

    def latency(self, key: str, fault: Fault) -> float:
        """Return how long the tenant's next call takes; the same for the same seed."""
        if fault.latency_seconds is not None:
            return fault.latency_seconds
        jitter = self._random(key, "latency").uniform(-1, 1) * self.options.jitter_seconds
        return max(0.0, self.options.latency_seconds + jitter)

    def _by_chance(self, key: str, direction: str) -> Fault:
        share = self.options.fail_percentage / 100
        if direction != "observe" and self._random(key, "fail").random() < share:
            return Fault("fail")
        return Fault()

    def _random(self, key: str, purpose: str) -> random.Random:
        calls = self.tenant(key).calls
        return random.Random(f"{self.options.seed}:{purpose}:{key}:{calls}")  # noqa: S311


class SimulatedDeployer:
    """Calls a SimulatedFleet as if it were far away."""

    def __init__(
        self,
        name: str,
        fleet: SimulatedFleet,
        *,
        parallelism: int,
        expected_seconds: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self.fleet = fleet
        self.parallelism = parallelism
        self.expected_seconds = expected_seconds
        self._sleep = sleep

    async def install(self, order: InstallOrder, *, timeout: float) -> Answer:
        """Install on the simulated tenant."""
        return await self._send(order, "install", timeout)

    async def restore(self, order: RestoreOrder, *, timeout: float) -> Answer:
        """Restore the simulated tenant."""
        return await self._send(order, "restore", timeout)

    async def observe(self, tenant: str, plugin: str, *, timeout: float) -> Observed:
        """Read the simulated tenant. Raises ObserveFailed."""
        started = self.fleet.now()
        fault = self.fleet.fault_of(tenant, "observe")
        latency = self.fleet.latency(tenant, fault)
        self.fleet.tenant(tenant).calls += 1
        if fault.happens == "hang" or latency > timeout:
            await self._sleep(timeout)
            self._note(started, tenant, "observe", "unknown")
            raise ObserveFailed(f"no answer within {timeout:g} s")
        await self._sleep(latency)
        found = self.fleet.tenant(tenant)
        if fault.happens == "reset":
            self._note(started, tenant, "observe", "unknown")
            raise ObserveFailed("connection reset by the fleet")
        if fault.happens != "ok":
            self._note(started, tenant, "observe", "failed")
            raise ObserveFailed(
                f"the fleet answered {_STATUS[fault.happens]}",
                fault.happens in {"refuse", "unauthorized"},
                unauthorized=fault.happens == "unauthorized",
            )
        self._note(started, tenant, "observe", "ok", version=found.version)
        return Observed(found.version, found.digest, found.config)

    async def close(self) -> None:
        """Nothing stays open; the fleet keeps its state."""

    async def _send(self, order: Order, direction: str, timeout: float) -> Answer:
        fleet, started = self.fleet, self.fleet.now()
        fault = fleet.fault_of(order.tenant, direction)
        latency = fleet.latency(order.tenant, fault)
        tenant = fleet.tenant(order.tenant)
        tenant.calls += 1
        done = order if fault.digest is None else replace(order, digest=fault.digest)
        applies = fault.applies or ("now" if fault.happens == "ok" else "never")
        lost = fault.happens == "hang" or latency > timeout
        if applies == "late":
            tenant.due.append((started + fault.late_seconds, done))
        elif lost and applies == "now":
            # The caller has left by then, the platform goes on working.
            tenant.due.append((started + max(latency, timeout), done))
        if lost:
            await self._sleep(timeout)
            self._note(started, order.tenant, direction, "unknown", order=order)
            return Answer("unknown", f"no answer within {timeout:g} s; it may have taken effect")
        await self._sleep(latency)
        tenant = fleet.tenant(order.tenant)
        repeated = order.key in tenant.done
        applied = applies == "now" and not repeated
        if applied:
            fleet.apply(tenant, done)
        if fault.happens == "ok":
            tenant.done.add(order.key)
        answer = _answer(fault.happens, repeated=repeated)
        self._note(started, order.tenant, direction, answer.outcome, order=order, applied=applied)
        return answer

    def _note(
        self,
        started: float,
        tenant: str,
        direction: str,
        outcome: str,
        *,
        order: Order | None = None,
        version: str = "",
        applied: bool = False,
    ) -> None:
        self.fleet.log.append(
            SimulatedCall(
                started=started,
                ended=self.fleet.now(),
                tenant=tenant,
                direction=direction,
                version=order.version if order else version,
                key=order.key if order else "",
                fence=order.fence if order else 0,
                outcome=outcome,
                applied=applied,
            )
        )


def _answer(happens: Happens, *, repeated: bool) -> Answer:
    if happens == "reset":
        return Answer("unknown", "connection reset by the fleet; it may have taken effect")
    status = _STATUS[happens]
    if happens == "ok":
        return Answer("ok", "done before by this key" if repeated else "done", status)
    permanent = happens in {"refuse", "unauthorized"}
    return Answer(
        "refused" if permanent else "failed",
        f"the fleet answered {status}",
        status,
        permanent=permanent,
        unauthorized=happens == "unauthorized",
        retry_after=1.0 if happens == "throttle" else None,
    )
