"""What one fit probe read of one mapping at its source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from batches.metric_sources.base import Selector, Series
from batches.sources.readings import Answers


@dataclass(frozen=True, slots=True)
class Past:
    """What a source that remembers says of the last hours, per selector."""

    newest: Mapping[Selector, Sequence[Series]] = field(default_factory=dict)
    """The time of the newest sample of each series, as its value in unix seconds."""
    present: Mapping[Selector, Sequence[Series]] = field(default_factory=dict)
    """Which series there were at all, also those too short to have a time."""
    lowest: Mapping[Selector, Sequence[Series]] = field(default_factory=dict)
    highest: Mapping[Selector, Sequence[Series]] = field(default_factory=dict)
    hours: float = 24.0


@dataclass(frozen=True, slots=True)
class Observation:
    """What one probe brought. No answers: the source gave nothing, `cause` and `said` say why.

    `past` is None where the source does not remember; `unasked` says what else could not be read.
    `oldest`: how old a reading may be. `sent`: it was sent to us, we fetch nothing. `counts_for`:
    for how long a value stands, where more than that was read.
    """

    at: datetime
    answers: Answers | None = None
    cause: str = ""
    said: str = ""
    past: Past | None = None
    unasked: str = ""
    names: Sequence[str] = ()
    oldest: timedelta = timedelta(seconds=30)
    sent: bool = False
    counts_for: timedelta | None = None
