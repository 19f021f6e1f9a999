"""Metric sources: where Kpis are read. One file per kind, named in the Kpi dictionary."""

from __future__ import annotations

from collections.abc import Mapping

from batches.metric_sources.base import (
    Cause,
    MetricSource,
    MetricUnavailable,
    Selector,
    Series,
    SourceSpec,
    TellsNames,
)
from batches.metric_sources.prometheus_source import PrometheusSource
from batches.metric_sources.prometheus_text_source import PrometheusTextSource
from batches.metric_sources.simulated_source import SimulatedSource

__all__ = [
    "Cause",
    "MetricSource",
    "MetricUnavailable",
    "Selector",
    "Series",
    "SourceSpec",
    "TellsNames",
    "build",
]


def build(spec: SourceSpec, *, environ: Mapping[str, str]) -> MetricSource:
    """Return the source that the spec describes; it opens nothing before its first read."""
    match spec.kind:
        case "prometheus_text":
            return PrometheusTextSource(spec, environ=environ)
        case "prometheus":
            return PrometheusSource(spec, environ=environ)
        case _:
            return SimulatedSource(spec.name)
