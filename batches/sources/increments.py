"""Cumulative series of one look -> what happened per tenant since the look before.

The cursor is JSON: whoever keeps it goes on after a restart as if nothing had been.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from batches.kpis.dictionary import KpiDefinition, KpiMapping
from batches.looks.kpi_points import (
    GaugePoint,
    HistogramPoint,
    LookSample,
    Point,
    RatioPoint,
    compact,
)
from batches.metric_sources.base import SourceSpec
from batches.sources.readings import Answers, Key, Reading, SeveralSeries, read_keys

__all__ = [
    "GaugePoint",
    "HistogramPoint",
    "LookSample",
    "Point",
    "RatioPoint",
    "failed_look",
    "max_age",
    "oldest_reading",
    "take_look",
]

SHORTEST_MAX_AGE: Final = 30.0
CLOCK_TOLERANCE: Final = timedelta(seconds=5)
"""How far a source's clock may be ahead of ours."""


@dataclass(frozen=True, slots=True)
class _Before:
    """Where one tenant's counters stood. `since` is its confirmation, None for the control."""

    since: datetime | None
    at: datetime
    values: tuple[float, ...]
    bounds: tuple[float, ...] | None


def max_age(look_seconds: float) -> float:
    """Return how old a reading may be, in seconds: three looks, and at least 30 s."""
    return max(SHORTEST_MAX_AGE, 3 * look_seconds)


def oldest_reading(look_seconds: float, source: SourceSpec | None) -> float:
    """Return how old a reading of the source may be, in seconds: senders push less often."""
    return max(max_age(look_seconds), source.stale_seconds if source is not None else 0.0)


def failed_look(*, kpi: str, source: str, at: datetime, cause: str, sentence: str) -> LookSample:
    """Return the look at a source that gave nothing; the cursor stays as it is."""
    return LookSample(kpi=kpi, at=at, causes={cause: 1}, ok=False, source=source, sentence=sentence)


def take_look(
    *,
    mapping: KpiMapping,
    definition: KpiDefinition,
    answers: Answers,
    at: datetime,
    upgraded: Mapping[str, datetime],
    control: Collection[str],
    target_version: str,
    cursor: Mapping[str, Any],
    max_age_seconds: float = SHORTEST_MAX_AGE,
) -> tuple[LookSample, dict[str, Any]]:
    """Return the look and the cursor for the next one.

    `at` is the moment right before the source was asked; `upgraded` says when each tenant's
    upgrade was confirmed. Only what was read after that counts for the upgraded tenants; with a
    version label, only the target version's series.
    """
    wanted = {*upgraded, *control}
    try:
        readings = read_keys(answers, mapping, definition, at=at, tenants=wanted)
    except SeveralSeries as several:
        broken = failed_look(
            kpi=definition.name,
            source=mapping.source,
            at=at,
            cause="bad_answer",
            sentence=str(several),
        )
        return broken, dict(cursor)
    look = _Look(
        at,
        timedelta(seconds=max_age_seconds),
        _read_cursor(cursor),
        rate_window=mapping.rate_window_seconds,
    )
    nameless = any(not answers[selector] for selector in mapping.selectors)
    by_tenant = _by_tenant(readings) if mapping.version_label else {}
    absent: dict[str, str] = {}
    canary: dict[str, Point] = {}
    for tenant, confirmed in upgraded.items():
        version = target_version if mapping.version_label else None
        reading = readings.get(Key(tenant, version))
        point = look.canary_point(tenant, reading, confirmed, "name_gone" if nameless else "")
        if isinstance(point, str):
            absent[tenant] = point
        else:
            canary[tenant] = point
    control_points: dict[str, Point] = {}
    control_causes: Counter[str] = Counter()
    for tenant in control:
        if tenant in upgraded:
            continue
        reading = (
            _whole(by_tenant.get(tenant, []))
            if mapping.version_label
            else readings.get(Key(tenant, None))
        )
        point = look.point(tenant, reading, None)
        if not isinstance(point, str):
            control_points[tenant] = point
        else:
            control_causes[point] += 1
    sample = LookSample(
        kpi=definition.name,
        at=at,
        canary=canary,
        control=control_points,
        causes=dict(Counter(absent.values())),
        source=mapping.source,
        absent=absent,
        control_causes=dict(control_causes),
    )
    return sample, _written_cursor(look.after)


class _Look:
    """One pass over the tenants; gathers the cursor for the next look."""

    def __init__(
        self,
        at: datetime,
        oldest: timedelta,
        before: Mapping[str, _Before],
        *,
        rate_window: float | None = None,
    ) -> None:
        self.after: dict[str, _Before] = {}
        self._rate_window = rate_window
        self._at = at
        self._oldest = oldest
        self._before = before

    def canary_point(
        self, tenant: str, reading: Reading | None, confirmed: datetime, absent: str
    ) -> Point | str:
        """Return the upgraded tenant's point, or why there is none."""
        fresh = self._at - confirmed <= self._oldest
        if reading is not None and not reading.cause and reading.at < confirmed:
            # A source that stood still, or whose clock is behind, never gets there.
            return "first_reading" if fresh else "stale"
        point = self.point(tenant, reading, confirmed)
        if point == "no_series":
            # A version that was just put on may not have served its first request.
            return "first_reading" if fresh else absent or point
        return point

    def point(self, tenant: str, reading: Reading | None, since: datetime | None) -> Point | str:
        """Return the tenant's point, or why there is none."""
        before = self._before.get(tenant)
        if before is not None and before.since != since:
            before = None
        if before is not None:
            # Kept where this look gives nothing, so that the next one can go on from it.
            self.after[tenant] = before
        if reading is None:
            return "no_series"
        unusable = reading.cause or self._untimely(reading, before)
        if unusable:
            return unusable
        if reading.bounds is None and len(reading.values) == 1:
            return GaugePoint(reading.values[0])
        if self._rate_window is not None:
            return self._from_rate(tenant, before, reading, since, self._rate_window)
        self.after[tenant] = _Before(since, reading.at, reading.values, reading.bounds)
        return self._increment(before, reading)

    def _untimely(self, reading: Reading, before: _Before | None) -> str:
        if reading.at > self._at + CLOCK_TOLERANCE:
            return "future"
        if self._at - reading.at > self._oldest or (before and reading.at < before.at):
            return "stale"
        return ""

    def _from_rate(
        self,
        tenant: str,
        before: _Before | None,
        reading: Reading,
        since: datetime | None,
        window: float,
    ) -> Point | str:
        """Return what a rate per second counted since the last time it was taken.

        Taken once per window and times the window: windows that overlap would count a request
        twice. Between two windows nothing new is known, which is no missing data.
        """
        begun = _Before(since, reading.at, (), reading.bounds)
        if before is None or before.bounds != reading.bounds:
            self.after[tenant] = begun
            return "first_reading" if before is None else "reset"
        due = (reading.at - before.at).total_seconds() >= window
        if due:
            self.after[tenant] = begun
        counts = tuple(rate * window if due else 0.0 for rate in reading.values)
        if reading.bounds is None:
            return RatioPoint(*counts)
        return HistogramPoint(dict(zip(reading.bounds[:-1], counts[:-1], strict=True)), counts[-1])

    def _increment(self, before: _Before | None, reading: Reading) -> Point | str:
        if before is None:
            return "first_reading"
        if reading.at - before.at > self._oldest:
            return "gap"
        if before.bounds != reading.bounds or len(before.values) != len(reading.values):
            return "reset"
        deltas = tuple(now - then for then, now in zip(before.values, reading.values, strict=True))
        if min(deltas) < 0:
            return "reset"
        if reading.bounds is None:
            return RatioPoint(*deltas)
        finite = dict(zip(reading.bounds[:-1], deltas[:-1], strict=True))
        return HistogramPoint(finite, deltas[-1])


def _by_tenant(readings: Mapping[Key, Reading]) -> dict[str, list[Reading]]:
    grouped: dict[str, list[Reading]] = {}
    for key, reading in readings.items():
        grouped.setdefault(key.tenant, []).append(reading)
    return grouped


def _whole(readings: list[Reading]) -> Reading | None:
    """Return all versions of one tenant as one reading, None where they do not add up."""
    if len(readings) < 2:
        return readings[0] if readings else None
    first = readings[0]
    gauges = first.bounds is None and len(first.values) == 1
    if gauges or any(one.bounds != first.bounds for one in readings):
        return None
    cause = next((one.cause for one in readings if one.cause), "")
    values = () if cause else tuple(map(sum, zip(*(r.values for r in readings), strict=True)))
    return Reading(values, min(one.at for one in readings), first.bounds, cause)


def _read_cursor(cursor: Mapping[str, Any]) -> dict[str, _Before]:
    times = [datetime.fromtimestamp(seconds, UTC) for seconds in cursor.get("times", [])]
    layouts = [tuple(map(float, bounds)) for bounds in cursor.get("bounds", [])]
    return {
        tenant: _Before(
            None if since is None else times[since],
            times[at],
            tuple(map(float, values)),
            None if layout is None else layouts[layout],
        )
        for tenant, (since, at, layout, *values) in cursor.get("tenants", {}).items()
    }


def _written_cursor(after: Mapping[str, _Before]) -> dict[str, Any]:
    """Return the cursor as JSON; times and bounds that many tenants share are written once."""
    times: dict[datetime, int] = {}
    layouts: dict[tuple[float, ...], int] = {}
    tenants = {}
    for tenant, before in after.items():
        since, bounds = before.since, before.bounds
        tenants[tenant] = [
            None if since is None else times.setdefault(since, len(times)),
            times.setdefault(before.at, len(times)),
            None if bounds is None else layouts.setdefault(bounds, len(layouts)),
            *map(compact, before.values),
        ]
    return {
        "times": [moment.timestamp() for moment in times],
        # JSON has no infinity; float() reads the word back.
        "bounds": [[*layout[:-1], "inf"] for layout in layouts],
        "tenants": tenants,
    }
