"""What every metric source takes and gives back. A source only reads; it judges nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Protocol, runtime_checkable

BYTE_CAP: Final = 64_000_000
"""No answer is read further: 10,000 tenants on two versions with histograms are 23 MB."""

STALE_SECONDS: Final[Mapping[str, float]] = {"push": 90.0, "cdevents": 3600.0}
"""Senders of metrics push each minute or more often, pipelines when they have run."""

Cause = Literal["source_down", "timeout", "unauthorized", "bad_answer", "name_gone"]


@dataclass(frozen=True, slots=True)
class Selector:
    """What to read: every series of one metric name, or the answer to one query."""

    metric: str | None = None
    query: str | None = None

    def __str__(self) -> str:
        return self.metric or self.query or ""


@dataclass(frozen=True, slots=True)
class Series:
    """One value with its labels, and when it was taken where the source tells."""

    labels: Mapping[str, str]
    value: float
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """One entry of the dictionary's `sources`, checked; `${NAME}` is not filled in yet."""

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stale_seconds(self) -> float:
        """Return how long a value that was sent to us counts; 0 where we fetch it ourselves."""
        return float(self.options.get("stale_seconds", STALE_SECONDS.get(self.kind, 0.0)))


class MetricUnavailable(Exception):
    """The source gave nothing that can be used; the sentence is fit to be stored and shown."""

    def __init__(self, cause: Cause, sentence: str) -> None:
        super().__init__(sentence)
        self.cause: Cause = cause
        self.sentence = sentence


class PushedStore(Protocol):
    """Where pushed series are kept until somebody looks."""

    def current(
        self, source: str, metrics: Sequence[str], *, stale_seconds: float
    ) -> dict[str, list[Series]]:
        """Return the series of each metric that were sent lately enough, none for one unknown.

        It may block, so it is called in a thread. Raises MetricUnavailable.
        """

    def names(self, source: str) -> tuple[str, ...]:
        """Return the metrics that are kept of the source, as `current` takes them."""


class MetricSource(Protocol):
    """The way to one monitoring system. It belongs to the event loop that first used it."""

    name: str

    async def read(
        self, selectors: Sequence[Selector], *, timeout: float
    ) -> dict[Selector, list[Series]]:
        """Return the series of each selector, read within the timeout in seconds.

        No series is an empty list: it means no data, never zero. Raises MetricUnavailable.
        """

    async def close(self) -> None:
        """Give connections back; the source may be used again afterwards."""


@runtime_checkable
class RemembersTimes(Protocol):
    """A source that knows of each series when it last had something to say."""

    async def newest(
        self, selectors: Sequence[Selector], *, hours: float, timeout: float
    ) -> dict[Selector, list[Series]]:
        """Return the series of the last hours; their value is the time in unix seconds.

        Raises MetricUnavailable.
        """


@runtime_checkable
class TellsNames(Protocol):
    """A source that can say which metrics it has; used only to say what was meant instead."""

    async def names(self, *, timeout: float) -> tuple[str, ...]:
        """Return the names of its metrics. Raises MetricUnavailable."""
