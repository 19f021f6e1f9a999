"""Is what a look would read there at all, does it belong to tenants, is it one series each?"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from batches.fit.findings import NO_ANSWER, Finding, some
from batches.fit.observation import Observation
from batches.guardrails.measurement import CAUSES
from batches.kpis.dictionary import KpiMapping
from batches.metric_sources.base import Selector, Series
from batches.sources.readings import Answers, Key, key_of
from plans.counted_words import counted

_NO_CONTACT: Final = frozenset({"source_down", "timeout", "unauthorized"})
_RATED: Final = re.compile(r"\b(rate|irate|increase|delta|idelta|deriv)\s*\(")
_OPERATORS: Final = frozenset(
    {"by", "without", "and", "or", "unless", "offset", "bool", "on", "ignoring", "inf", "nan"}
)


# The source and its answer.


def unanswered(mapping: KpiMapping, seen: Observation) -> Finding:
    """Return why the source gave nothing that can be used."""
    said = f"{mapping.source} gave no answer ({CAUSES.get(seen.cause, seen.cause)}: {seen.said})"
    if seen.cause == "unauthorized":
        return Finding(NO_ANSWER, "error", said, "give the source headers that let it in")
    if seen.cause in _NO_CONTACT:
        return Finding(NO_ANSWER, "error", said, "check its address, or that it runs")
    if mapping.selectors and mapping.selectors[0].query:
        return Finding("bad_answer", "error", said, "try the query at the source itself")
    return Finding("bad_answer", "error", said, "check that its address is the page of metrics")


def rate_findings(mapping: KpiMapping) -> list[Finding]:
    """Return the queries that tell a rate where a mapping says that counters are counted."""
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


def presence(
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
        return [_without_label("no_version_label", mapping.version_label, selector, series, set())]
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
    if ended or (seen.past and seen.past.present.get(selector)):
        when = "it had some in the last 24 h"
        if ended:
            newest = datetime.fromtimestamp(max(ended), UTC)
            when = f"the newest is of {newest:%Y-%m-%d %H:%M} UTC"
        return Finding(
            "stale",
            "error",
            f"{selector} has no data now; {when}",
            "find out why its sender stopped; a plan would see nothing"
            if seen.sent
            else "find out why it ended; a plan would see nothing",
        )
    within = f" and had none in the last {seen.past.hours:g} h" if seen.past else ""
    if seen.sent and not seen.names:
        return Finding(
            "wrong_name",
            "error",
            f"nothing was sent to {mapping.source} in the last 24 h",
            "let the senders of its tenants push to it (docs/sources.md), and probe again",
        )
    said = f"{mapping.source} has no series {selector}{within}"
    if (
        selector == mapping.bad
        and mapping.total is not None
        and (seen.answers or {})[mapping.total]
    ):
        said += ", although all events are counted"
    return Finding("wrong_name", "error", said, _other_name(selector, seen.names, mapping))


def _other_name(selector: Selector, names: Sequence[str], mapping: KpiMapping) -> str:
    wanted = [selector.metric] if selector.metric else metric_names(selector.query or "")
    for name in wanted:
        if names and name not in names:
            likely = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
            return f"did you mean {likely[0]}?" if likely else f"no metric there is called {name}"
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
    there = sorted(
        {name for one in series for name in one.labels if name not in ("le", "__name__")}
    )
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
    hits = Counter(name for one in series for name, value in one.labels.items() if value in tenants)
    return max(sorted(hits), key=lambda name: hits[name], default="")


# One series per tenant.


def several_series(mapping: KpiMapping, answers: Answers) -> Finding | None:
    """Return the finding that tenants have several series where one is meant."""
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
        f"{counted(len(doubled), 'tenant has', 'tenants have')} several series in {selector}:"
        f" {tenant} has {len(group)}{differing}",
        f'write a query that gives one, such as sum by ({kept}) (...), or "reduce": {ways}',
    )
