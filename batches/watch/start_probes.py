"""Probe what approved plans would watch right before the watch starts them, beside the watch.

A monitoring system that hangs must not keep a rollback waiting: sources are asked in a thread of
their own, and what they told is kept at a later tick. Whoever is found unfit is asked again from
time to time, so that a plan starts by itself once its source is back.
"""

import logging
from collections.abc import Callable, Collection
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batches.fit.kept import kpis_to_probe
from batches.fit.of_plans import is_probed_before_start
from batches.fit.probing import Build, judged, keep, observe_all, sources_of, to_probe
from batches.models import KpiFit
from batches.runtime import surroundings
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Plan

logger = logging.getLogger(__name__)

AGAIN_SECONDS = 30.0
"""How long a finding stands before the sources are asked anew."""
Fence = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class _Probing:
    kpis: frozenset[str]
    rows: "Future[list[KpiFit]]"


class StartProbes:
    """What was asked on behalf of plans that are about to start; at most one probe at a time."""

    def __init__(
        self, *, on_answer: Callable[[], None] = lambda: None, build: Build = sources_of
    ) -> None:
        self._on_answer = on_answer
        self._build = build
        self._loop: surroundings.LoopBeside | None = None
        self._probing: _Probing | None = None
        self._asked_at: dict[str, float] = {}
        self._refused_at: dict[Any, float] = {}

    def stop(self, patience: float = 3.0) -> None:
        """End the probe that runs."""
        loop, self._loop, self._probing = self._loop, None, None
        if loop is None:
            return
        try:
            loop.stop(_nothing, patience)
        except TimeoutError:
            logger.warning("A probe of the metric sources did not end in time.")

    def are_made(self, plan: Plan, now: datetime, *, fence: Fence) -> bool:
        """Tell whether the plan may be tried now: what it watches was probed lately.

        Where it was not, the sources are asked; the answer is taken in at a later call. A plan that
        was refused is not tried again before its sources were asked anew.
        """
        self._take_in(now, fence)
        if not self._is_due(self._refused_at.get(plan.pk)):
            return False
        old = kpis_to_probe(policy_of(current_revision(plan)), now)
        if not old or not is_probed_before_start(plan):
            return True
        due = {kpi for kpi in old if self._is_due(self._asked_at.get(kpi))}
        if due and self._probing is None:
            self._ask(due, now)
        return not due and (self._probing is None or not self._probing.kpis & old)

    def refused(self, plan: Plan) -> None:
        """Remember that the plan could not start: its Kpis are what they were for a while."""
        self._refused_at[plan.pk] = surroundings.here().monotonic()

    @staticmethod
    def _is_due(at: float | None) -> bool:
        clock = surroundings.here().monotonic()
        return at is None or not at <= clock < at + AGAIN_SECONDS

    def _ask(self, kpis: Collection[str], now: datetime) -> None:
        clock = surroundings.here().monotonic()
        self._asked_at |= dict.fromkeys(kpis, clock)
        wanted = to_probe(kpis)
        if self._loop is None:
            self._loop = surroundings.here().loop("fit probe")
            self._loop.start()

        async def ask() -> list[KpiFit]:
            observed = await observe_all(wanted, self._build)
            took_ms = round(1000 * (surroundings.here().monotonic() - clock))
            return judged(wanted, observed, took_ms=took_ms, now=now)

        rows: Future[list[KpiFit]] = self._loop.submit(ask())
        rows.add_done_callback(lambda _done: self._on_answer())
        self._probing = _Probing(frozenset(kpis), rows)

    def _take_in(self, now: datetime, fence: Fence) -> None:
        probing = self._probing
        if probing is None or not probing.rows.done():
            return
        if (error := probing.rows.exception()) is not None:
            # The watch's own rules hold for whoever starts now: missing data hold a batch.
            logger.error("The metric sources could not be probed.", exc_info=error)
        else:
            with fence():
                keep(probing.rows.result(), by=None, now=now, via="watch")
        self._probing = None


async def _nothing() -> None:
    """Close nothing: each probe closes what it opened."""
