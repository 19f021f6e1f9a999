"""Metric sources: where Kpis are read. One file per kind, named in the Kpi dictionary."""

from __future__ import annotations

from collections.abc import Mapping

from batches.metric_sources.base import (
    Cause,
    MetricSource,
    MetricUnavailable,
    PushedStore,
    RemembersTimes,
    Selector,
    Series,
    SourceSpec,
    TellsNames,
)
from batches.metric_sources.json_http_source import JsonHttpSource
from batches.metric_sources.prometheus_source import PrometheusSource
from batches.metric_sources.prometheus_text_source import PrometheusTextSource
from batches.metric_sources.pushed_source import PushedSource
from batches.metric_sources.simulated_source import SimulatedSource
from upgradeconsole.outbound import Rules

__all__ = [
    "Cause",
    "MetricSource",
    "MetricUnavailable",
    "PushedStore",
    "RemembersTimes",
    "Selector",
    "Series",
    "SourceSpec",
    "TellsNames",
    "build",
]


def build(
    spec: SourceSpec,
    *,
    environ: Mapping[str, str],
    rules: Rules,
    store: PushedStore | None = None,
) -> MetricSource:
    """Return the source that the spec describes; it opens nothing before its first read.

    `rules` say where the network may be reached.
    `store` holds what was pushed; the kinds that are fetched need none.
    """
    match spec.kind:
        case "prometheus_text":
            return PrometheusTextSource(spec, environ=environ, rules=rules)
        case "prometheus":
            return PrometheusSource(spec, environ=environ, rules=rules)
        case "json_http":
            return JsonHttpSource(spec, environ=environ, rules=rules)
        case "push" | "cdevents" if store is not None:
            return PushedSource(spec, store=store)
        case "simulated":
            return SimulatedSource(spec.name)
        case kind:
            raise MetricUnavailable("source_down", f"a source of kind {kind} cannot be read here")
