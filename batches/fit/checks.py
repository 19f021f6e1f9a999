"""Does a mapping fit its source? What one probe read -> findings with their advice.

The probe reads once, now; where the source remembers, it also asks for the last 24 hours. Nothing
is judged by a threshold here (that is fit_limits): only whether what a look would read is there, is
one series per tenant, is recent, and is in the unit that the mapping says.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from batches.fit.findings import NO_ANSWER, Finding, Level, some, worst
from batches.fit.observation import Observation
from batches.fit.presence import presence, rate_findings, several_series, unanswered
from batches.fit.units import unit_findings
from batches.guardrails.measurement import CAUSES
from batches.kpis.dictionary import KpiDefinition, KpiMapping
from batches.sources.increments import CLOCK_TOLERANCE
from batches.sources.readings import Key, Reading, read_keys
from plans.counted_words import counted

VALUES_KEPT: Final = 50
EMPTY: Final = frozenset({"wrong_name", "stale"})
"""Errors that leave a look with nothing, though the source answered."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What was read, in the Kpi's unit; the limits of guardrails are compared with it."""

    series: int = 0
    low: float | None = None
    median: float | None = None
    high: float | None = None
    bounds: tuple[float, ...] = ()
    values: tuple[tuple[str, float, float], ...] = ()
    """Tenant, value, and how many events are behind it (0: it is a value of its own)."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How a mapping fits. `without` are the tenants of which a look would learn nothing."""

    findings: tuple[Finding, ...]
    without: tuple[str, ...] = ()
    facts: Facts = Facts()

    @property
    def level(self) -> Level:
        """Return the level of the worst finding."""
        return worst(self.findings)

    @property
    def answered(self) -> bool:
        """Tell whether the source gave anything at all."""
        return all(one.kind != NO_ANSWER for one in self.findings)

    @property
    def tells(self) -> bool:
        """Tell whether a look learns something from it, so that a plan keeps the mapping."""
        empty = any(one.kind in EMPTY and one.level == "error" for one in self.findings)
        return self.answered and not empty


def judge(
    mapping: KpiMapping,
    definition: KpiDefinition,
    seen: Observation,
    *,
    tenants: Collection[str],
) -> Fit:
    """Return how the mapping fits. Without tenants nothing is said about who has no data."""
    fit = _judge(mapping, definition, seen, tenants=tenants)
    return awaiting_new_version(mapping, fit) if mapping.new_version_only else fit


def _judge(
    mapping: KpiMapping,
    definition: KpiDefinition,
    seen: Observation,
    *,
    tenants: Collection[str],
) -> Fit:
    every = tuple(sorted(tenants))
    if seen.answers is None:
        return Fit((unanswered(mapping, seen),), every)
    findings = rate_findings(mapping)
    if seen.unasked:
        findings.append(
            Finding("past_unknown", "note", f"only what is there now was judged: {seen.unasked}")
        )
    broken = [
        one
        for selector in mapping.selectors
        for one in presence(mapping, selector, seen.answers[selector], seen, set(tenants))
    ]
    if broken:
        return Fit((*findings, *broken), every)
    several = several_series(mapping, seen.answers)
    if several is not None:
        return Fit((*findings, several), every)
    told = {
        one.labels[mapping.tenant_label]
        for selector in mapping.selectors
        for one in seen.answers[selector]
        if mapping.tenant_label in one.labels
    }
    asked = set(tenants) or told
    readings = read_keys(seen.answers, mapping, definition, at=seen.at, tenants=asked & told)
    facts = _facts(readings, definition, sum(len(seen.answers[s]) for s in mapping.selectors))
    found = [
        *unit_findings(mapping, definition, readings, seen.answers, _values_of_past(mapping, seen)),
        *_unusable(mapping, readings, seen),
        *_counts_for(mapping, readings, seen),
    ]
    usable = {key.tenant for key, reading in readings.items() if not _cause(reading, seen)}
    without = tuple(sorted(set(tenants) - usable))
    absent = set(without) - {key.tenant for key in readings}
    return Fit((*findings, *found, *_missing(mapping, absent, every, seen)), without, facts)


# What is read of each tenant.


def _cause(reading: Reading, seen: Observation) -> str:
    if reading.cause:
        return reading.cause
    if reading.at > seen.at + CLOCK_TOLERANCE:
        return "future"
    return "stale" if seen.at - reading.at > seen.oldest else ""


def _counts_for(
    mapping: KpiMapping, readings: Mapping[Key, Reading], seen: Observation
) -> list[Finding]:
    """Return the note that values are there, but were told too long ago for a look of now."""
    newest = max((reading.at for reading in readings.values()), default=None)
    if seen.counts_for is None or newest is None or seen.at - newest <= seen.counts_for:
        return []
    return [
        Finding(
            "counts_no_more",
            "note",
            f"{mapping.source} told the newest value at {newest:%Y-%m-%d %H:%M} UTC, and one counts"
            f" for {seen.counts_for.total_seconds():g} s",
            "let the pipeline run after each tenant's upgrade",
        )
    ]


def _unusable(
    mapping: KpiMapping, readings: Mapping[Key, Reading], seen: Observation
) -> list[Finding]:
    """Return a finding per cause for which values would be dropped, but for the range."""
    by_cause: dict[str, set[str]] = {}
    for key, reading in readings.items():
        if cause := _cause(reading, seen):
            by_cause.setdefault(cause, set()).add(key.tenant)
    asked = len({key.tenant for key in readings})
    found = []
    for cause, tenants in sorted(by_cause.items()):
        if cause == "out_of_range":
            continue
        level: Level = "error" if 2 * len(tenants) > asked else "warning"
        found.append(
            Finding(
                cause,
                level,
                f"{mapping.source} gives {CAUSES.get(cause, cause)} for {len(tenants)} of"
                f" {counted(asked, 'tenant')}: {some(tenants)}",
                _ADVICE.get(cause, ""),
            )
        )
    return found


_ADVICE: Final = {
    "no_bad_series": "a counter that is not there is no data, never zero: create it at the"
    " application's start, or write a query that says zero (docs/kpi-dictionary.md)",
    "not_a_number": "a division of zero by zero? count both parts instead of a share",
    "stale": "its values stand still; check what writes them",
    "future": "set the clocks of both machines",
    "negative": "a count cannot be negative; is it a gauge?",
    "bad_bucket": "buckets are cumulative: sum by (tenant, le) (..._bucket)",
    "no_total_bucket": 'keep the bucket le="+Inf" in the query',
}


def _missing(
    mapping: KpiMapping, absent: set[str], tenants: Sequence[str], seen: Observation
) -> list[Finding]:
    if not absent:
        return []
    past = seen.past.newest if seen.past is not None else {}
    ended = {
        one.labels.get(mapping.tenant_label, ""): one.value
        for selector in mapping.selectors
        for one in past.get(selector, ())
    }
    named = [
        f"{tenant} (until {datetime.fromtimestamp(ended[tenant], UTC):%H:%M} UTC)"
        if tenant in ended
        else tenant
        for tenant in sorted(absent)
    ]
    return [
        Finding(
            "tenants_without_data",
            "warning",
            f"{len(absent)} of {counted(len(tenants), 'tenant')}"
            f" {'has' if len(absent) == 1 else 'have'} no data:"
            f" {some(named)}",
            "a plan whose tenants mostly have none is refused; with few of them its sentences"
            " name who is missing",
        )
    ]


NOT_YET: Final = "only_new_version"
_BEFORE_ANY: Final = frozenset({"wrong_name", "stale", "tenants_without_data", "no_bad_series"})


def awaiting_new_version(mapping: KpiMapping, fit: Fit) -> Fit:
    """Return the fit of a mapping that nobody has before the upgrade: absence is expected.

    What is there already, of tenants that are ahead, is judged like anything else.
    """
    absent = [one for one in fit.findings if one.kind in _BEFORE_ANY]
    if not absent:
        return fit
    expected = Finding(
        NOT_YET,
        "warning",
        f"{mapping.source} has no data of {mapping.kpi}"
        f"{' for some tenants' if fit.facts.series else ''} yet, which is expected: the dictionary"
        " says that only the new version emits it",
        "nothing can check its name and unit before the first upgrade; without data afterwards"
        " the batch is held",
    )
    others = tuple(one for one in fit.findings if one.kind not in _BEFORE_ANY)
    return Fit((*others, expected), fit.without, fit.facts)


# What is kept of it.


def _facts(readings: Mapping[Key, Reading], definition: KpiDefinition, series: int) -> Facts:
    values: dict[str, tuple[float, float]] = {}
    bounds: set[float] = set()
    for key, reading in sorted(readings.items()):
        if reading.cause and reading.cause != "out_of_range":
            continue
        value, n = _shown(reading, definition)
        bounds.update(b for b in reading.bounds or () if math.isfinite(b))
        if value is not None and (key.tenant not in values or n > values[key.tenant][1]):
            values[key.tenant] = value, n
    ordered = sorted(value for value, _n in values.values())
    return Facts(
        series=series,
        low=ordered[0] if ordered else None,
        median=ordered[len(ordered) // 2] if ordered else None,
        high=ordered[-1] if ordered else None,
        bounds=tuple(sorted(bounds)),
        values=tuple(
            (tenant, value, n) for tenant, (value, n) in sorted(values.items())[:VALUES_KEPT]
        ),
    )


def _shown(reading: Reading, definition: KpiDefinition) -> tuple[float | None, float]:
    """Return what stands for a reading: its value, its share, or the bound under which 95 % are."""
    if reading.bounds is not None:
        total = reading.values[-1]
        under = (
            bound
            for bound, count in zip(reading.bounds, reading.values, strict=True)
            if count >= 0.95 * total and math.isfinite(bound)
        )
        return (next(under, None) if total > 0 else None), total
    if len(reading.values) == 1:
        return reading.values[0], 0.0
    bad, total = reading.values
    if total <= 0:
        return None, 0.0
    share = 1 - bad / total if definition.direction == "higher" else bad / total
    return share * (1 if definition.unit == "1" else 100), total


def _values_of_past(mapping: KpiMapping, seen: Observation) -> list[float]:
    if seen.past is None or mapping.value is None:
        return []
    return [
        one.value
        for extremes in (seen.past.lowest, seen.past.highest)
        for one in extremes.get(mapping.value, ())
        if math.isfinite(one.value)
    ]
