"""Read all that a fit probe wants of one source: what is there now, what was, what it is called.

One look for all mappings of the source, then what only some of them need. Each question has its own
time limit; one that is not answered leaves a gap that is named, never a failed probe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final

from batches.dictionary import KpiMapping
from batches.fit_observation import Observation, Past
from batches.metric_sources import (
    MetricSource,
    MetricUnavailable,
    Selector,
    Series,
    SourceSpec,
    TellsNames,
)
from batches.metric_sources.promql import Wanted, over_time

HOURS: Final = 24.0
REMEMBERS: Final = frozenset({"prometheus"})
"""Kinds of sources that answer queries about the time before now."""
_GRACE_SECONDS: Final = 1.0
Answered = Mapping[Selector, Sequence[Series]] | MetricUnavailable


async def observe(
    source: MetricSource,
    spec: SourceSpec,
    mappings: Sequence[KpiMapping],
    *,
    at: datetime,
    tenants: Collection[str],
    timeout: float,
) -> dict[str, Observation]:
    """Return what the source gives for each Kpi; what it does not give stands in there too."""
    every = [selector for mapping in mappings for selector in mapping.selectors]
    together = await _read(source, every, timeout)
    observed = await asyncio.gather(
        *(
            _observe_one(source, spec, mapping, together, at=at, tenants=tenants, timeout=timeout)
            for mapping in mappings
        )
    )
    return {mapping.kpi: one for mapping, one in zip(mappings, observed, strict=True)}


async def _observe_one(
    source: MetricSource,
    spec: SourceSpec,
    mapping: KpiMapping,
    together: Answered,
    *,
    at: datetime,
    tenants: Collection[str],
    timeout: float,
) -> Observation:
    answers = together
    if isinstance(together, MetricUnavailable) and together.cause == "bad_answer":
        # One query that cannot be read spoils the others' answers too: each is asked alone.
        answers = await _read(source, mapping.selectors, timeout)
    if isinstance(answers, MetricUnavailable):
        return Observation(at, cause=answers.cause, said=answers.sentence)
    mine = {selector: answers[selector] for selector in mapping.selectors}
    past, unasked = None, ""
    if spec.kind in REMEMBERS:
        incomplete = [s for s in mapping.selectors if _incomplete(mapping, mine[s], tenants)]
        past, unasked = await _past(source, mapping, incomplete, timeout)
    names = () if all(mine.values()) else await _names(source, timeout)
    return Observation(at, answers=mine, past=past, unasked=unasked, names=names)


def _incomplete(mapping: KpiMapping, series: Sequence[Series], tenants: Collection[str]) -> bool:
    told = {one.labels.get(mapping.tenant_label) for one in series}
    return not series or any(tenant not in told for tenant in tenants)


async def _read(source: MetricSource, selectors: Sequence[Selector], timeout: float) -> Answered:
    try:
        async with asyncio.timeout(timeout + _GRACE_SECONDS):
            return await source.read(selectors, timeout=timeout)
    except TimeoutError:
        return MetricUnavailable("timeout", f"no answer within {timeout:g} s")
    except MetricUnavailable as unavailable:
        return unavailable


async def _past(
    source: MetricSource, mapping: KpiMapping, incomplete: Sequence[Selector], timeout: float
) -> tuple[Past | None, str]:
    """Return what was before: the newest of what is not there now, and how far values went."""
    asked: dict[tuple[Wanted, Selector], Selector] = {
        ("newest", selector): over_time(selector, "newest", hours=HOURS) for selector in incomplete
    }
    for selector in incomplete:
        if selector.metric is not None:
            asked["present", selector] = over_time(selector, "present", hours=HOURS)
    if mapping.value is not None:
        asked["lowest", mapping.value] = over_time(mapping.value, "lowest", hours=HOURS)
        asked["highest", mapping.value] = over_time(mapping.value, "highest", hours=HOURS)
    if not asked:
        return Past(hours=HOURS), ""
    answers = await _read(source, list(asked.values()), timeout)
    if isinstance(answers, MetricUnavailable):
        return None, f"the last {HOURS:g} h could not be asked for ({answers.sentence})"

    def told(wanted: Wanted) -> dict[Selector, Sequence[Series]]:
        return {of: answers[query] for (kind, of), query in asked.items() if kind == wanted}

    return (
        Past(
            newest=told("newest"),
            present=told("present"),
            lowest=told("lowest"),
            highest=told("highest"),
            hours=HOURS,
        ),
        "",
    )


async def _names(source: MetricSource, timeout: float) -> tuple[str, ...]:
    if not isinstance(source, TellsNames):
        return ()
    try:
        async with asyncio.timeout(timeout + _GRACE_SECONDS):
            return await source.names(timeout=timeout)
    except (TimeoutError, MetricUnavailable):
        # Only a suggestion is lost.
        return ()
