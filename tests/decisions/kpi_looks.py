"""Small words for the tests of increments and verdicts."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from batches.kpis.dictionary import KpiDefinition, KpiMapping, Selector
from batches.metric_sources import Series
from batches.sources.increments import GaugePoint, HistogramPoint, LookSample, Point, RatioPoint

NOON = datetime(2031, 3, 5, 12, 0, tzinfo=UTC)
ERROR_RATE = KpiDefinition("error_rate", "ratio", "%", "lower", (0.0, 100.0))
LATENCY = KpiDefinition("latency_ms", "histogram", "ms", "lower")
PASS_RATE = KpiDefinition("pass_rate", "gauge", "%", "higher", (0.0, 100.0))
QUEUE = KpiDefinition("queue_ms", "gauge", "ms", "lower")

BAD, TOTAL = Selector(metric="errors_total"), Selector(metric="requests_total")
BUCKETS, VALUE = Selector(query="buckets"), Selector(query="value")
RATIO_MAPPING = KpiMapping("error_rate", "fleet", bad=BAD, total=TOTAL, version_label="version")
BUCKET_MAPPING = KpiMapping("latency_ms", "fleet", buckets=BUCKETS, native_unit="s")
VALUE_MAPPING = KpiMapping("pass_rate", "fleet", value=VALUE, native_unit="1")


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def counter(tenant: str, version: str, value: float, at: datetime | None = None) -> Series:
    return Series({"tenant": tenant, "version": version}, value, at)


def requests(
    counts: Mapping[tuple[str, str], tuple[float, float]],
) -> dict[Selector, list[Series]]:
    """Return the answer of a source: (tenant, version) -> (errors, requests)."""
    return {
        BAD: [counter(tenant, version, bad) for (tenant, version), (bad, _) in counts.items()],
        TOTAL: [counter(tenant, version, n) for (tenant, version), (_, n) in counts.items()],
    }


def look(
    seconds: float,
    points: Mapping[str, Point] | None = None,
    *,
    kpi: str = "error_rate",
    **causes: int,
) -> LookSample:
    return LookSample(kpi, after(seconds), canary=points or {}, causes=causes, source="fleet")


def ratio(bad: float, total: float) -> RatioPoint:
    return RatioPoint(bad, total)


def slow(fast: float, total: float, bound: float = 200.0) -> HistogramPoint:
    return HistogramPoint({bound: fast, bound * 10: total}, total)


def gauge(value: float) -> GaugePoint:
    return GaugePoint(value)
