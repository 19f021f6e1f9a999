"""Read all that a fit probe wants of one source: what is there now, what was, what it is called.

One look for all mappings of the source, then what only some of them need. Each question has its own
time limit; one that is not answered leaves a gap that is named, never a failed probe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from batches.fit.observation import Observation, Past
from batches.kpis.dictionary import KpiMapping
from batches.metric_sources import (
    MetricSource,
    MetricUnavailable,
    RemembersTimes,
    Selector,
    Series,
    SourceSpec,
    TellsNames,
)
from batches.metric_sources.promql import Wanted, over_time
from batches.sources.increments import SHORTEST_MAX_AGE

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
    frame = _frame(spec)
    answers = together
    if isinstance(together, MetricUnavailable) and together.cause == "bad_answer":
        # One query that cannot be read spoils the others' answers too: each is asked alone.
        answers = await _read(source, mapping.selectors, timeout)
    if isinstance(answers, MetricUnavailable) and answers.cause == "name_gone":
        # Nothing was sent lately, which is an answer: there are no series now.
        answers = {selector: [] for selector in mapping.selectors}
    if isinstance(answers, MetricUnavailable):
        return Observation(at, cause=answers.cause, said=answers.sentence, **frame)
    mine = {selector: answers[selector] for selector in mapping.selectors}
    past, unasked = None, ""
    if spec.kind in REMEMBERS:
        incomplete = [s for s in mapping.selectors if _incomplete(mapping, mine[s], tenants)]
        past, unasked = await _past(source, mapping, incomplete, timeout)
    elif isinstance(source, RemembersTimes):
        past, unasked = await _times(source, mapping, timeout)
    names = () if all(mine.values()) else await _names(source, timeout)
    return Observation(at, answers=mine, past=past, unasked=unasked, names=names, **frame)


def probed_spec(spec: SourceSpec) -> SourceSpec:
    """Return how a source is read for a probe.

    Pipelines run after an upgrade, not all the time: what they told within a day shows that they
    can, and how.
    """
    if spec.kind != "cdevents":
        return spec
    return replace(spec, options={**spec.options, "stale_seconds": 3600 * HOURS})


def _frame(spec: SourceSpec) -> dict[str, Any]:
    """Return what is to be known of the source to judge how old its values are."""
    sent = spec.stale_seconds > 0
    read = probed_spec(spec).stale_seconds
    return {
        "sent": sent,
        "oldest": timedelta(seconds=max(SHORTEST_MAX_AGE, read)),
        "counts_for": timedelta(seconds=spec.stale_seconds) if read > spec.stale_seconds else None,
    }


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


async def _times(
    source: RemembersTimes, mapping: KpiMapping, timeout: float
) -> tuple[Past | None, str]:
    """Return when what is not there now was last there."""
    try:
        newest = await source.newest(mapping.selectors, hours=HOURS, timeout=timeout)
    except MetricUnavailable as unavailable:
        return None, f"the last {HOURS:g} h could not be asked for ({unavailable.sentence})"
    return Past(newest=newest, present=newest, hours=HOURS), ""


async def _names(source: MetricSource, timeout: float) -> tuple[str, ...]:
    if not isinstance(source, TellsNames):
        return ()
    try:
        async with asyncio.timeout(timeout + _GRACE_SECONDS):
            return await source.names(timeout=timeout)
    except (TimeoutError, MetricUnavailable):
        # Only a suggestion is lost.
        return ()
