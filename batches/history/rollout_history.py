"""Rollouts laid over recorded history: who is upgraded in which minute, and what was seen. Pure.

History is kept by the minute and looks are closer together, so the events of a minute are dealt out
over its looks at random. What is shorter than a minute is therefore not in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final

from batches.looks.kpi_points import GaugePoint, HistogramPoint, Point, RatioPoint

EXACT_UP_TO: Final = 64
"""So many events are dealt out one by one, more by the normal approximation."""


@dataclass(frozen=True, slots=True)
class Minute:
    """What was recorded of each tenant in one minute, per Kpi."""

    at: datetime
    points: Mapping[str, Mapping[str, Point]]


@dataclass(frozen=True, slots=True)
class Leg:
    """One batch of the rollout: the share of all tenants that it adds, and its soak."""

    share: float
    soak_seconds: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """One minute of a rollout: who is upgraded, and when the present soak began.

    `starts`: where in `upgraded` each batch begins that was upgraded so far.
    """

    minute: Minute
    upgraded: Sequence[str]
    soak_started: datetime
    starts: tuple[int, ...] = (0,)

    @property
    def batch(self) -> int:
        """Return the number of the present batch, from 1."""
        return len(self.starts)

    @property
    def batches(self) -> Sequence[Sequence[str]]:
        """Return the tenants of each batch that was upgraded so far."""
        ends = [*self.starts[1:], len(self.upgraded)]
        return [self.upgraded[a:b] for a, b in zip(self.starts, ends, strict=True)]


def course_of(
    minutes: Sequence[Minute], order: Sequence[str], legs: Sequence[Leg]
) -> Iterator[Stretch]:
    """Return the rollout minute by minute, batch after batch."""
    began = minutes[0].at
    ends, share, number = began, 0.0, -1
    size = 0
    starts: tuple[int, ...] = ()
    for minute in minutes:
        while minute.at >= ends and number + 1 < len(legs):
            number += 1
            share += legs[number].share
            began, ends = minute.at, minute.at + timedelta(seconds=legs[number].soak_seconds)
            starts = (*starts, size)
            size = min(len(order), max(number + 1, round(share * len(order))))
        yield Stretch(minute, order[:size], began, starts)


def summed(points: Sequence[Point]) -> Point | None:
    """Return the points of many tenants as one with the same share, or mean; None without any.

    Buckets that not all tenants have are left out: a share needs the same bound everywhere.
    """
    gauges = [point.value for point in points if isinstance(point, GaugePoint)]
    if gauges:
        return GaugePoint(math.fsum(gauges) / len(gauges))
    ratios = [point for point in points if isinstance(point, RatioPoint)]
    if ratios:
        bad = math.fsum(point.bad for point in ratios)
        return RatioPoint(bad, math.fsum(point.total for point in ratios))
    histograms = [point for point in points if isinstance(point, HistogramPoint)]
    if not histograms:
        return None
    bounds = set(histograms[0].buckets).intersection(*(one.buckets for one in histograms))
    return HistogramPoint(
        {bound: math.fsum(one.buckets[bound] for one in histograms) for bound in sorted(bounds)},
        math.fsum(one.total for one in histograms),
    )


def dealt(whole: Point, parts: int, dice: Random) -> list[Point]:
    """Return the events of a minute dealt out at random; together they are the minute's again."""
    match whole:
        case GaugePoint():
            return [whole] * parts
        case RatioPoint():
            bad = shares_of(whole.bad, parts, dice)
            good = shares_of(max(0.0, whole.total - whole.bad), parts, dice)
            return [RatioPoint(b, b + g) for b, g in zip(bad, good, strict=True)]
        case HistogramPoint():
            bounds = sorted(whole.buckets)
            edges = [0.0, *(whole.buckets[bound] for bound in bounds), whole.total]
            columns = [
                shares_of(max(0.0, edges[i + 1] - edges[i]), parts, dice)
                for i in range(len(edges) - 1)
            ]
            return [_histogram(bounds, cells) for cells in zip(*columns, strict=True)]


def _histogram(bounds: Sequence[float], cells: Sequence[float]) -> HistogramPoint:
    upto, buckets = 0.0, {}
    for bound, cell in zip(bounds, cells, strict=False):
        upto += cell
        buckets[bound] = upto
    return HistogramPoint(buckets, upto + cells[-1])


def shares_of(count: float, parts: int, dice: Random) -> list[float]:
    """Return `count` events thrown into so many parts; a fraction of an event stays in the last."""
    whole = math.floor(count)
    cells = [0.0] * parts
    if whole <= EXACT_UP_TO:
        for _event in range(whole):
            cells[dice.randrange(parts)] += 1
    else:
        left = whole
        for part in range(parts - 1):
            share = 1 / (parts - part)
            drawn = round(dice.gauss(left * share, math.sqrt(left * share * (1 - share))))
            cells[part] = float(min(left, max(0, drawn)))
            left -= int(cells[part])
        cells[-1] = float(left)
    cells[-1] += count - whole
    return cells
