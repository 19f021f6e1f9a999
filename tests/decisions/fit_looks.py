"""Small words for the tests of fit probes: a mapping, what its source tells, what is found."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from batches.fit.checks import Fit, judge
from batches.fit.findings import Finding
from batches.fit.observation import Observation
from batches.kpis.dictionary import KpiDefinition, KpiMapping
from batches.metric_sources import Selector, Series
from tests.decisions.kpi_looks import LATENCY, NOON, PASS_RATE

FOREST = ("acorn", "birch", "cedar", "dogwood")
VALUE, TOTAL = Selector(metric="sandbox_pass"), Selector(metric="requests_total")
GAUGE = KpiMapping("pass_rate", "prom", value=VALUE)
TIMES = KpiMapping("latency_ms", "prom", buckets=Selector(metric="latency_bucket"), native_unit="s")
COUNTS = KpiMapping(
    "error_rate",
    "prom",
    bad=Selector(metric="errors_total"),
    total=TOTAL,
)
SECONDS = (0.005, 0.05, 0.5, 5.0)


def series(values: Mapping[str, float], **labels: str) -> list[Series]:
    """Return one series per tenant."""
    return [Series({"tenant": tenant, **labels}, value) for tenant, value in values.items()]


def everyone(value: float) -> dict[str, float]:
    return dict.fromkeys(FOREST, value)


def histogram(bounds: Sequence[float] = SECONDS, tenants: Sequence[str] = FOREST) -> list[Series]:
    """Return buckets under which ever more of 100 requests are."""
    ends = [*(f"{bound:g}" for bound in bounds), "+Inf"]
    return [
        Series({"tenant": tenant, "le": le}, 100 * (number + 1) / len(ends))
        for tenant in tenants
        for number, le in enumerate(ends)
    ]


def probed(
    mapping: KpiMapping,
    definition: KpiDefinition,
    *told: Sequence[Series],
    tenants: Sequence[str] = FOREST,
    **seen: Any,
) -> Fit:
    """Return the fit when the mapping's selectors, in their order, are answered so."""
    answers = dict(zip(mapping.selectors, told, strict=True))
    return judge(mapping, definition, Observation(NOON, answers, **seen), tenants=tenants)


def gauge(
    values: Mapping[str, float], *, definition: KpiDefinition = PASS_RATE, **mapping: Any
) -> Fit:
    return probed(replace(GAUGE, **mapping), definition, series(values))


def buckets(bounds: Sequence[float], *, metric: str = "latency_bucket", unit: str = "s") -> Fit:
    mapping = replace(TIMES, buckets=Selector(metric=metric), native_unit=unit)
    return probed(mapping, LATENCY, histogram(bounds))


def kinds(fit: Fit) -> dict[str, str]:
    """Return the findings as kind -> level."""
    return {one.kind: one.level for one in fit.findings}


def only(fit: Fit) -> Finding:
    (finding,) = fit.findings
    return finding
