"""How often guardrails take a rollout back although nothing was released: a placebo backtest.

Rollouts are drawn at random over recorded history: tenants in random order, a random beginning, the
policy's own batches and soaks. No version was put on, so every rollback is a false one. Looks are
judged by the functions of the watch (`replaying.play`). Pure: history and dice come in.

History is kept by the minute and looks are closer together, so the events of a minute are dealt out
over its looks at random. What is shorter than a minute is therefore not in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Final

from batches.kpi_points import GaugePoint, HistogramPoint, LookSample, Point, RatioPoint
from batches.replaying import Judging, Rule, play

MINUTE: Final = timedelta(minutes=1)
ALL: Final = "all upgraded tenants"
"""The one tenant into which all are summed up: a share over all tenants is that of their sum."""
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
class Fired:
    """How many of the rollouts one guardrail would have broken."""

    key: str
    kpi: str
    action: str
    dry_run: bool
    rollouts: int


@dataclass(slots=True)
class Placebo:
    """What many rollouts with nothing released came to.

    `rolled_back`: rollouts that a guardrail with `action: rollback` would have taken back.
    """

    rollouts: int = 0
    rolled_back: int = 0
    looks: int = 0
    fired: dict[str, Fired] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Return the share of rollouts taken back."""
        return self.rolled_back / self.rollouts if self.rollouts else math.nan

    @property
    def upper(self) -> float:
        """Return the 95 % upper bound of that share."""
        return upper_bound(self.rolled_back, self.rollouts)


def upper_bound(found: int, tried: int, *, risk: float = 0.05) -> float:
    """Return the share above which `found` of `tried` or fewer would be seen with less than `risk`.

    The exact (Clopper-Pearson) one-sided bound; 1 without a try.
    """
    if tried <= 0 or found >= tried:
        return 1.0
    low, high = found / tried, 1.0
    for _halving in range(60):
        middle = (low + high) / 2
        if _at_most(found, tried, middle) > risk:
            low = middle
        else:
            high = middle
    return high


def _at_most(found: int, tried: int, share: float) -> float:
    """Return the probability of at most so many of them."""
    if share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    total = 0.0
    for k in range(found + 1):
        log = (
            math.lgamma(tried + 1)
            - math.lgamma(k + 1)
            - math.lgamma(tried - k + 1)
            + k * math.log(share)
            + (tried - k) * math.log1p(-share)
        )
        total += math.exp(log)
    return min(1.0, total)


def backtest(
    minutes: Sequence[Minute],
    rules: Sequence[Rule],
    legs: Sequence[Leg],
    *,
    rollouts: int,
    look_seconds: float,
    max_age_seconds: float,
    dice: Random,
    go_on: Callable[[], bool] = lambda: True,
) -> Placebo:
    """Return what so many rollouts came to, or fewer when `go_on` says that the time is over.

    Nothing comes of history without two minutes or two tenants.
    """
    names = sorted({name for minute in minutes for kpi in minute.points.values() for name in kpi})
    found = Placebo(
        fired={
            rule.key: Fired(
                rule.key,
                rule.definition.name,
                rule.guardrail.action,
                rule.guardrail.dry_run,
                0,
            )
            for rule in rules
        }
    )
    needed = math.ceil(sum(leg.soak_seconds for leg in legs) / 60)
    if len(minutes) < 2 or len(names) < 2:
        return found
    while found.rollouts < rollouts and go_on():
        latest = max(0, len(minutes) - max(1, needed))
        begins = dice.randint(0, latest)
        order = dice.sample(names, len(names))
        course = _course(minutes[begins : begins + max(1, needed)], order, legs)
        _count(found, list(course), rules, look_seconds, max_age_seconds, dice)
    return found


@dataclass(frozen=True, slots=True)
class _Stretch:
    """One minute of a rollout: who is upgraded, and when the present soak began."""

    minute: Minute
    upgraded: Sequence[str]
    soak_started: datetime


def _course(
    minutes: Sequence[Minute], order: Sequence[str], legs: Sequence[Leg]
) -> Iterator[_Stretch]:
    """Return the rollout minute by minute, batch after batch."""
    began = minutes[0].at
    ends, share, number = began, 0.0, -1
    for minute in minutes:
        while minute.at >= ends and number + 1 < len(legs):
            number += 1
            share += legs[number].share
            began, ends = minute.at, minute.at + timedelta(seconds=legs[number].soak_seconds)
        size = min(len(order), max(number + 1, round(share * len(order))))
        yield _Stretch(minute, order[:size], began)


def _count(
    found: Placebo,
    course: Sequence[_Stretch],
    rules: Sequence[Rule],
    look_seconds: float,
    max_age_seconds: float,
    dice: Random,
) -> None:
    """Play one rollout and add what came of it, up to its first rollback."""
    found.rollouts += 1
    first: dict[str, datetime] = {}
    for kpi in dict.fromkeys(rule.definition.name for rule in rules):
        looks, judgings = _looks(kpi, course, look_seconds, dice)
        found.looks += len(looks)
        steps = play(
            [rule for rule in rules if rule.definition.name == kpi],
            looks,
            judgings,
            max_age_seconds=max_age_seconds,
        )
        for step in steps:
            if step.ruling.verdict == "breached":
                first.setdefault(step.rule.key, step.at)
                if _takes_back(found.fired[step.rule.key]):
                    break
    back = min((at for key, at in first.items() if _takes_back(found.fired[key])), default=None)
    found.rolled_back += back is not None
    for key, at in first.items():
        if back is None or at <= back:
            was = found.fired[key]
            found.fired[key] = Fired(was.key, was.kpi, was.action, was.dry_run, was.rollouts + 1)


def _takes_back(fired: Fired) -> bool:
    return fired.action == "rollback" and not fired.dry_run


def _looks(
    kpi: str, course: Sequence[_Stretch], look_seconds: float, dice: Random
) -> tuple[list[LookSample], list[Judging]]:
    """Return the looks of one Kpi and when they are judged: at once."""
    count = max(1, round(60 / look_seconds))
    looks: list[LookSample] = []
    judgings: list[Judging] = []
    for stretch in course:
        points = stretch.minute.points.get(kpi, {})
        whole = summed([points[name] for name in stretch.upgraded if name in points])
        if whole is None:
            continue
        for number, part in enumerate(dealt(whole, count, dice), start=1):
            at = stretch.minute.at + timedelta(seconds=60 * number / count)
            looks.append(LookSample(kpi, at, canary={ALL: part}, source="history"))
            judgings.append(Judging(at, 1, stretch.soak_started, {kpi: at}))
    return looks, judgings


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
