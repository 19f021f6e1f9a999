"""The requests that the demo's tenants get: counters that move with time and with the version.

Nothing runs in the background. A tenant's counters are brought up to now when somebody looks, or
right before its version changes, by drawing what happened since.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import Final, Literal

from upgradeconsole.demo.releases import VersionBehaviour, behaviour_of

BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.5)
_MANY: Final = 64
_Z95: Final = 1.6448536269514722
MetricsMode = Literal["normal", "silent", "nan", "unavailable"]


@dataclass(frozen=True, slots=True)
class LatencyShape:
    """A log-normal latency, as the share of each bucket and the mean within it."""

    shares: tuple[float, ...]
    cumulative: tuple[float, ...]
    means: tuple[float, ...]


@dataclass(slots=True)
class Series:
    """The counters of one tenant on one version; cells are per bucket, not yet cumulative."""

    labels: str
    requests: int = 0
    errors: int = 0
    seconds: float = 0.0
    cells: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))


@dataclass(slots=True)
class TenantTraffic:
    """One tenant's traffic, advanced up to a moment."""

    tenant: str
    version: str
    rate: float
    error_factor: float
    advanced_to: float
    by_version: dict[str, Series] = field(default_factory=dict)


class Traffic:
    """All tenants' counters. Times are seconds of one monotonic clock, given by the caller."""

    def __init__(self, *, seed: str, now: float) -> None:
        self.scale = 1.0
        self._seed = seed
        self._random = random.Random(seed)  # noqa: S311
        self._started = now
        self._tenants: dict[str, TenantTraffic] = {}
        self._behaviours: dict[str, VersionBehaviour] = {}
        self._shapes: dict[str, LatencyShape] = {}

    def add(self, tenant: str, version: str) -> None:
        """Let the tenant have traffic from the beginning on, at a rate of its own."""
        own = random.Random(f"{self._seed}:{tenant}")  # noqa: S311
        self._tenants[tenant] = TenantTraffic(
            tenant, version, own.uniform(5, 15), own.uniform(0.8, 1.2), self._started
        )

    def switch(self, tenant: str, version: str, now: float) -> None:
        """Count what came until now on the old version, the rest on the new one."""
        traffic = self._tenants[tenant]
        self._advance(traffic, now)
        traffic.version = version

    def behave(self, behaviours: dict[str, VersionBehaviour], *, scale: float, now: float) -> None:
        """Let versions behave otherwise from now on; versions not named stay as released."""
        for traffic in self._tenants.values():
            self._advance(traffic, now)
        self._behaviours = dict(behaviours)
        self._shapes.clear()
        self.scale = scale

    def metrics(self, now: float, mode: MetricsMode = "normal") -> str:
        """Return the Prometheus text of all tenants at this moment."""
        requests = ["# HELP tenant_requests_total Requests.\n# TYPE tenant_requests_total counter"]
        errors = ["# HELP tenant_errors_total Failed ones.\n# TYPE tenant_errors_total counter"]
        latency = [
            "# HELP tenant_latency_seconds Latency.\n# TYPE tenant_latency_seconds histogram"
        ]
        for traffic in self._tenants.values():
            self._advance(traffic, now)
            if mode == "silent":
                continue
            for series in traffic.by_version.values():
                if mode == "nan":
                    requests.append(f"tenant_requests_total{{{series.labels}}} NaN")
                    errors.append(f"tenant_errors_total{{{series.labels}}} NaN")
                    continue
                requests.append(f"tenant_requests_total{{{series.labels}}} {series.requests}")
                errors.append(f"tenant_errors_total{{{series.labels}}} {series.errors}")
                latency.append(_histogram(series))
        return "\n".join([*requests, *errors, *latency, ""])

    def counted(self, now: float) -> dict[str, Series]:
        """Return each tenant's counters at this moment on the version that it runs."""
        for traffic in self._tenants.values():
            self._advance(traffic, now)
        return {
            traffic.tenant: replace(series, cells=list(series.cells))
            for traffic in self._tenants.values()
            for series in [self._series(traffic)]
        }

    def _advance(self, traffic: TenantTraffic, now: float) -> None:
        elapsed = now - traffic.advanced_to
        if elapsed <= 0:
            return
        traffic.advanced_to = now
        series = self._series(traffic)
        count = _poisson(self._random, traffic.rate * self.scale * elapsed)
        if count == 0:
            return
        behaviour = self._behaviour(traffic.version)
        series.requests += count
        series.errors += _binomial(
            self._random, count, min(1.0, behaviour.error_rate * traffic.error_factor)
        )
        shape = self._shape(traffic.version, behaviour)
        for cell, fell in enumerate(_spread(self._random, count, shape)):
            series.cells[cell] += fell
            series.seconds += fell * shape.means[cell]

    def _series(self, traffic: TenantTraffic) -> Series:
        series = traffic.by_version.get(traffic.version)
        if series is None:
            labels = f'tenant="{_escaped(traffic.tenant)}",version="{_escaped(traffic.version)}"'
            series = traffic.by_version[traffic.version] = Series(labels)
        return series

    def _behaviour(self, version: str) -> VersionBehaviour:
        return self._behaviours.get(version) or behaviour_of(version)

    def _shape(self, version: str, behaviour: VersionBehaviour) -> LatencyShape:
        shape = self._shapes.get(version)
        if shape is None:
            shape = self._shapes[version] = latency_shape(behaviour)
        return shape


def latency_shape(behaviour: VersionBehaviour) -> LatencyShape:
    """Return the log-normal with this median and 95th percentile, cut into the buckets."""
    mu = math.log(behaviour.median_ms / 1000)
    sigma = max(0.01, math.log(behaviour.p95_ms / behaviour.median_ms) / _Z95)
    mean = math.exp(mu + sigma * sigma / 2)
    below = [0.0, *(_normal((math.log(bound) - mu) / sigma) for bound in BOUNDS), 1.0]
    # The share of all seconds that is spent below each bound.
    spent = [0.0, *(_normal((math.log(b) - mu) / sigma - sigma) for b in BOUNDS), 1.0]
    shares = [after - before for before, after in pairwise(below)]
    seconds = [mean * (after - before) for before, after in pairwise(spent)]
    return LatencyShape(
        shares=tuple(shares),
        cumulative=tuple(accumulate(shares[:-1])),
        means=tuple(s / p if p > 1e-12 else 0.0 for s, p in zip(seconds, shares, strict=True)),
    )


def _spread(source: random.Random, count: int, shape: LatencyShape) -> list[int]:
    """Return how many of the requests fell into each bucket."""
    cells = [0] * len(shape.shares)
    if count <= _MANY:
        for _ in range(count):
            cells[bisect_right(shape.cumulative, source.random())] += 1
        return cells
    left, share_left = count, 1.0
    for cell, share in enumerate(shape.shares[:-1]):
        if left == 0 or share_left <= 1e-12:
            break
        cells[cell] = _binomial(source, left, min(1.0, share / share_left))
        left -= cells[cell]
        share_left -= share
    else:
        cells[-1] = left
        left = 0
    # What rounding left without a share goes where the latencies end.
    cells[-1] += left
    return cells


def _poisson(source: random.Random, mean: float) -> int:
    if mean > _MANY:
        return max(0, round(source.gauss(mean, math.sqrt(mean))))
    threshold, product, count = math.exp(-mean), source.random(), 0
    while product > threshold:
        product *= source.random()
        count += 1
    return count


def _binomial(source: random.Random, count: int, share: float) -> int:
    if share <= 0 or count == 0:
        return 0
    if share >= 1:
        return count
    if count <= _MANY:
        return sum(source.random() < share for _ in range(count))
    expected = count * share
    if expected < 10:
        return min(count, _poisson(source, expected))
    if count - expected < 10:
        return max(0, count - _poisson(source, count - expected))
    drawn = round(source.gauss(expected, math.sqrt(expected * (1 - share))))
    return min(count, max(0, drawn))


def _normal(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _histogram(series: Series) -> str:
    name, labels = "tenant_latency_seconds", series.labels
    head = f'{name}_bucket{{{labels},le="'
    upto = list(accumulate(series.cells))
    lines = [f'{head}{bound:g}"}} {n}' for bound, n in zip(BOUNDS, upto, strict=False)]
    lines.append(f'{head}+Inf"}} {upto[-1]}')
    lines.append(f"{name}_sum{{{labels}}} {series.seconds:.6f}")
    lines.append(f"{name}_count{{{labels}}} {upto[-1]}")
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
