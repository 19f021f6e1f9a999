"""The watch ticked by hand over a simulated fleet whose metrics come from a loopback server."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any

from batches.deployers.simulated_deployer import (
    Fault,
    SimulatedDeployer,
    SimulatedFleet,
    SimulatedOptions,
)
from batches.effects.loop import EffectLoop
from batches.models import Alert, Batch, Rollback
from batches.watch.loop import Watch
from plans.models import Event, Plan
from tests.adapters.metric_servers import MetricPage, send
from tests.builders import policy_text

DEPLOYERS = "deployers:\n  fleet: {kind: simulated, parallelism: 20, expected_seconds: 0.1}\n"
DICTIONARY = """
{"kpis": [{"name": "error_rate", "kind": "ratio", "unit": "%", "direction": "lower"}],
 "sources": {"fleet": {"kind": "prometheus_text", "url": "URL/metrics"}},
 "mappings": [{"kpi": "error_rate", "source": "fleet", "tenant_label": "tenant",
               "bad": {"metric": "errors_total"}, "total": {"metric": "requests_total"}}],
 "dashboards": []}
"""
BATCHES = """
      - {name: canary, percentage: 34, soak_minutes: 0.002}
      - {name: rest, percentage: 66, soak_minutes: 0.002}"""
LIMITS = "look_seconds: 0.1, call_timeout_seconds: 0.3, attempts: 2"
GUARDRAIL = "kpi: error_rate, at_most: 5, window: 3s, min_samples: 1"


def quick_policy(*, limits: str = "", guardrail: str = "", more: str = "") -> str:
    """Return a policy whose looks, soaks and calls take fractions of a second."""
    return policy_text(
        batches=BATCHES,
        more=f"limits: {{{', '.join(filter(None, [LIMITS, limits]))}}}\n"
        f"guardrails: [{{{', '.join(filter(None, [GUARDRAIL, guardrail]))}}}]\n{more}",
    )


class FleetMetrics(MetricPage):
    """What the fleet's monitoring says: each read adds 100 requests per tenant.

    A fifth of them is bad on a bad version; with bad tenants, only theirs.
    """

    def __init__(self, fleet: SimulatedFleet, keys: tuple[str, ...]) -> None:
        super().__init__()
        self.bad_versions: set[str] = set()
        self.bad_tenants: set[str] = set()
        self.down = False
        self._fleet = fleet
        self._counts = {key: [0, 0] for key in keys}

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if self.down:
            send(request, 503, b"down for repair")
            return
        for key, counts in self._counts.items():
            counts[0] += 100
            bad = self._fleet.tenant(key).version in self.bad_versions
            alone = key in self.bad_tenants
            counts[1] += 20 * (bad and (alone or not self.bad_tenants))
        self.text = "".join(
            f'requests_total{{tenant="{key}"}} {total}\nerrors_total{{tenant="{key}"}} {bad}\n'
            for key, (total, bad) in self._counts.items()
        )
        super().answer(request)


class WatchedFleet:
    """A watch with its fleet; use as a context manager."""

    def __init__(
        self, settings: Any, folder: Path, keys: tuple[str, ...], *, house_seconds: float = 0
    ) -> None:
        self.fleet = SimulatedFleet(SimulatedOptions(version="1.0.0", latency_seconds=0.01))
        self.metrics = FleetMetrics(self.fleet, keys)
        self._deployers: Path = folder / "watched-deployers.yaml"
        settings.DEPLOYERS_FILE = self._deployers
        self.describe_deployer(DEPLOYERS)
        settings.DICTIONARY_FILE = folder / "watched-dictionary.json"
        settings.DICTIONARY_FILE.write_text(DICTIONARY.replace("URL", self.metrics.url))
        # Most tests tick much faster than once a second, and want all of it at each tick.
        self.watch = Watch(house_seconds=house_seconds)
        deployer = SimulatedDeployer("fleet", self.fleet, parallelism=20, expected_seconds=0.1)
        self.watch.effects.effects = EffectLoop(build=lambda name: deployer)

    def __enter__(self) -> "WatchedFleet":
        self.metrics.__enter__()
        self.watch.effects.start()
        self.watch.observer.start()
        self.watch.aftermath.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.watch.close()
        self.metrics.__exit__(kind, error, trace)

    def describe_deployer(self, deployers: str) -> None:
        """Change the file that says how fast the deployer is."""
        self._deployers.write_text(deployers)

    def fault(self, tenant: str, *args: Any, **changes: Any) -> None:
        """Let a tenant's calls misbehave; looks at it still work."""
        changes.setdefault("directions", frozenset({"install", "restore"}))
        self.fleet.faults[tenant] = Fault(*args, **changes)

    def tick(self, times: int = 1) -> None:
        """Let the watch look at everything now."""
        for _turn in range(times):
            self.watch.tick(datetime.now(UTC))
            time.sleep(0.02)

    def until(self, true: Callable[[], Any], seconds: float = 30.0) -> None:
        """Tick until it is so."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"it did not happen: {what_happened()}"
            self.tick()

    def until_plan(self, plan: Plan, *wanted: str) -> Plan:
        """Tick until the plan is in one of the states."""
        self.until(lambda: Plan.objects.filter(pk=plan.pk, state__in=wanted).exists())
        return Plan.objects.get(pk=plan.pk)

    def until_batch(self, plan: Plan, state: str, number: int = 1) -> Batch:
        """Tick until the batch is in the state."""
        rows = Batch.objects.filter(plan=plan, number=number, state=state)
        self.until(rows.exists)
        return rows.get()

    def versions(self, keys: tuple[str, ...]) -> set[str]:
        """Return the versions that the tenants really run."""
        return {self.fleet.tenant(key).version for key in keys}


def what_happened() -> list[str]:
    """Return the last sentences of the trail, for the message of a test that fails."""
    last = Event.objects.exclude(stream__key="system").order_by("-pk")[:12]
    return [f"{event.kind}: {event.sentence}" for event in last]


def the_rollback(plan: Plan) -> Rollback:
    return Rollback.objects.get(plan=plan)


def alerts_of(plan: Plan) -> set[str]:
    """Return the kinds of the plan's open alerts."""
    return set(Alert.objects.filter(plan=plan, resolved_at=None).values_list("kind", flat=True))
