"""Recorded minutes of a rollout with nothing released -> looks, as the watch would have had them.

Only the shape is changed here: whom a guardrail is about is added up, and the events of a minute
are dealt out over its looks. Who judges them are the functions of the watch. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Final

from batches.evidence.calibration import Usual
from batches.evidence.plan_evidence import Seen, counts_of
from batches.evidence.rules import EvidenceTest
from batches.history.rollout_history import Stretch, dealt, shares_of, summed
from batches.looks.kpi_points import GaugePoint, HistogramPoint, LookSample, Point, RatioPoint
from batches.replay.replaying import Judging

ALL: Final = "all upgraded tenants"
"""The one tenant into which all are summed up: a share over all tenants is that of their sum."""
OTHERS: Final = "all others"
OWN: Final = "own_history"


@dataclass(frozen=True, slots=True)
class About:
    """Whom a guardrail is about (`plan`, `batch` or `tenant`), and whether it needs their past."""

    scope: str
    own: bool


@dataclass(slots=True)
class Looks:
    """The looks of one rollout for guardrails of one kind; all are judged at once."""

    looks: list[LookSample]
    judgings: list[Judging]


@dataclass(frozen=True, slots=True)
class Past:
    """What was known of the tenants before a rollout.

    `usual`: per Kpi for the evidence test, and why it is too little where it is. `means`: per Kpi
    each tenant's own mean.
    """

    usual: Mapping[str, tuple[Usual, str]]
    means: Mapping[str, Mapping[str, float]]


def guardrail_looks(
    kpi: str,
    about: About,
    course: Sequence[Stretch],
    past: Past,
    alone: frozenset[str],
    look_seconds: float,
    dice: Random,
) -> Looks:
    """Return the looks at one Kpi as guardrails about these tenants see them.

    `alone`: the tenants that are judged each by itself.
    """
    count = max(1, round(60 / look_seconds))
    found = Looks([], [])
    for stretch in course:
        points = stretch.minute.points.get(kpi, {})
        means = past.means.get(kpi, {})
        canary, baselines = _canary(about, stretch, points, means, alone)
        if not canary:
            continue
        upgraded = frozenset(stretch.upgraded)
        others = summed([point for name, point in points.items() if name not in upgraded])
        new = {name: dealt(point, count, dice) for name, point in canary.items()}
        old = dealt(others, count, dice) if others is not None else []
        for number in range(count):
            at = stretch.minute.at + timedelta(seconds=60 * (number + 1) / count)
            look = LookSample(
                kpi,
                at,
                canary={name: parts[number] for name, parts in new.items()},
                control={OTHERS: old[number]} if old else {},
                source="history",
            )
            found.looks.append(look)
            found.judgings.append(
                Judging(
                    at,
                    tuple(canary),
                    stretch.soak_started,
                    {kpi: at},
                    batch=stretch.batch,
                    batch_of=dict.fromkeys(canary, stretch.batch),
                    baselines={kpi: baselines},
                )
            )
    return found


def _canary(
    about: About,
    stretch: Stretch,
    points: Mapping[str, Point],
    means: Mapping[str, float],
    alone: frozenset[str],
) -> tuple[dict[str, Point], dict[str, float]]:
    """Return whom one minute is about, and what each was like before."""
    if about.scope == "tenant":
        judged = {name: points[name] for name in stretch.upgraded if name in points}
        judged = {name: point for name, point in judged.items() if name in alone}
        return judged, {name: means[name] for name in judged if name in means}
    groups = dict(enumerate(stretch.batches, start=1))
    if about.scope == "batch":
        groups = {stretch.batch: groups[stretch.batch]}
    seen = {
        f"batch {number}": {name: points[name] for name in names if name in points}
        for number, names in groups.items()
    }
    if about.own:
        return _with_means(seen, means)
    if about.scope == "plan":
        seen = {ALL: {name: point for group in seen.values() for name, point in group.items()}}
    return _summed(seen), {}


def _with_means(
    groups: Mapping[str, Mapping[str, Point]], means: Mapping[str, float]
) -> tuple[dict[str, Point], dict[str, float]]:
    """Return each batch as one tenant with the mean that its tenants had before.

    Batch by batch, so that a window in which the next one begins expects of each what it is like.
    """
    everybody = {name: point for group in groups.values() for name, point in group.items()}
    known = {name: point for name, point in everybody.items() if name in means}
    if not known or 2 * len(known) < len(everybody):
        # Too many without a past: the guardrail has nothing to compare with, and says so.
        return _summed(groups), {}
    if any(isinstance(point, GaugePoint) for point in known.values()):
        # Only the newest value of a gauge counts, and each tenant's as much as another's.
        groups = {ALL: known}
    kept = {
        name: {tenant: point for tenant, point in group.items() if tenant in known}
        for name, group in groups.items()
    }
    kept = {name: group for name, group in kept.items() if group}
    return _summed(kept), {name: _mixed(group, means) for name, group in kept.items()}


def _summed(groups: Mapping[str, Mapping[str, Point]]) -> dict[str, Point]:
    wholes = {name: summed(list(group.values())) for name, group in groups.items()}
    return {name: whole for name, whole in wholes.items() if whole is not None}


def _mixed(points: Mapping[str, Point], means: Mapping[str, float]) -> float:
    """Return the mean of the tenants' own means, each for as many events as it had."""
    weights = {tenant: _events(point) for tenant, point in points.items()}
    whole = math.fsum(weights.values())
    if whole <= 0:
        return math.fsum(means[tenant] for tenant in points) / len(points)
    return math.fsum(means[tenant] * n for tenant, n in weights.items()) / whole


def _events(point: Point) -> float:
    match point:
        case GaugePoint():
            return 1.0
        case RatioPoint():
            return max(point.bad, point.total)
        case HistogramPoint():
            return point.total


# The evidence test.


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of one minute, dealt out; what is expected goes with the requests."""

    errors: Sequence[float]
    requests: Sequence[float]
    expected_each: float

    @classmethod
    def of(
        cls, errors: float, requests: float, expected: float | None, parts: int, dice: Random
    ) -> _Side:
        """Return the side of a minute with these sums."""
        bad = shares_of(errors, parts, dice)
        good = shares_of(max(0.0, requests - errors), parts, dice)
        each = (expected or 0.0) / requests if requests > 0 else 0.0
        return cls(bad, [b + g for b, g in zip(bad, good, strict=True)], each)


def evidence_looks(
    test: EvidenceTest, course: Sequence[Stretch], past: Past, look_seconds: float, dice: Random
) -> Iterator[tuple[Stretch, datetime, list[Seen]]]:
    """Return what each look at all Kpis of the test comes to, moment by moment."""
    count = max(1, round(60 / look_seconds))
    for stretch in course:
        minutes = {kpi: _minute(kpi, test, stretch, past, count, dice) for kpi in test.kpis}
        for number in range(count):
            at = stretch.minute.at + timedelta(seconds=60 * (number + 1) / count)
            yield stretch, at, [minute.at(at, number) for minute in minutes.values()]


@dataclass(frozen=True, slots=True)
class _Minute:
    """One Kpi in one minute of a rollout."""

    whole: Seen
    canary: _Side
    control: _Side
    seconds: float

    def at(self, at: datetime, number: int) -> Seen:
        """Return one of its looks."""
        known = self.whole.expected is not None
        canary, control = self.canary, self.control
        expected = control.requests[number] * control.expected_each
        counts = replace(
            self.whole.counts,
            seconds=self.seconds,
            canary_errors=canary.errors[number],
            canary_requests=canary.requests[number],
            control_errors=control.errors[number],
            control_requests=control.requests[number],
            canary_expected=canary.requests[number] * canary.expected_each if known else None,
            control_expected=expected if known else None,
        )
        return Seen(self.whole.kpi, at, counts, expected if known else None)


def _minute(
    kpi: str, test: EvidenceTest, stretch: Stretch, past: Past, count: int, dice: Random
) -> _Minute:
    points = stretch.minute.points.get(kpi, {})
    upgraded = frozenset(stretch.upgraded)
    look = LookSample(
        kpi,
        stretch.minute.at,
        canary={name: point for name, point in points.items() if name in upgraded},
        control={name: point for name, point in points.items() if name not in upgraded},
    )
    usual = past.usual.get(kpi, (Usual(), ""))[0]
    counts, expected = counts_of(look, test.kpis[kpi], usual, seconds=60)
    return _Minute(
        Seen(kpi, look.at, counts, expected),
        _Side.of(counts.canary_errors, counts.canary_requests, counts.canary_expected, count, dice),
        _Side.of(
            counts.control_errors, counts.control_requests, counts.control_expected, count, dice
        ),
        60 / count,
    )
