"""Read metric sources, each in a thread of its own with its own time-out.

A slow source never delays another's look: neither a call that hangs, nor a name that does not
resolve, nor megabytes of an answer keep anybody else's thread busy. A source that keeps failing is
left alone for a while (source_breaker.py).
"""

import asyncio
import logging
import queue
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime

from batches.configured import outbound_rules, secret_environ
from batches.metric_sources import (
    MetricSource,
    MetricUnavailable,
    Selector,
    Series,
    SourceSpec,
    build,
)
from batches.pushes.series import KeptSeries
from batches.runtime import surroundings
from batches.sources.breaker import Breaker

logger = logging.getLogger(__name__)
DEFAULT_TIMEOUT_SECONDS = 4.0
Build = Callable[[SourceSpec], MetricSource]
GRACE_SECONDS = 1.0
"""How much longer than its time-out an adapter may take before it is cut off."""


def _configured(spec: SourceSpec) -> MetricSource:
    return build(spec, environ=secret_environ(), rules=outbound_rules(), store=KeptSeries())


@dataclass(frozen=True, slots=True)
class SourceAnswer:
    """What one read brought: series, or why there are none. `at` is right before it was asked.

    `breaker` is the source's state after this read; a read that was not made has `asked` false.
    """

    source: str
    at: datetime
    series: dict[Selector, list[Series]] | None
    unavailable: MetricUnavailable | None
    breaker: Breaker = field(default_factory=Breaker)
    asked: bool = True


@dataclass(slots=True)
class _Desk:
    """Where one source is read: its thread, its adapter, its breaker."""

    loop: surroundings.LoopBeside
    breaker: Breaker = field(default_factory=Breaker)
    spec: SourceSpec | None = None
    source: MetricSource | None = None


class SourceReader:
    """Keeps one adapter per source; a slow one never delays another's look."""

    def __init__(self, *, on_answer: Callable[[], None], build: Build | None = None) -> None:
        self._build = build or _configured
        self._desks: dict[str, _Desk] = {}
        self._reading: set[str] = set()
        self._answers: queue.SimpleQueue[SourceAnswer] = queue.SimpleQueue()
        self._on_answer = on_answer
        self._started = False

    def start(self) -> None:
        """Begin to read; what was asked for before is read now."""
        self._started = True
        for desk in self._desks.values():
            desk.loop.start()

    def is_reading(self, source: str) -> bool:
        """Tell whether a read of the source is under way."""
        return source in self._reading

    def read(self, spec: SourceSpec, selectors: Sequence[Selector]) -> None:
        """Ask the source once; the answer comes through `finished`."""
        self._reading.add(spec.name)
        at = surroundings.here().now()
        now = surroundings.here().monotonic()
        desk = self._desk(spec)
        breaker = desk.breaker.asked(now)
        if breaker is None:
            left_alone = MetricUnavailable("source_down", desk.breaker.refusal(now))
            self._say(SourceAnswer(spec.name, at, None, left_alone, desk.breaker, asked=False))
            return
        desk.breaker = breaker
        reading = desk.loop.submit(self._read(desk, spec, list(selectors)))
        reading.add_done_callback(lambda read: self._ended(desk, spec, at, read))

    def _desk(self, spec: SourceSpec) -> _Desk:
        desk = self._desks.get(spec.name)
        if desk is None:
            desk = _Desk(surroundings.here().loop(f"metric source {spec.name}"))
            self._desks[spec.name] = desk
            if self._started:
                desk.loop.start()
        if desk.spec is not None and desk.spec != spec:
            # Described anew: what was wrong with it may be mended.
            desk.breaker = Breaker()
        return desk

    def _ended(self, desk: _Desk, spec: SourceSpec, at: datetime, read: "Future[None]") -> None:
        """Answer for a read that failed in a way nobody foresaw: it must not block the source."""
        if read.cancelled() or (error := read.exception()) is None:
            return
        logger.error("The metric source %s could not be read.", spec.name, exc_info=error)
        told = MetricUnavailable("bad_answer", f"{spec.name} could not be read: {error}"[:300])
        self._note(desk, spec, at, None, told)

    async def _read(self, desk: _Desk, spec: SourceSpec, selectors: list[Selector]) -> None:
        at = surroundings.here().now()
        timeout = float(spec.options.get("timeout_seconds", DEFAULT_TIMEOUT_SECONDS))
        try:
            source = await self._source(desk, spec)
            at = surroundings.here().now()
            async with asyncio.timeout(timeout + GRACE_SECONDS):
                series = await source.read(selectors, timeout=timeout)
        except TimeoutError:
            late = MetricUnavailable("timeout", f"no answer within {timeout:g} s")
            self._note(desk, spec, at, None, late)
        except MetricUnavailable as unavailable:
            self._note(desk, spec, at, None, unavailable)
        else:
            self._note(desk, spec, at, series, None)

    async def _source(self, desk: _Desk, spec: SourceSpec) -> MetricSource:
        if desk.source is None or desk.spec != spec:
            before, desk.source, desk.spec = desk.source, None, spec
            if before is not None:
                await before.close()
            desk.source = self._build(spec)
        return desk.source

    def _note(
        self,
        desk: _Desk,
        spec: SourceSpec,
        at: datetime,
        series: dict[Selector, list[Series]] | None,
        unavailable: MetricUnavailable | None,
    ) -> None:
        desk.breaker = desk.breaker.answered(
            surroundings.here().monotonic(),
            cause=unavailable.cause if unavailable else "",
            sentence=unavailable.sentence if unavailable else "",
        )
        self._say(SourceAnswer(spec.name, at, series, unavailable, desk.breaker))

    def _say(self, answer: SourceAnswer) -> None:
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
        started, self._started = self._started, False
        desks, self._desks = self._desks, {}
        self._reading.clear()
        for name, desk in desks.items() if started else ():
            try:
                desk.loop.stop(_closing(desk), patience)
            except TimeoutError:
                # Its thread dies with the process; the others still give back what is theirs.
                logger.warning("The metric source %s did not end in time.", name)


def _closing(desk: _Desk) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        if desk.source is not None:
            await desk.source.close()

    return close
