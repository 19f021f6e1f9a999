"""The looks of a window, added up per tenant: how many of how many events were bad. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from batches.guardrails.allowed import threshold_of
from batches.kpis.dictionary import KpiDefinition
from batches.looks.kpi_points import GaugePoint, HistogramPoint, LookSample, Point, RatioPoint
from plans.policies.policy import Guardrail

Side = Literal["canary", "control"]


class Tally(NamedTuple):
    """How many of how many events were on the wrong side."""

    bad: float
    total: float

    @property
    def seen(self) -> bool:
        """Tell whether anything happened."""
        return self.total > 0 or self.bad > 0


class NoBound(Exception):
    """A histogram has no bucket by which the guardrail could be judged, only those of `bounds`."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        super().__init__("no bucket to compare with")


class Tallies(NamedTuple):
    """The tenants of one side with their events, and the buckets by which they were judged."""

    by_tenant: Mapping[str, Tally]
    bounds: Collection[float]

    def of(self, tenants: Collection[str]) -> Tallies:
        """Return those of some tenants only."""
        kept = {key: tally for key, tally in self.by_tenant.items() if key in tenants}
        return Tallies(kept, self.bounds)

    def sum(self) -> Tally:
        """Return all of them together."""
        return summed(self.by_tenant.values())

    @property
    def active(self) -> int:
        """Return of how many tenants anything was seen."""
        return sum(tally.seen for tally in self.by_tenant.values())


def summed(tallies: Iterable[Tally]) -> Tally:
    """Return tallies together; an error counted before its request makes no more than 100 %."""
    kept = list(tallies)
    bad = sum(tally.bad for tally in kept)
    return Tally(bad, max(bad, sum(tally.total for tally in kept)))


def tallied(
    window: Sequence[LookSample], guardrail: Guardrail, definition: KpiDefinition, side: Side
) -> Tallies:
    """Return the events of one side in the window. Raises NoBound."""
    bounds: set[float] = set()
    found: dict[str, Tally] = {}
    for look in window:
        points: Mapping[str, Point] = look.canary if side == "canary" else look.control
        for tenant, point in points.items():
            if isinstance(point, GaugePoint):
                # Points of another kind are from before the dictionary was changed.
                continue
            bound = _bound(point, guardrail) if isinstance(point, HistogramPoint) else None
            if bound is not None:
                bounds.add(bound)
            elif definition.kind == "histogram":
                has = sorted(point.buckets) if isinstance(point, HistogramPoint) else []
                raise NoBound(has)
            before = found.get(tenant, Tally(0.0, 0.0))
            more = _tally(point, bound, guardrail)
            found[tenant] = Tally(before.bad + more.bad, before.total + more.total)
    return Tallies(found, bounds)


def share(tally: Tally, definition: KpiDefinition) -> float:
    """Return a tally in the Kpi's unit; of a histogram, the percentage on the wrong side."""
    histogram = definition.kind == "histogram"
    total = max(tally.total, tally.bad)
    bad = tally.bad / total
    part = 1 - bad if definition.direction == "higher" and not histogram else bad
    return part if definition.unit == "1" and not histogram else part * 100


def _tally(point: Point, bound: float | None, guardrail: Guardrail) -> Tally:
    if isinstance(point, RatioPoint):
        return Tally(point.bad, point.total)
    if not isinstance(point, HistogramPoint) or bound is None:
        return Tally(0.0, 0.0)
    upto = point.buckets[bound]
    slow = max(0.0, point.total - upto) if guardrail.at_most is not None else upto
    return Tally(slow, point.total)


def _bound(point: HistogramPoint, guardrail: Guardrail) -> float | None:
    """Return the bucket's bound that can only make the share look worse, None without one."""
    if guardrail.at_most is not None:
        limit = guardrail.at_most
        return max((bound for bound in point.buckets if bound <= limit), default=None)
    floor = threshold_of(guardrail)
    return min((bound for bound in point.buckets if bound >= floor), default=None)
