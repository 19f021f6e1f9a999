"""The looks of a window -> one measurement of one guardrail, with its sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from batches.dictionary import KpiDefinition
from batches.increments import SHORTEST_MAX_AGE
from batches.kpi_points import GaugePoint, HistogramPoint, LookSample, Point, RatioPoint
from plans.policy import SLOW_SHARE_PERCENT, Guardrail

Outcome = Literal["successful", "failed", "inconclusive", "error"]

CAUSES: Final = {
    "source_down": "source down",
    "timeout": "no answer in time",
    "unauthorized": "not authorized",
    "bad_answer": "an answer that cannot be used",
    "name_gone": "no series of that name any more",
    "no_look": "nobody has looked",
    "no_series": "no series for the upgraded tenants",
    "no_bad_series": "no series for the bad ones",
    "not_a_number": "not a number",
    "infinite": "an infinite value",
    "negative": "a negative count",
    "out_of_range": "a value outside the Kpi's range",
    "stale": "the values are old",
    "future": "the values are from the future",
    "bad_bucket": "buckets that do not add up",
    "no_total_bucket": "no bucket +Inf",
    "no_bound": "no bucket to compare with",
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a guardrail saw at its newest look. `n` counts requests, or values of a gauge."""

    outcome: Outcome
    value: float | None
    threshold: float
    unit: str
    n: int
    tenants: int
    worst: tuple[str, float] | None
    cause: str | None
    sentence: str
    at: datetime | None = None
    """When the newest look was; None where there is none in the window."""


class _Tally(NamedTuple):
    """How many of how many events were on the wrong side."""

    bad: float
    total: float


def measure(
    guardrail: Guardrail,
    definition: KpiDefinition,
    looks: Sequence[LookSample],
    *,
    canary: int,
    now: datetime,
    max_age_seconds: float = SHORTEST_MAX_AGE,
) -> Measurement:
    """Return the measurement of a guardrail that resolve_guardrail returned.

    `canary` is the number of upgraded tenants. Looks outside the window do not count, and their
    order does not matter. With no look for `max_age_seconds` nothing is known any more.
    """
    begin = now - timedelta(seconds=guardrail.window_seconds)
    window = sorted((look for look in looks if begin < look.at <= now), key=lambda look: look.at)
    oldest = timedelta(seconds=max_age_seconds)
    if not window or now - window[-1].at > oldest:
        said = "within the last looks" if looks else "yet"
        return _without(guardrail, definition, "error", "no_look", f"not measured {said}", None)
    newest = window[-1]
    if not newest.ok:
        words = newest.sentence or "no reason given"
        said = f"no data from {newest.source or 'the source'} ({_cause(newest.cause)}: {words})"
        return _without(guardrail, definition, "error", newest.cause, said, newest.at)
    if canary == 0:
        return _without(
            guardrail, definition, "inconclusive", None, "no tenant is upgraded yet", newest.at
        )
    # One silent tenant must not stop thousands, a silent majority must.
    if newest.lost * 2 > canary or (newest.lost and not newest.canary):
        said = (
            f"no data for {newest.lost} of {canary} upgraded tenants from "
            f"{newest.source or 'the source'} ({_cause(newest.cause)})"
        )
        return _without(guardrail, definition, "error", newest.cause, said, newest.at)
    if isinstance(next(iter(newest.canary.values()), None), GaugePoint):
        return _measure_gauge(guardrail, definition, newest)
    return _measure_events(guardrail, definition, window)


def _measure_gauge(
    guardrail: Guardrail, definition: KpiDefinition, newest: LookSample
) -> Measurement:
    values = {
        tenant: point.value
        for tenant, point in newest.canary.items()
        if isinstance(point, GaugePoint)
    }
    mean = sum(sorted(values.values())) / len(values)
    worst = _worst(values.items(), guardrail)
    failed = _fails(mean, guardrail)
    unit = definition.unit
    tenants = counted(len(values), "upgraded tenant")
    sentence = (
        f"{definition.name} {shown(mean, unit)} on average in {tenants}"
        f" (worst: {worst[0]}, {shown(worst[1], unit)}{_lost(newest)}) "
        f"{_compared(failed, guardrail)} {shown(_threshold(guardrail), unit)}"
    )
    return Measurement(
        "failed" if failed else "successful",
        mean,
        _threshold(guardrail),
        unit,
        len(values),
        len(values),
        worst,
        None,
        sentence,
        newest.at,
    )


def _measure_events(
    guardrail: Guardrail, definition: KpiDefinition, window: Sequence[LookSample]
) -> Measurement:
    newest = window[-1]
    histogram = definition.kind == "histogram"
    bounds: set[float] = set()
    tallies: dict[str, _Tally] = {}
    for tenant, point in _points(window):
        bound = _bound(point, guardrail) if isinstance(point, HistogramPoint) else None
        if bound is not None:
            bounds.add(bound)
        elif histogram:
            return _no_bound(guardrail, definition, point, newest)
        before = tallies.get(tenant, _Tally(0.0, 0.0))
        more = _tally(point, bound, guardrail)
        tallies[tenant] = _Tally(before.bad + more.bad, before.total + more.total)
    # An error that was counted and its request not yet must not make more than 100 %.
    bad = sum(tally.bad for tally in tallies.values())
    total = max(bad, sum(tally.total for tally in tallies.values()))
    tenants = sum(tally.total > 0 or tally.bad > 0 for tally in tallies.values())
    unit = "%" if histogram else definition.unit
    threshold = _share_allowed(guardrail) if histogram else _threshold(guardrail)
    if total < guardrail.min_samples or total <= 0:
        seen = "no second reading yet" if not tallies else f"{_whole(total)} of"
        said = seen if not tallies else f"{seen} {guardrail.min_samples} requests needed"
        return Measurement(
            "inconclusive",
            None,
            threshold,
            unit,
            int(total),
            tenants,
            None,
            None,
            f"{definition.name}: {said} ({guardrail.window_seconds:g} s)",
            newest.at,
        )
    limit = Guardrail(definition.name, at_most=threshold) if histogram else guardrail
    shares = (
        (tenant, _share(tally, definition, histogram))
        for tenant, tally in tallies.items()
        if tally.total > 0 or tally.bad > 0
    )
    value = _share(_Tally(bad, total), definition, histogram)
    failed = _fails(value, limit)
    place = f"{counted(tenants, 'tenant')}, {guardrail.window_seconds:g} s{_lost(newest)}"
    if histogram:
        sentence = _histogram_sentence(guardrail, definition, value, total, bounds, place)
    else:
        sentence = (
            f"{definition.name} {shown(value, unit)} in the upgraded tenants "
            f"({_whole(bad)} {_of(definition)}of {_whole(total)} requests, {place}) "
            f"{_compared(failed, guardrail)} {shown(threshold, unit)}"
        )
    return Measurement(
        "failed" if failed else "successful",
        value,
        threshold,
        unit,
        int(total),
        tenants,
        _worst(shares, limit),
        None,
        sentence,
        newest.at,
    )


def _points(window: Sequence[LookSample]) -> Iterator[tuple[str, Point]]:
    for look in window:
        for tenant, point in look.canary.items():
            # Points of another kind are from before the dictionary was changed.
            if not isinstance(point, GaugePoint):
                yield tenant, point


def _tally(point: Point, bound: float | None, guardrail: Guardrail) -> _Tally:
    if isinstance(point, RatioPoint):
        return _Tally(point.bad, point.total)
    if not isinstance(point, HistogramPoint) or bound is None:
        return _Tally(0.0, 0.0)
    upto = point.buckets[bound]
    return _Tally(
        max(0.0, point.total - upto) if guardrail.at_most is not None else upto, point.total
    )


def _bound(point: HistogramPoint, guardrail: Guardrail) -> float | None:
    """Return the bucket's bound that can only make the share look worse, None without one."""
    if guardrail.at_most is not None:
        limit = guardrail.at_most
        return max((bound for bound in point.buckets if bound <= limit), default=None)
    floor = _threshold(guardrail)
    return min((bound for bound in point.buckets if bound >= floor), default=None)


def _no_bound(
    guardrail: Guardrail, definition: KpiDefinition, point: Point, newest: LookSample
) -> Measurement:
    has = sorted(point.buckets) if isinstance(point, HistogramPoint) else []
    side = "below" if guardrail.at_most is not None else "above"
    said = (
        f"no bucket at or {side} {shown(_threshold(guardrail), definition.unit)}; the buckets are "
        f"{', '.join(f'{bound:g}' for bound in has) or 'none'}"
    )
    return _without(guardrail, definition, "error", "no_bound", said, newest.at)


def _histogram_sentence(
    guardrail: Guardrail,
    definition: KpiDefinition,
    value: float,
    total: float,
    bounds: set[float],
    place: str,
) -> str:
    threshold = _threshold(guardrail)
    word = "slower than" if definition.direction == "lower" else "above"
    if guardrail.at_most is None:
        word = "at or below"
    used = sorted(bounds)
    by = ""
    if used != [threshold]:
        by = f", by the bucket of {', '.join(f'{b:g}' for b in used)} {definition.unit}"
    return (
        f"{definition.name}: {shown(value, '%')} of {_whole(total)} requests {word} "
        f"{shown(threshold, definition.unit)}, allowed {shown(_share_allowed(guardrail), '%')} "
        f"({place}{by})"
    )


def _share(tally: _Tally, definition: KpiDefinition, histogram: bool) -> float:
    total = max(tally.total, tally.bad)
    bad = tally.bad / total
    share = 1 - bad if definition.direction == "higher" and not histogram else bad
    return share if definition.unit == "1" and not histogram else share * 100


def _without(
    guardrail: Guardrail,
    definition: KpiDefinition,
    outcome: Outcome,
    cause: str | None,
    said: str,
    at: datetime | None,
) -> Measurement:
    histogram = definition.kind == "histogram"
    return Measurement(
        outcome,
        None,
        _share_allowed(guardrail) if histogram else _threshold(guardrail),
        "%" if histogram else definition.unit,
        0,
        0,
        None,
        cause,
        f"{definition.name}: {said}",
        at,
    )


def _fails(value: float, guardrail: Guardrail) -> bool:
    # Written so that a value which is not a number fails.
    if guardrail.at_most is not None:
        return not value <= guardrail.at_most
    return not value >= _threshold(guardrail)


def _threshold(guardrail: Guardrail) -> float:
    threshold = guardrail.at_least if guardrail.at_most is None else guardrail.at_most
    if threshold is None:
        raise ValueError(f"the guardrail on {guardrail.kpi} has no limit; resolve it first")
    return threshold


def _share_allowed(guardrail: Guardrail) -> float:
    share = guardrail.slow_share_percent
    return SLOW_SHARE_PERCENT if share is None else share


def _worst(values: Iterable[tuple[str, float]], guardrail: Guardrail) -> tuple[str, float]:
    sign = 1 if guardrail.at_most is not None else -1
    return min(values, key=lambda pair: (-sign * pair[1], pair[0]))


def _compared(failed: bool, guardrail: Guardrail) -> str:
    if not failed:
        return "is within its limit of"
    return "is over its limit of" if guardrail.at_most is not None else "is under its limit of"


def _lost(look: LookSample) -> str:
    return f", {look.lost} without data" if look.lost else ""


def _of(definition: KpiDefinition) -> str:
    return "bad " if definition.direction == "higher" else ""


def _cause(cause: str) -> str:
    return CAUSES.get(cause, cause)


def _whole(count: float) -> str:
    return f"{count:.10g}"


def counted(number: int, noun: str) -> str:
    """Return "1 tenant", "2 tenants"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def shown(value: float, unit: str) -> str:
    """Return a number with its unit, short enough for a sentence; a bare share has no unit."""
    digits = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return digits if unit in ("1", "count") else f"{digits} {unit}"
