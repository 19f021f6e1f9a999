"""One point that somebody sent and what is known of its series -> what is kept. Pure.

Senders count in two ways: from their own start on (cumulative), or since they last sent (delta).
What is kept is always one number that only rises, so that whoever looks sees increments and need
not know who counted how, or that a sender began anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

FUTURE_TOLERANCE: Final = timedelta(seconds=5)
"""How far a sender's clock may be ahead of ours."""

PointKind = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True, slots=True)
class PushedPoint:
    """What was sent. A histogram's values are its counts per bucket, the last one up to infinity.

    `start`: since when a cumulative sender has counted, where it says so.
    """

    metric: str
    labels: Mapping[str, str]
    kind: PointKind
    values: tuple[float, ...]
    at: datetime
    bounds: tuple[float, ...] | None = None
    delta: bool = False
    start: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeptPoint:
    """What is known of one series: the sender's last values, and what was counted before them."""

    kind: PointKind
    at: datetime
    raw: tuple[float, ...]
    base: tuple[float, ...]
    bounds: tuple[float, ...] | None = None
    start: datetime | None = None
    delta: bool = False

    @property
    def values(self) -> tuple[float, ...]:
        """Return what a look sees."""
        return tuple(base + raw for base, raw in zip(self.base, self.raw, strict=True))


class PointRefused(Exception):
    """The point cannot be used; the code is for machines, the sentence for people."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


def merge(
    before: KeptPoint | None, point: PushedPoint, *, now: datetime, oldest: timedelta
) -> KeptPoint:
    """Return what is kept after the point; `before` itself where it was sent twice.

    Raises PointRefused for what is late, of the future, or no count.
    """
    _check(point, now, oldest)
    if before is not None and point.at <= before.at:
        if point.at == before.at and (point.delta or point.values == before.raw):
            return before
        raise PointRefused(
            "late",
            f"late: {_shown(point.at)} is not after the {_shown(before.at)} that is here already",
        )
    if before is None or point.kind == "gauge" or not _goes_on(before, point):
        return _first(point, oldest)
    if point.delta or _began_anew(before, point):
        return _kept(point, base=before.values)
    return _kept(point, base=before.base)


def _check(point: PushedPoint, now: datetime, oldest: timedelta) -> None:
    if point.at > now + FUTURE_TOLERANCE:
        ahead = (point.at - now).total_seconds()
        raise PointRefused(
            "future", f"future: {_shown(point.at)} is {ahead:.0f} s ahead; set the sender's clock"
        )
    if now - point.at > oldest:
        behind = (now - point.at).total_seconds()
        raise PointRefused(
            "late",
            f"late: {_shown(point.at)} is {behind:.0f} s ago, older than"
            f" {oldest.total_seconds():g} s",
        )
    if point.kind != "gauge" and not all(math.isfinite(v) and v >= 0 for v in point.values):
        raise PointRefused("not_a_count", "not_a_count: a count is a number from 0 on")


def _goes_on(before: KeptPoint, point: PushedPoint) -> bool:
    return (
        before.kind == point.kind and before.bounds == point.bounds and before.delta == point.delta
    )


def _began_anew(before: KeptPoint, point: PushedPoint) -> bool:
    # A start moves a little with some senders; one after the last point is a new life.
    start = point.start
    if start is not None and start != before.start and start >= before.at:
        return True
    return any(now < then for then, now in zip(before.raw, point.values, strict=True))


def _first(point: PushedPoint, oldest: timedelta) -> KeptPoint:
    """Return a series that was not known: what its sender counted long ago is no increment."""
    recent = point.delta or (point.start is not None and point.at - point.start <= oldest)
    if point.kind == "gauge" or recent:
        return _kept(point, base=(0.0,) * len(point.values))
    return _kept(point, base=tuple(-value for value in point.values))


def _kept(point: PushedPoint, *, base: tuple[float, ...]) -> KeptPoint:
    return KeptPoint(
        kind=point.kind,
        at=point.at,
        raw=point.values,
        base=base,
        bounds=point.bounds,
        start=point.start,
        delta=point.delta,
    )


def _shown(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
