"""Read what was sent to us: a pushed series stands until it is too old to count."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

from batches.metric_sources.base import (
    MetricUnavailable,
    PushedStore,
    Selector,
    Series,
    SourceSpec,
)

Result = TypeVar("Result")


class PushedSource:
    """The series that senders pushed to this source, as they stand now."""

    def __init__(self, spec: SourceSpec, *, store: PushedStore) -> None:
        self.name = spec.name
        self._spec = spec
        self._store = store

    async def read(
        self, selectors: Sequence[Selector], *, timeout: float
    ) -> dict[Selector, list[Series]]:
        """Return the series of each metric name, read from our own store."""
        return await self._current(selectors, self._spec.stale_seconds, timeout)

    async def newest(
        self, selectors: Sequence[Selector], *, hours: float, timeout: float
    ) -> dict[Selector, list[Series]]:
        """Return the series of the last hours with the time of their last point as value."""
        try:
            found = await self._current(selectors, 3600 * hours, timeout)
        except MetricUnavailable as unavailable:
            if unavailable.cause != "name_gone":
                raise
            return {selector: [] for selector in selectors}
        return {
            selector: [
                Series(one.labels, one.at.timestamp()) for one in series if one.at is not None
            ]
            for selector, series in found.items()
        }

    async def names(self, *, timeout: float) -> tuple[str, ...]:
        """Return the names of all metrics that are kept."""
        return await _within(timeout, asyncio.to_thread(self._store.names, self.name))

    async def _current(
        self, selectors: Sequence[Selector], seconds: float, timeout: float
    ) -> dict[Selector, list[Series]]:
        names = {selector: _name_of(selector) for selector in selectors}
        wanted = tuple(dict.fromkeys(names.values()))
        reading = asyncio.to_thread(self._store.current, self.name, wanted, stale_seconds=seconds)
        found = await _within(timeout, reading)
        return {selector: found.get(name, []) for selector, name in names.items()}

    async def close(self) -> None:
        """Do nothing: there is no connection."""


async def _within(timeout: float, reading: Awaitable[Result]) -> Result:
    try:
        async with asyncio.timeout(timeout):
            return await reading
    except TimeoutError as late:
        raise MetricUnavailable("timeout", f"no answer within {timeout:g} s") from late


def _name_of(selector: Selector) -> str:
    if selector.metric is None:
        raise MetricUnavailable(
            "bad_answer", "what is pushed is read by the name of a metric, not by a query"
        )
    return selector.metric
