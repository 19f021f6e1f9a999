"""Series of one look -> one reading per tenant and version, or why the answer cannot be used."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from batches.kpis.dictionary import KpiDefinition, KpiMapping
from batches.kpis.dictionary_shapes import Reduce
from batches.kpis.units import convert
from batches.metric_sources.base import Selector, Series

Answers = Mapping[Selector, Sequence[Series]]


class Key(NamedTuple):
    """Whose series it is; version None where the mapping tells none."""

    tenant: str
    version: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What the source said for one key: counts (bounds where they are buckets) or one value."""

    values: tuple[float, ...]
    at: datetime
    bounds: tuple[float, ...] | None = None
    cause: str = ""
    """Why the values cannot be used, empty where they can."""


class SeveralSeries(Exception):
    """More than one series for one tenant, where only one can be meant."""


def read_keys(
    answers: Answers,
    mapping: KpiMapping,
    definition: KpiDefinition,
    *,
    at: datetime,
    tenants: Collection[str],
) -> dict[Key, Reading]:
    """Return the readings of these tenants. Raises SeveralSeries."""
    if mapping.buckets is not None:
        return _read_buckets(answers[mapping.buckets], mapping, definition, at, tenants)
    if mapping.value is not None:
        return _read_values(answers[mapping.value], mapping, definition, at, tenants)
    assert mapping.bad is not None  # noqa: S101 - the dictionary's reading has made sure
    assert mapping.total is not None  # noqa: S101
    bad = _cells(answers[mapping.bad], mapping, mapping.bad, tenants)
    total = _cells(answers[mapping.total], mapping, mapping.total, tenants)
    readings = {}
    for key, (count, taken) in total.items():
        if key not in bad:
            # An error counter that is not there is no data: read as zero it would look healthy.
            readings[key] = Reading((), at, cause="no_bad_series")
            continue
        bad_count, bad_taken = bad[key]
        readings[key] = Reading(
            (bad_count, count),
            min(bad_taken or at, taken or at),
            cause=_unusable_count(bad_count) or _unusable_count(count),
        )
    return readings


def tells_of(
    answers: Answers,
    mapping: KpiMapping,
    definition: KpiDefinition,
    *,
    at: datetime,
    oldest: timedelta,
    tenants: Collection[str],
) -> bool:
    """Tell whether a look can use what was answered about at least one of these tenants.

    An empty answer says nothing about whether the source knows the Kpi at all.
    """
    try:
        readings = read_keys(answers, mapping, definition, at=at, tenants=tenants)
    except SeveralSeries:
        return False
    return any(not one.cause and at - one.at <= oldest for one in readings.values())


def _read_values(
    series: Sequence[Series],
    mapping: KpiMapping,
    definition: KpiDefinition,
    at: datetime,
    tenants: Collection[str],
) -> dict[Key, Reading]:
    grouped: dict[Key, list[Series]] = {}
    for one in series:
        key = key_of(one, mapping)
        if key is None or key.tenant not in tenants:
            continue
        if key in grouped and mapping.reduce is None:
            raise SeveralSeries(_several(key, mapping.value))
        grouped.setdefault(key, []).append(one)
    return {key: _value(several, mapping, definition, at) for key, several in grouped.items()}


def _value(
    several: Sequence[Series], mapping: KpiMapping, definition: KpiDefinition, at: datetime
) -> Reading:
    # One that cannot be used spoils what is made of all.
    cause = next(filter(None, (_unusable_number(one.value) for one in several)), "")
    value = reduced([one.value for one in several], mapping.reduce)
    if not cause:
        value = convert(value, mapping.native_unit or definition.unit, definition.unit)
        if definition.range and not definition.range[0] <= value <= definition.range[1]:
            cause = "out_of_range"
    return Reading((value,), min(one.at or at for one in several), cause=cause)


def reduced(values: Sequence[float], reduce: Reduce | None) -> float:
    """Return one value for several."""
    match reduce:
        case "max":
            return max(values)
        case "avg":
            return sum(values) / len(values)
        case _:
            return sum(values)


def _read_buckets(
    series: Sequence[Series],
    mapping: KpiMapping,
    definition: KpiDefinition,
    at: datetime,
    tenants: Collection[str],
) -> dict[Key, Reading]:
    unit = mapping.native_unit or definition.unit
    bounds: dict[str, float | None] = {}
    grouped: dict[Key, dict[float, float]] = {}
    taken: dict[Key, datetime] = {}
    broken: dict[Key, str] = {}
    for one in series:
        key = key_of(one, mapping)
        if key is None or key.tenant not in tenants:
            continue
        le = one.labels.get("le", "")
        if le not in bounds:
            bounds[le] = _bound(le, unit, definition.unit)
        bound = bounds[le]
        if bound is None:
            broken[key] = "bad_bucket"
            continue
        cells = grouped.setdefault(key, {})
        if bound in cells and not _summed(mapping.buckets, mapping):
            raise SeveralSeries(_several(key, mapping.buckets))
        cells[bound] = cells.get(bound, 0.0) + one.value
        moment = one.at or at
        taken[key] = min(taken.get(key, moment), moment)
        cause = _unusable_count(one.value)
        if cause:
            broken[key] = cause
    return {
        key: _histogram(cells, taken[key], broken.get(key, "")) for key, cells in grouped.items()
    }


def _histogram(cells: Mapping[float, float], at: datetime, cause: str) -> Reading:
    bounds = tuple(sorted(cells))
    counts = tuple(cells[bound] for bound in bounds)
    if not cause and bounds[-1] != math.inf:
        cause = "no_total_bucket"
    if not cause and any(more < less for less, more in pairwise(counts)):
        cause = "bad_bucket"
    return Reading(counts, at, bounds, cause)


def _cells(
    series: Sequence[Series], mapping: KpiMapping, selector: Selector, tenants: Collection[str]
) -> dict[Key, tuple[float, datetime | None]]:
    cells: dict[Key, tuple[float, datetime | None]] = {}
    summed = _summed(selector, mapping)
    for one in series:
        key = key_of(one, mapping)
        if key is None or key.tenant not in tenants:
            continue
        if key not in cells:
            cells[key] = one.value, one.at
            continue
        if not summed:
            raise SeveralSeries(_several(key, selector))
        value, taken = cells[key]
        times = [moment for moment in (taken, one.at) if moment is not None]
        cells[key] = value + one.value, min(times, default=None)
    return cells


def _summed(selector: Selector | None, mapping: KpiMapping) -> bool:
    # A metric's other labels (method, instance) only split its counts. What a query leaves
    # apart was not meant to be one number, unless the mapping says so.
    return selector is not None and (selector.metric is not None or mapping.reduce == "sum")


def key_of(one: Series, mapping: KpiMapping) -> Key | None:
    """Return whose series it is, None where it carries no tenant."""
    tenant = one.labels.get(mapping.tenant_label)
    if tenant is None:
        return None
    if mapping.version_label is None:
        return Key(tenant, None)
    return Key(tenant, one.labels.get(mapping.version_label, ""))


def _bound(le: str, unit: str, target: str) -> float | None:
    try:
        bound = float(le)
    except ValueError:
        return None
    if math.isnan(bound) or bound == -math.inf:
        return None
    return bound if math.isinf(bound) else convert(bound, unit, target)


def _unusable_count(count: float) -> str:
    return _unusable_number(count) or ("negative" if count < 0 else "")


def _unusable_number(value: float) -> str:
    if math.isnan(value):
        return "not_a_number"
    return "infinite" if math.isinf(value) else ""


def _several(key: Key, selector: Selector | None) -> str:
    of = f"{key.tenant} {key.version}" if key.version else key.tenant
    return (
        f"several series for tenant {of} in {selector}; write a query that gives one "
        "per tenant, or reduce: sum, max or avg in the mapping"
    )
