"""The fit probe against a real Prometheus finds each way in which a mapping can be wrong."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from batches.fit.checks import Fit, judge
from batches.fit.reading import observe
from batches.kpis.dictionary import KpiDefinition, KpiMapping, Selector
from batches.metric_sources import SourceSpec, build
from tests.adapters.metric_servers import MetricPage, real_prometheus
from tests.adapters.open_here import open_here

pytestmark = [pytest.mark.prometheus, pytest.mark.slow]
TENANTS = ("acorn", "birch", "cedar")
ERRORS = KpiDefinition("error_rate", "ratio", "%", "lower", (0.0, 100.0))
PASSED = KpiDefinition("pass_rate", "gauge", "%", "higher", (0.0, 100.0))
LATENCY = KpiDefinition("latency_ms", "histogram", "ms", "lower")
COUNTS = KpiMapping(
    "error_rate",
    "prom",
    bad=Selector(query="sum by (tenant) (errors_total)"),
    total=Selector(query="sum by (tenant) (requests_total)"),
)
SHARE = KpiMapping("pass_rate", "prom", value=Selector(metric="pass_percent"))
TIMES = KpiMapping(
    "latency_ms", "prom", buckets=Selector(query="sum by (tenant, le) (latency_seconds_bucket)"),
    native_unit="s",
)  # fmt: skip
BOUNDS = ("0.05", "0.2", "1", "+Inf")


def page_of(*, ended: bool) -> str:
    lines = []
    for tenant in TENANTS:
        lines += [f'errors_total{{tenant="{tenant}"}} 1', f'pass_percent{{tenant="{tenant}"}} 97']
        lines += [
            f'latency_seconds_bucket{{tenant="{tenant}",le="{le}"}} {10 * number}'
            for number, le in enumerate(BOUNDS, start=1)
        ]
        lines += [f'pods{{tenant="{tenant}",pod="{pod}"}} 50' for pod in "ab"]
        if not ended:
            lines.append(f'gone{{tenant="{tenant}"}} 50')
    # cedar has no requests; elsewhere is no tenant of ours.
    lines += [
        f'requests_total{{tenant="{tenant}"}} 100' for tenant in ("acorn", "birch", "elsewhere")
    ]
    return "\n".join([*lines, ""])


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with MetricPage() as page:
        page.text = page_of(ended=False)
        with real_prometheus(page, tmp_path_factory.mktemp("fit")) as url:
            until(
                url, lambda fit: fit.level == "fine", replace(SHARE, value=Selector(metric="gone"))
            )
            # A series that a scrape does not bring any more ends at once.
            page.text = page_of(ended=True)
            until(
                url, lambda fit: fit.level == "error", replace(SHARE, value=Selector(metric="gone"))
            )
            yield url


def until(url, good, mapping) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if good(probed(url, mapping, PASSED)):
            return
        time.sleep(0.5)
    raise AssertionError("prometheus did not scrape what it should")


def probed(url: str, mapping: KpiMapping, definition: KpiDefinition) -> Fit:
    async def ask():
        spec = SourceSpec("prom", "prometheus", {"url": url, "timeout_seconds": 20})
        source = build(spec, environ={}, rules=open_here)
        try:
            return await observe(
                source, spec, [mapping], at=datetime.now(UTC), tenants=TENANTS, timeout=20
            )
        finally:
            await source.close()

    return judge(mapping, definition, asyncio.run(ask())[mapping.kpi], tenants=TENANTS)


def kinds(fit: Fit) -> list[str]:
    return [one.kind for one in fit.findings]


def test_a_mapping_that_fits(url):
    assert probed(url, SHARE, PASSED).findings == ()
    assert probed(url, TIMES, LATENCY).findings == ()


def test_a_wrong_name_is_found_with_the_right_one(url):
    mapping = replace(COUNTS, total=Selector(query="sum by (tenant) (request_total)"))
    (found,) = probed(url, mapping, ERRORS).findings
    assert found.kind == "wrong_name"
    assert found.advice == "did you mean requests_total?"


def test_percent_for_a_ratio(url):
    mapping = replace(SHARE, native_unit="1")
    (found,) = probed(url, mapping, PASSED).findings
    assert (found.kind, found.level) == ("off_by_factor", "error")
    assert '"native_unit": "%"' in found.advice


def test_seconds_for_milliseconds(url):
    (found,) = probed(url, replace(TIMES, native_unit="ms"), LATENCY).findings
    assert (found.kind, found.level) == ("off_by_factor", "error")
    assert '"native_unit": "s"' in found.advice


def test_two_series_of_one_tenant(url):
    mapping = replace(SHARE, value=Selector(metric="pods"))
    (found,) = probed(url, mapping, PASSED).findings
    assert found.kind == "several_series"
    assert "differ in pod" in found.sentence
    assert probed(url, replace(mapping, reduce="sum"), PASSED).findings == ()


def test_data_that_ended(url):
    (found,) = probed(url, replace(SHARE, value=Selector(metric="gone")), PASSED).findings
    assert found.kind == "stale"
    assert "gone has no data now" in found.sentence


def test_a_tenant_without_data(url):
    fit = probed(url, COUNTS, ERRORS)
    assert kinds(fit) == ["tenants_without_data"]
    assert fit.without == ("cedar",)
    assert "1 of 3 tenants has no data: cedar" in fit.findings[0].sentence


def test_a_query_that_is_none(url):
    (found,) = probed(url, replace(SHARE, value=Selector(query="sum by (")), PASSED).findings
    assert (found.kind, found.level) == ("bad_answer", "error")
    assert "parse error" in found.sentence


def test_a_prometheus_that_is_away():
    fit = probed("http://127.0.0.1:9", SHARE, PASSED)
    assert kinds(fit) == ["no_answer"]
