"""A JSON batch of samples -> points, or every problem of it with its place. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from batches.deployers.answer_text import storable
from batches.kpis.dictionary_json import Place, Problem
from batches.kpis.dictionary_sources import PUSHED_METRIC
from batches.pushes.points import PointKind, PushedPoint

MOST_SAMPLES: Final = 2_000
MOST_LABELS: Final = 64
LONGEST_LABEL: Final = 300
MOST_BUCKETS: Final = 200
MOST_PROBLEMS: Final = 20
_KINDS: Final[Mapping[str, PointKind]] = {
    "gauge": "gauge",
    "counter": "counter",
    "histogram": "histogram",
}
_WORDS: Final = {"NaN": math.nan, "+Inf": math.inf, "-Inf": -math.inf}


class BatchRejected(Exception):
    """Nothing of the batch can be taken; `problems` says why."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, problems)))


def read_batch(body: object, *, now: datetime) -> tuple[str | None, list[PushedPoint]]:
    """Return the name of the source, if it is said, and the points. Raises BatchRejected."""
    problems: list[Problem] = []
    if not isinstance(body, dict):
        raise BatchRejected([Problem("", 'write {"samples": [...]}')])
    top = Place(body, "", problems)
    top.only("source", "samples")
    source = top.text("source", rule="write the name of a source") if "source" in body else None
    samples = top.sequence("samples")
    if not samples:
        top.note("samples", "is missing; write at least one sample")
    elif len(samples) > MOST_SAMPLES:
        top.note("samples", f"holds {len(samples)}; send at most {MOST_SAMPLES} at once")
        raise BatchRejected(problems)
    points = []
    for place in top.items("samples"):
        points.append(_read_sample(place, now))
        if len(problems) >= MOST_PROBLEMS:
            break
    if problems:
        raise BatchRejected(problems)
    return source, [point for point in points if point is not None]


def _read_sample(place: Place, now: datetime) -> PushedPoint | None:
    before = len(place.problems)
    place.only("metric", "kind", "labels", "value", "buckets", "temporality", "at", "start")
    metric = place.text("metric", form=PUSHED_METRIC, rule="write a name such as requests_total")
    kind = _KINDS.get(place.choice("kind", tuple(_KINDS)), "gauge")
    delta = place.choice("temporality", ("cumulative", "delta"), default="cumulative") == "delta"
    if delta and kind == "gauge":
        place.note("temporality", "leave it out: a gauge is a value, not a count")
    if delta and "at" not in place.values:
        place.note("at", "is missing; by its time a delta that is sent twice is known again")
    at = _moment(place, "at") or now
    start = _moment(place, "start")
    labels = _labels(place)
    bounds: tuple[float, ...] | None = None
    if kind == "histogram":
        bounds, values = _buckets(place)
    else:
        values = _value(place)
    if len(place.problems) > before:
        return None
    return PushedPoint(metric, labels, kind, values, at, bounds, delta, start)


def _value(place: Place) -> tuple[float, ...]:
    if "buckets" in place.values:
        place.note("buckets", "is for a histogram; write value")
    value = place.values.get("value")
    number = _WORDS.get(value) if isinstance(value, str) else _number(value)
    if number is None:
        place.note("value", 'write a number, or "NaN", "+Inf", "-Inf"')
        return (0.0,)
    return (number,)


def _buckets(place: Place) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return bounds and counts per bucket; the sample tells them added up, as `le` does."""
    if "value" in place.values:
        place.note("value", 'is for a gauge or a counter; write buckets {"0.1": 3, "+Inf": 5}')
    buckets = place.child("buckets")
    if buckets is None or not 1 <= len(buckets.values) <= MOST_BUCKETS:
        place.note("buckets", 'write {"0.1": 3, "0.5": 5, "+Inf": 5}: how many up to each bound')
        return (), ()
    cells: list[tuple[float, float]] = []
    for bound, count in buckets.values.items():
        edge, number = _bound(bound), _number(count)
        if edge is None or number is None or number < 0:
            buckets.note(bound, 'write "bound": count, such as "0.5": 12')
        else:
            cells.append((edge, number))
    cells.sort()
    if not cells or cells[-1][0] != math.inf:
        buckets.note("", 'has no "+Inf"; write it: how many there were in all')
        return (), ()
    sums = [count for _edge, count in cells]
    if len({edge for edge, _count in cells}) != len(cells):
        buckets.note("", "names a bound twice")
    if any(more < less for less, more in pairwise(sums)):
        buckets.note("", "counts must not fall: each bound includes those below it")
    counts = [sums[0], *(more - less for less, more in pairwise(sums))]
    return tuple(edge for edge, _count in cells[:-1]), tuple(counts)


def _labels(place: Place) -> dict[str, str]:
    labels = place.child("labels")
    if labels is None:
        return {}
    if len(labels.values) > MOST_LABELS:
        labels.note("", f"holds {len(labels.values)} labels; write at most {MOST_LABELS}")
    for name, value in labels.values.items():
        if not isinstance(value, str) or len(value) > LONGEST_LABEL or not storable(value):
            labels.note(name, f"write a text of at most {LONGEST_LABEL} characters")
        elif not name or len(name) > LONGEST_LABEL or not storable(name) or name == "le":
            labels.note(name, "cannot be used as the name of a label")
    return {name: str(value) for name, value in labels.values.items()}


def _moment(place: Place, key: str) -> datetime | None:
    if key not in place.values:
        return None
    value = place.values[key]
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is not None and moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    place.note(key, "write a time with its zone, such as 2026-01-31T12:00:00Z")
    return None


def _bound(text: str) -> float | None:
    try:
        bound = math.inf if text == "+Inf" else float(text)
    except ValueError:
        return None
    return None if math.isnan(bound) or bound == -math.inf else bound


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
