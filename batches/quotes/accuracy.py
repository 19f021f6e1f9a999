"""How good quotes were: measured against quoted, and where each rollback stands in the picture."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from plans.counted_words import counted

FACTOR = 1.5
"""A quote is close when it was not more than so many times what was measured."""
PICTURE = 320.0
"""The side of the square picture; its margins hold the labels."""
MARGIN = 40.0


@dataclass(frozen=True, slots=True)
class PastRollback:
    """One ended rollback; `measured` is None when not every tenant was read back."""

    plan: str
    external_id: str
    trigger: str
    at: datetime
    touched: int
    quoted: float
    expected: float | None
    measured: float | None
    missed: bool

    @property
    def ratio(self) -> float | None:
        """Return measured / quoted: above 1 the quote was wrong."""
        return self.measured / self.quoted if self.measured is not None and self.quoted else None

    @property
    def expected_ratio(self) -> float | None:
        """Return measured / expected."""
        if self.measured is None or not self.expected:
            return None
        return self.measured / self.expected

    @property
    def over_quote(self) -> bool:
        """Tell whether it took longer than the worst case said."""
        return self.ratio is not None and self.ratio > 1


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What many rollbacks say about the quote. Shares are of those with a measurement."""

    rollbacks: int
    measured: int
    over_quote: int
    missed: int
    quote_close: int
    expected_known: int
    expected_close: int
    median_ratio: float | None
    median_expected_ratio: float | None


def accuracy(past: Sequence[PastRollback]) -> Accuracy:
    """Sum rollbacks up."""
    ratios = [one.ratio for one in past if one.ratio is not None]
    expected = [one.expected_ratio for one in past if one.expected_ratio is not None]
    return Accuracy(
        rollbacks=len(past),
        measured=len(ratios),
        over_quote=sum(one.over_quote for one in past),
        missed=sum(one.missed for one in past),
        quote_close=sum(1 / FACTOR <= ratio <= 1 for ratio in ratios),
        expected_known=len(expected),
        expected_close=sum(1 / FACTOR <= ratio <= FACTOR for ratio in expected),
        median_ratio=statistics.median(ratios) if ratios else None,
        median_expected_ratio=statistics.median(expected) if expected else None,
    )


@dataclass(frozen=True, slots=True)
class Mark:
    """A rollback's place in the picture."""

    x: float
    y: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled place on both axes."""

    at: float
    down: float
    label: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """Quoted (across) against measured (up), logarithmic; on the diagonal both are the same."""

    side: float
    low: float
    high: float
    ticks: tuple[Tick, ...]
    marks: tuple[Mark, ...]


def scatter(past: Sequence[PastRollback]) -> Scatter | None:
    """Return the picture; None when nothing was measured."""
    known = [(one, one.quoted, one.measured) for one in past if one.measured and one.quoted > 0]
    if not known:
        return None
    values = [value for _one, quoted, measured in known for value in (quoted, measured or 0.0)]
    first = math.floor(math.log10(min(values)))
    last = max(first + 1, math.ceil(math.log10(max(values))))
    low, high = MARGIN, PICTURE - 12.0

    def place(value: float) -> float:
        share = (math.log10(value) - first) / (last - first)
        return round(low + share * (high - low), 1)

    ticks = tuple(
        Tick(place(10.0**power), round(PICTURE - place(10.0**power), 1), f"{10.0**power:g} s")
        for power in range(first, last + 1)
    )
    marks = tuple(
        Mark(
            place(quoted),
            round(PICTURE - place(measured or quoted), 1),
            "over" if one.over_quote or one.missed else "kept",
            f"{one.external_id}: {measured:.1f} s measured, {quoted:.0f} s quoted,"
            f" {counted(one.touched, 'tenant')}",
        )
        for one, quoted, measured in known
    )
    return Scatter(PICTURE, low, high, ticks, marks)
