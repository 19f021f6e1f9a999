"""Read what was sent to us: a pushed series stands until it is too old to count."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from batches.metric_sources.base import (
    MetricUnavailable,
    PushedStore,
    Selector,
    Series,
    SourceSpec,
)


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
        names = {selector: _name_of(selector) for selector in selectors}
        wanted = tuple(dict.fromkeys(names.values()))
        try:
            async with asyncio.timeout(timeout):
                found = await asyncio.to_thread(
                    self._store.current,
                    self.name,
                    wanted,
                    stale_seconds=self._spec.stale_seconds,
                )
        except TimeoutError as late:
            raise MetricUnavailable("timeout", f"no answer within {timeout:g} s") from late
        return {selector: found.get(name, []) for selector, name in names.items()}

    async def close(self) -> None:
        """Do nothing: there is no connection."""


def _name_of(selector: Selector) -> str:
    if selector.metric is None:
        raise MetricUnavailable(
            "bad_answer", "what is pushed is read by the name of a metric, not by a query"
        )
    return selector.metric
