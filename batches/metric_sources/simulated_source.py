"""A source in memory that says what it is told to: for tests, forecasts and simulations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from batches.metric_sources.base import MetricUnavailable, Selector, Series

Values = Mapping[Selector, Sequence[Series]]


class SimulatedSource:
    """Gives the values of a mapping, or of a function that is called for each read."""

    def __init__(self, name: str, values: Values | Callable[[], Values] | None = None) -> None:
        self.name = name
        self.values: Values | Callable[[], Values] = {} if values is None else values
        self.fault: MetricUnavailable | None = None
        self.delay_seconds = 0.0
        self.reads = 0

    async def read(
        self, selectors: Sequence[Selector], *, timeout: float
    ) -> dict[Selector, list[Series]]:
        """Return the values told. Raises the fault that was set, or a timeout."""
        self.reads += 1
        if self.delay_seconds:
            await asyncio.sleep(min(self.delay_seconds, timeout))
            if self.delay_seconds > timeout:
                raise MetricUnavailable("timeout", f"no answer within {timeout:g} s")
        if self.fault is not None:
            raise MetricUnavailable(self.fault.cause, self.fault.sentence)
        values = self.values() if callable(self.values) else self.values
        return {selector: list(values.get(selector, ())) for selector in selectors}

    async def close(self) -> None:
        """Do nothing: there is no connection."""
