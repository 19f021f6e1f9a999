"""A fleet whose counters are recorded minute by minute, and history that is there at once."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import time_machine

from batches.history import recording
from batches.history.recording import FIVE_MINUTES, HOUR, MINUTE, span_start
from batches.history.rollups import merged, packed, rolled, unpacked
from batches.looks.kpi_points import RatioPoint
from batches.metric_sources import Selector, Series
from batches.metric_sources.simulated_source import SimulatedSource
from batches.models import KpiRollup
from tests.builders import FOREST

BAD, TOTAL = Selector(metric="errors_total"), Selector(metric="requests_total")
NOON = datetime(2031, 3, 5, 12, 0, tzinfo=UTC)


class Feed:
    """Cumulative counters of every tenant, read through a simulated source."""

    def __init__(self, *keys: str) -> None:
        self.counts = {key: [0.0, 0.0] for key in keys or FOREST}
        self.source = SimulatedSource("fleet", self._values)

    def _values(self) -> dict[Selector, list[Series]]:
        return {
            selector: [Series({"tenant": key}, pair[n]) for key, pair in self.counts.items()]
            for n, selector in enumerate((BAD, TOTAL))
        }

    def serve(self, bad: float = 1, total: float = 100) -> None:
        """Let every tenant serve so many requests."""
        for pair in self.counts.values():
            pair[0] += bad
            pair[1] += total

    def record(self, at: datetime) -> list[str]:
        """Record as the paperwork does, at this moment."""
        with time_machine.travel(at, tick=False):
            return recording.record(build=lambda spec: self.source)

    def record_minutes(self, count: int, *, begin: datetime = NOON) -> datetime:
        """Serve and record minute by minute; return the moment of the last reading."""
        at = begin
        for number in range(count):
            at = begin + timedelta(minutes=number, seconds=5)
            self.serve()
            self.record(at)
        return at


def written(step: int = MINUTE, kpi: str = "error_rate") -> list[tuple[datetime, Any]]:
    """Return the rows of a step with what is in them."""
    rows = KpiRollup.objects.filter(kpi=kpi, step=step).order_by("at")
    return [(row.at, unpacked(bytes(row.body))) for row in rows]


def past(
    until: datetime,
    *,
    minutes: int,
    rates: Mapping[str, tuple[float, float]],
    seed: int = 1,
) -> None:
    """Have history: per tenant a probability of bad events and requests per minute."""
    dice = Random(seed)
    begin = span_start(until - timedelta(minutes=minutes), HOUR)
    whole: dict[tuple[int, datetime], list[Any]] = {}
    moment = begin
    rows = []
    while moment < span_start(until, MINUTE):
        seen = rolled(
            {
                key: RatioPoint(sum(dice.random() < share for _ in range(int(n))), n)
                for key, (share, n) in rates.items()
            }
        )
        rows.append((MINUTE, moment, seen))
        for step in (FIVE_MINUTES, HOUR):
            whole.setdefault((step, span_start(moment, step)), []).append(seen)
        moment += timedelta(minutes=1)
    for (step, at), parts in whole.items():
        if at + timedelta(seconds=step) <= until:
            rows.append((step, at, merged(parts)))
    KpiRollup.objects.bulk_create(
        KpiRollup(kpi="error_rate", step=step, at=at, tenants=len(rates), body=packed(seen))
        for step, at, seen in rows
    )
