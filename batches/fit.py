"""Does a mapping fit its source? What one probe read -> findings with their advice.

The probe reads once, now; where the source remembers, it also asks for the last 24 hours. Nothing
is judged by a threshold here (that is fit_limits): only whether what a look would read is there, is
one series per tenant, is recent, and is in the unit that the mapping says.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from batches.dictionary import KpiDefinition, KpiMapping
from batches.fit_findings import NO_ANSWER, Finding, Level, some, worst
from batches.fit_units import unit_findings
from batches.increments import CLOCK_TOLERANCE, SHORTEST_MAX_AGE
from batches.measurement import CAUSES, counted
from batches.metric_sources.base import Selector, Series
from batches.readings import Answers, Key, Reading, key_of, read_keys

VALUES_KEPT: Final = 50
_NO_CONTACT: Final = frozenset({"source_down", "timeout", "unauthorized"})
_RATED: Final = re.compile(r"\b(rate|irate|increase|delta|idelta|deriv)\s*\(")
_OPERATORS: Final = frozenset(
    {"by", "without", "and", "or", "unless", "offset", "bool", "on", "ignoring", "inf", "nan"}
)
_GRACE: Final = timedelta(seconds=SHORTEST_MAX_AGE)


@dataclass(frozen=True, slots=True)
class Past:
    """What a source that remembers says of the last hours, per selector."""

    newest: Mapping[Selector, Sequence[Series]] = field(default_factory=dict)
    """The time of the newest sample of each series, as its value in unix seconds."""
    lowest: Mapping[Selector, Sequence[Series]] = field(default_factory=dict)
    highest: Mapping[Selector, Sequence[Series]] = field(default_factory=dict)
    hours: float = 24.0


@dataclass(frozen=True, slots=True)
class Observation:
    """What one probe brought. No answers: the source gave nothing, `cause` and `said` say why.

    `past` is None where the source does not remember; `unasked` says what else could not be read.
    """

    at: datetime
    answers: Answers | None = None
    cause: str = ""
    said: str = ""
    past: Past | None = None
    unasked: str = ""
    names: Sequence[str] = ()


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


def judge(
    mapping: KpiMapping,
    definition: KpiDefinition,
    seen: Observation,
    *,
    tenants: Collection[str],
) -> Fit:
    """Return how the mapping fits. Without tenants nothing is said about who has no data."""
    every = tuple(sorted(tenants))
    if seen.answers is None:
        return Fit((_unanswered(mapping, seen),), every)
    findings = _rated(mapping)
    if seen.unasked:
        findings.append(
            Finding("past_unknown", "note", f"only what is there now was judged: {seen.unasked}")
        )
    broken = [
        one
        for selector in mapping.selectors
        for one in _presence(mapping, selector, seen.answers[selector], seen, set(tenants))
    ]
    if broken:
        return Fit((*findings, *broken), every)
    several = _several(mapping, seen.answers)
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
        *_unusable(mapping, readings, seen.at),
    ]
    usable = {key.tenant for key, reading in readings.items() if not _cause(reading, seen.at)}
    without = tuple(sorted(set(tenants) - usable))
    absent = set(without) - {key.tenant for key in readings}
    return Fit((*findings, *found, *_missing(mapping, absent, every, seen)), without, facts)


# The source and its answer.


def _unanswered(mapping: KpiMapping, seen: Observation) -> Finding:
    said = f"{mapping.source} gave no answer ({CAUSES.get(seen.cause, seen.cause)}: {seen.said})"
    if seen.cause == "unauthorized":
        return Finding(NO_ANSWER, "error", said, "give the source headers that let it in")
    if seen.cause in _NO_CONTACT:
        return Finding(NO_ANSWER, "error", said, "check its address, or that it runs")
    if mapping.selectors and mapping.selectors[0].query:
        return Finding("bad_answer", "error", said, "try the query at the source itself")
    return Finding("bad_answer", "error", said, "check that its address is the page of metrics")


def _rated(mapping: KpiMapping) -> list[Finding]:
    if mapping.value is not None or mapping.rate_window_seconds is not None:
        return []
    return [
        Finding(
            "rate_of_counter",
            "error",
            f"the query '{selector}' gives a rate where counters are counted",
            "write the counter without rate() or increase(), or say rate_window_seconds",
        )
        for selector in mapping.selectors
        if selector.query and _RATED.search(selector.query)
    ]


def _presence(
    mapping: KpiMapping,
    selector: Selector,
    series: Sequence[Series],
    seen: Observation,
    tenants: set[str],
) -> list[Finding]:
    """Return why nothing of a selector can be used: it is not there, or belongs to nobody."""
    if not series:
        return [_absent(mapping, selector, seen)]
    label = mapping.tenant_label
    if not any(label in one.labels for one in series):
        return [_without_label("no_tenant_label", label, selector, series, tenants)]
    if mapping.version_label and not any(mapping.version_label in one.labels for one in series):
        return [
            _without_label("no_version_label", mapping.version_label, selector, series, set())
        ]
    told = {one.labels[label] for one in series if label in one.labels}
    if tenants and not told & tenants:
        holder = _label_of(series, tenants)
        advice = (
            f'write tenant_label: "{holder}", which does'
            if holder
            else f"name the label that holds tenants' keys, such as {some(tenants, most=2)}"
        )
        return [
            Finding(
                "no_tenant",
                "error",
                f"the label '{label}' of {selector} holds no key of a tenant"
                f" (it says {some(told, most=3)})",
                advice,
            )
        ]
    return []


def _absent(mapping: KpiMapping, selector: Selector, seen: Observation) -> Finding:
    ended = [one.value for one in (seen.past.newest.get(selector, ()) if seen.past else ())]
    if ended:
        newest = datetime.fromtimestamp(max(ended), UTC)
        return Finding(
            "stale",
            "error",
            f"{selector} has no data now; the newest is of {newest:%Y-%m-%d %H:%M} UTC",
            "find out why it ended; a plan would see nothing",
        )
    within = f" and had none in the last {seen.past.hours:g} h" if seen.past else ""
    said = f"{mapping.source} has no series {selector}{within}"
    if selector == mapping.bad and mapping.total is not None and (seen.answers or {})[mapping.total]:
        said += ", although all events are counted"
    return Finding("wrong_name", "error", said, _other_name(selector, seen.names, mapping))


def _other_name(selector: Selector, names: Sequence[str], mapping: KpiMapping) -> str:
    wanted = (
        [selector.metric] if selector.metric else metric_names(selector.query or "")
    )
    for name in wanted:
        if names and name not in names:
            likely = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
            return (
                f"did you mean {likely[0]}?" if likely else f"no metric there is called {name}"
            )
    if selector == mapping.bad:
        return (
            "many applications make an error counter with the first error: create it at their"
            " start, or write a query that says zero (docs/kpi-dictionary.md)"
        )
    return "check its name at the source, and that tenants have traffic"


def metric_names(query: str) -> list[str]:
    """Return what may be the names of metrics in a query: words that are no functions or labels."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|\{[^}]*\}|\[[^\]]*\]', " ", query)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    words = re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*\b(?!\s*\()", bare)
    return [word for word in dict.fromkeys(words) if word.lower() not in _OPERATORS]


def _without_label(
    kind: str, label: str, selector: Selector, series: Sequence[Series], tenants: set[str]
) -> Finding:
    there = sorted({name for one in series for name in one.labels if name not in ("le", "__name__")})
    holder = _label_of(series, tenants)
    key = "tenant_label" if kind == "no_tenant_label" else "version_label"
    if holder:
        advice = f'write {key}: "{holder}", which holds the keys of tenants'
    elif there:
        advice = f"write as {key} one of {some(there)}"
    else:
        advice = f"keep the label in the query: sum by ({label}) (...)"
    return Finding(kind, "error", f"no series of {selector} has a label '{label}'", advice)


def _label_of(series: Sequence[Series], tenants: set[str]) -> str:
    """Return the label that most often holds the key of a tenant, empty where none does."""
    hits = Counter(
        name for one in series for name, value in one.labels.items() if value in tenants
    )
    return max(sorted(hits), key=lambda name: hits[name], default="")


# One series per tenant.


def _several(mapping: KpiMapping, answers: Answers) -> Finding | None:
    for selector in mapping.selectors:
        if mapping.reduce is not None or (selector.metric and selector != mapping.value):
            continue
        groups: dict[tuple[Key, str], list[Series]] = {}
        for one in answers[selector]:
            key = key_of(one, mapping)
            if key is not None:
                le = one.labels.get("le", "") if selector == mapping.buckets else ""
                groups.setdefault((key, le), []).append(one)
        doubled = {key.tenant: group for (key, _le), group in groups.items() if len(group) > 1}
        if doubled:
            return _doubled(mapping, selector, doubled)
    return None


def _doubled(
    mapping: KpiMapping, selector: Selector, doubled: Mapping[str, Sequence[Series]]
) -> Finding:
    tenant = min(doubled)
    group = doubled[tenant]
    names = {name for one in group for name in one.labels}
    apart = [name for name in names if len({one.labels.get(name) for one in group}) > 1]
    differing = f", which differ in {some(apart)}" if apart else ""
    kept = mapping.tenant_label + (", le" if selector == mapping.buckets else "")
    ways = "sum, max or avg" if mapping.value is not None else "sum"
    return Finding(
        "several_series",
        "error",
        f"{counted(len(doubled), 'tenant')} have several series in {selector}: {tenant} has"
        f" {len(group)}{differing}",
        f'write a query that gives one, such as sum by ({kept}) (...), or "reduce": {ways}',
    )


# What is read of each tenant.


def _cause(reading: Reading, at: datetime) -> str:
    if reading.cause:
        return reading.cause
    if reading.at > at + CLOCK_TOLERANCE:
        return "future"
    return "stale" if at - reading.at > _GRACE else ""


def _unusable(
    mapping: KpiMapping, readings: Mapping[Key, Reading], at: datetime
) -> list[Finding]:
    """Return one finding per cause for which values would be dropped; the range is unit_findings'."""
    by_cause: dict[str, set[str]] = {}
    for key, reading in readings.items():
        if cause := _cause(reading, at):
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
    "no_total_bucket": "keep the bucket le=\"+Inf\" in the query",
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
            f"{len(absent)} of {counted(len(tenants), 'tenant')} have no data: {some(named)}",
            "a plan whose tenants mostly have none is refused; with few of them its sentences"
            " name who is missing",
        )
    ]


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
