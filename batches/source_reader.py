"""Read metric sources in a thread of its own: each read is a task with its own time-out."""

import asyncio
import logging
import os
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime

from batches import surroundings
from batches.metric_sources import (
    MetricSource,
    MetricUnavailable,
    Selector,
    Series,
    SourceSpec,
    build,
)

logger = logging.getLogger(__name__)
DEFAULT_TIMEOUT_SECONDS = 4.0
Build = Callable[[SourceSpec], MetricSource]
GRACE_SECONDS = 1.0
"""How much longer than its time-out an adapter may take before it is cut off."""


def _configured(spec: SourceSpec) -> MetricSource:
    return build(spec, environ=os.environ)


@dataclass(frozen=True, slots=True)
class SourceAnswer:
    """What one read brought: series, or why there are none. `at` is right before it was asked."""

    source: str
    at: datetime
    series: dict[Selector, list[Series]] | None
    unavailable: MetricUnavailable | None


class SourceReader:
    """Keeps one adapter per source; a slow one never delays another's look."""

    def __init__(self, *, on_answer: Callable[[], None], build: Build | None = None) -> None:
        self._loop = surroundings.here().loop("metric sources")
        self._build = build or _configured
        self._sources: dict[str, tuple[SourceSpec, MetricSource]] = {}
        self._reading: set[str] = set()
        self._answers: queue.SimpleQueue[SourceAnswer] = queue.SimpleQueue()
        self._on_answer = on_answer

    def start(self) -> None:
        """Begin to accept reads."""
        self._loop.start()

    def is_reading(self, source: str) -> bool:
        """Tell whether a read of the source is under way."""
        return source in self._reading

    def read(self, spec: SourceSpec, selectors: Sequence[Selector]) -> None:
        """Ask the source once; the answer comes through `finished`."""
        self._reading.add(spec.name)
        at = surroundings.here().now()
        reading = self._loop.submit(self._read(spec, list(selectors)))
        reading.add_done_callback(lambda read: self._ended(spec, at, read))

    def _ended(self, spec: SourceSpec, at: datetime, read: "Future[None]") -> None:
        """Answer for a read that failed in a way nobody foresaw: it must not block the source."""
        if read.cancelled() or (error := read.exception()) is None:
            return
        logger.error("The metric source %s could not be read.", spec.name, exc_info=error)
        told = MetricUnavailable("bad_answer", f"{spec.name} could not be read: {error}"[:300])
        self._answers.put(SourceAnswer(spec.name, at, None, told))
        self._on_answer()

    async def _read(self, spec: SourceSpec, selectors: list[Selector]) -> None:
        known = self._sources.get(spec.name)
        if known is None or known[0] != spec:
            if known is not None:
                await known[1].close()
            known = (spec, self._build(spec))
            self._sources[spec.name] = known
        at = surroundings.here().now()
        timeout = float(spec.options.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS))
        try:
            async with asyncio.timeout(timeout + GRACE_SECONDS):
                series = await known[1].read(selectors, timeout=timeout)
            answer = SourceAnswer(spec.name, at, series, None)
        except TimeoutError:
            late = MetricUnavailable("timeout", f"no answer within {timeout:g} s")
            answer = SourceAnswer(spec.name, at, None, late)
        except MetricUnavailable as unavailable:
            answer = SourceAnswer(spec.name, at, None, unavailable)
        self._answers.put(answer)
        self._on_answer()

    def finished(self) -> list[SourceAnswer]:
        """Return the answers that came since the last call."""
        answers: list[SourceAnswer] = []
        while True:
            try:
                answer = self._answers.get_nowait()
            except queue.Empty:
                return answers
            self._reading.discard(answer.source)
            answers.append(answer)

    def stop(self, patience: float = 3.0) -> None:
        """End all reads and give the connections back."""
        self._loop.stop(self._close_all, patience)

    async def _close_all(self) -> None:
        for _spec, source in self._sources.values():
            await source.close()
