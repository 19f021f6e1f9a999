"""What every metric source promises, and what each kind adds."""

import asyncio
import math
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from batches.kpis.dictionary import load_dictionary
from batches.metric_sources import (
    MetricSource,
    MetricUnavailable,
    Selector,
    Series,
    SourceSpec,
    build,
)
from batches.metric_sources.exposition_text import read_exposition
from batches.metric_sources.prometheus_text_source import PrometheusTextSource
from batches.metric_sources.simulated_source import SimulatedSource
from batches.pushes.points import PushedPoint
from batches.pushes.pushing import take_points
from batches.pushes.series import KeptSeries
from batches.sources.increments import HistogramPoint, RatioPoint, take_look
from plans.models import User
from tests.adapters.metric_servers import TOKEN, MetricPage, free_port, real_prometheus
from tests.adapters.open_here import open_here

SHIPPED = Path(__file__).parents[2] / "config/monitoring/version_upgrade_dashboards.json"
IN_DATABASE = pytest.mark.django_db(transaction=True)
KINDS = (
    "prometheus_text",
    pytest.param("prometheus", marks=pytest.mark.prometheus),
    "json_http",
    "json_pages",
    pytest.param("push", marks=IN_DATABASE),
    "simulated",
)
OVER_HTTP = ("prometheus_text", "prometheus", "json_http")
REQUESTS, STRANGE, NOTHING = (
    Selector(metric=name) for name in ("tenant_requests_total", "strange", "nothing_total")
)
PAGE = """# HELP tenant_requests_total Requests.
# TYPE tenant_requests_total counter
tenant_requests_total{tenant="acorn",version="2.0"} 41
tenant_requests_total{tenant="birch",version="1.0"} 7
# TYPE tenant_requests_total_more counter
tenant_requests_total_more{tenant="acorn"} 1
# TYPE strange gauge
strange{tenant="acorn"} NaN
strange{tenant="a\\"b\\\\c"} +Inf
"""
DOCUMENT = {
    "tenants": [
        {"id": "acorn", "runs": {"version": "2.0"}, "requests": 41, "strange": "NaN"},
        {"id": "birch", "runs": {"version": "1.0"}, "requests": 7, "strange": None},
        {"id": 'a"b\\c', "strange": "+Inf"},
    ]
}
JSON_OPTIONS = {
    "rows": "$.tenants",
    "labels": {"tenant": "$.id", "version": "$.runs.version"},
    "values": {"tenant_requests_total": "$.requests", "strange": "$.strange"},
}


@pytest.fixture(scope="module")
def metric_page():
    with MetricPage() as metric_page:
        metric_page.text = PAGE
        metric_page.document = DOCUMENT
        yield metric_page


@pytest.fixture(scope="module")
def prometheus(metric_page, tmp_path_factory):
    with real_prometheus(metric_page, tmp_path_factory.mktemp("prometheus")) as url:
        yield url


def spec(kind, url, **options):
    also = JSON_OPTIONS if kind == "json_http" else {}
    return SourceSpec("fleet", kind, {"url": url, **also, **options})


def pushed() -> MetricSource:
    """Return a source of what was pushed: the same as stands on the page."""
    described = SourceSpec("fleet", "push")
    now = datetime.now(UTC)
    user = User.objects.create_superuser("ada@example.org", name="Ada")
    points = [
        PushedPoint(name, one.labels, "counter" if name.endswith("_total") else "gauge",
                    (one.value,), now, start=now - timedelta(seconds=5))
        for name, found in read_exposition(PAGE, ["tenant_requests_total", "strange"]).items()
        for one in found
    ]  # fmt: skip
    take_points(spec=described, points=points, by=user, now=now)
    return build(described, environ={}, rules=open_here, store=KeptSeries())


def built(described):
    """Return a source that needs nothing of the environment."""
    return build(described, environ={}, rules=open_here)


@pytest.fixture
async def source(request, metric_page):
    source: MetricSource
    if request.param == "simulated":
        values = read_exposition(PAGE, ["tenant_requests_total", "strange"])
        source = SimulatedSource(
            "fleet", {Selector(metric=name): found for name, found in values.items()}
        )
    elif request.param == "prometheus":
        source = build(
            spec("prometheus", request.getfixturevalue("prometheus")), environ={}, rules=open_here
        )
        # Another test's tenant may still be on Prometheus' last scrape.
        await until(source, REQUESTS, lambda series: len(series) == 2)
    elif request.param == "json_http":
        source = built(spec("json_http", f"{metric_page.url}/json"))
    elif request.param == "json_pages":
        pages = {"parameter": "page"}
        source = built(spec("json_http", f"{metric_page.url}/paged", pages=pages))
    elif request.param == "push":
        source = await asyncio.to_thread(pushed)
    else:
        source = build(
            spec("prometheus_text", f"{metric_page.url}/metrics"), environ={}, rules=open_here
        )
    yield source
    await source.close()


async def until(source, selector, wanted=lambda series: bool(series)):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        answer = await source.read([selector], timeout=5)
        if wanted(answer[selector]):
            return answer[selector]
        await asyncio.sleep(0.2)
    raise AssertionError(f"{selector} did not come within 20 s")


every_kind = pytest.mark.parametrize("source", KINDS, indirect=True)


@every_kind
async def test_all_selectors_are_answered_with_labels_and_values(source):
    answer = await source.read([REQUESTS, STRANGE], timeout=5)
    by_tenant = {one.labels["tenant"]: one for one in answer[REQUESTS]}
    assert {tenant: one.value for tenant, one in by_tenant.items()} == {"acorn": 41, "birch": 7}
    assert by_tenant["acorn"].labels["version"] == "2.0"
    assert {one.labels["tenant"] for one in answer[STRANGE]} == {"acorn", 'a"b\\c'}


@every_kind
async def test_no_series_is_an_empty_list_and_never_zero(source):
    assert await source.read([NOTHING], timeout=5) == {NOTHING: []}


@every_kind
async def test_what_is_not_a_number_arrives_as_it_is(source):
    strange = (await source.read([STRANGE], timeout=5))[STRANGE]
    values = {one.labels["tenant"]: one.value for one in strange}
    assert math.isnan(values["acorn"])
    assert values['a"b\\c'] == math.inf


@every_kind
async def test_a_closed_source_can_be_read_again(source):
    await source.close()
    assert len((await source.read([REQUESTS], timeout=5))[REQUESTS]) == 2


async def failure(source, *, timeout=2.0, selector=REQUESTS):
    try:
        with pytest.raises(MetricUnavailable) as unavailable:
            await source.read([selector], timeout=timeout)
    finally:
        await source.close()
    return unavailable.value


@pytest.mark.parametrize("kind", OVER_HTTP)
async def test_fault_08_nobody_listening_is_source_down(kind):
    error = await failure(built(spec(kind, f"http://127.0.0.1:{free_port()}")))
    assert (error.cause, error.sentence) == ("source_down", "connection refused")


@pytest.mark.parametrize("kind", OVER_HTTP)
@pytest.mark.parametrize(
    ("mode", "cause", "said"),
    [
        ("broken", "source_down", "HTTP 503"),
        ("unauthorized", "unauthorized", "HTTP 401"),
        ("moved", "bad_answer", "redirects are not followed"),
        ("cut", "bad_answer", "broke off"),
        ("garbage", "bad_answer", "not"),
    ],
)
async def test_each_fault_has_its_cause(kind, mode, cause, said, metric_page):
    error = await failure(built(spec(kind, f"{metric_page.url}/{mode}")))
    assert error.cause == cause
    assert said in error.sentence


@pytest.mark.parametrize("kind", OVER_HTTP)
@pytest.mark.parametrize(("timeout", "option"), [(0.3, 5), (5, 0.3)])
async def test_the_shorter_timeout_ends_a_hung_read(kind, timeout, option, metric_page):
    source = build(
        spec(kind, f"{metric_page.url}/hang", timeout_seconds=option), environ={}, rules=open_here
    )
    begun = time.monotonic()
    error = await failure(source, timeout=timeout)
    assert (error.cause, error.sentence) == ("timeout", "no answer within 0.3 s")
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("kind", OVER_HTTP)
async def test_a_token_comes_from_the_environment(kind, metric_page):
    headers = {"Authorization": "Bearer ${FLEET_TOKEN}"}
    where = "secured?json" if kind == "json_http" else "secured"
    secured = spec(kind, f"{metric_page.url}/{where}", headers=headers)
    source = build(secured, environ={"FLEET_TOKEN": TOKEN}, rules=open_here)
    assert await source.read([REQUESTS], timeout=2) == {REQUESTS: []}
    await source.close()
    error = await failure(build(secured, environ={}, rules=open_here))
    assert error.cause == "unauthorized"
    assert "FLEET_TOKEN" in error.sentence


async def test_an_answer_over_the_cap_is_not_read_on(metric_page):
    source = PrometheusTextSource(
        spec("prometheus_text", f"{metric_page.url}/large"),
        environ={},
        rules=open_here,
        byte_cap=1000,
    )
    error = await failure(source)
    assert (error.cause, error.sentence) == ("bad_answer", "the answer is larger than 1000 bytes")


async def test_a_page_of_text_takes_no_query(metric_page):
    source = build(
        spec("prometheus_text", f"{metric_page.url}/metrics"), environ={}, rules=open_here
    )
    error = await failure(source, selector=Selector(query="sum(x)"))
    assert "not a query" in error.sentence


@pytest.mark.prometheus
@pytest.mark.parametrize(
    ("query", "said"),
    [("sum by (", "parse error"), ("tenant_requests_total[1m]", "one value per tenant")],
)
async def test_prometheus_says_what_is_wrong_with_a_query(query, said, prometheus):
    error = await failure(
        built(spec("prometheus", prometheus)),
        selector=Selector(query=query),
    )
    assert error.cause == "bad_answer"
    assert said in error.sentence


@pytest.mark.prometheus
@pytest.mark.parametrize("source", ["prometheus"], indirect=True)
async def test_values_of_prometheus_carry_its_time(source):
    [one, *_] = (await source.read([REQUESTS], timeout=5))[REQUESTS]
    assert abs(datetime.now(UTC) - one.at) < timedelta(seconds=5)


@pytest.mark.prometheus
async def test_the_shipped_queries_give_increments_from_a_real_prometheus(metric_page, prometheus):
    dictionary = load_dictionary(SHIPPED.read_text())
    mapping = dictionary.mappings_for("error_rate")[1]
    buckets = dictionary.mappings_for("latency_ms")[0]
    source = built(spec("prometheus", prometheus))
    begun = datetime.now(UTC) - timedelta(minutes=1)
    cursors: dict[str, dict[str, object]] = {}
    samples = {}
    for factor in (1, 3):
        metric_page.text = PAGE + "".join(
            f'{name}{{tenant="cedar"{more}}} {value * factor}\n'
            for name, more, value in (
                ("tenant_errors_total", "", 2),
                ("tenant_requests_total", "", 100),
                ("tenant_latency_seconds_bucket", ',le="0.2"', 90),
                ("tenant_latency_seconds_bucket", ',le="+Inf"', 100),
            )
        )
        mark = Selector(query=f'tenant_latency_seconds_bucket{{le="+Inf"}} == {100 * factor}')
        await until(source, mark)
        at = datetime.now(UTC)
        answers = await source.read([*mapping.selectors, *buckets.selectors], timeout=5)
        for used in (mapping, buckets):
            samples[used.kpi], cursors[used.kpi] = take_look(
                mapping=used,
                definition=dictionary.kpis[used.kpi],
                answers=answers,
                at=at,
                upgraded={"cedar": begun},
                control=["birch"],
                target_version="2.0",
                cursor=cursors.get(used.kpi, {}),
            )
    await source.close()
    metric_page.text = PAGE
    rate, latency = samples["error_rate"].canary["cedar"], samples["latency_ms"].canary["cedar"]
    assert rate == RatioPoint(4, 200)
    assert latency == HistogramPoint({200.0: 180}, 200)


async def test_a_simulated_source_fails_and_hangs_as_told():
    source = SimulatedSource("fleet", lambda: {REQUESTS: [Series({"tenant": "acorn"}, 1)]})
    assert len((await source.read([REQUESTS], timeout=1))[REQUESTS]) == 1
    source.delay_seconds = 5
    assert (await failure(source, timeout=0.05)).cause == "timeout"
    source.delay_seconds = 0
    source.fault = MetricUnavailable("name_gone", "no such metric")
    assert (await failure(source)).cause == "name_gone"


@pytest.mark.parametrize(
    "line",
    [
        'x{tenant="acorn" 1',
        'x{tenant="acorn"} one',
        "x{tenant=acorn} 1",
        'x{tenant="a",tenant="b"} 1',
        "x",
        "x 1 soon",
    ],
)
def test_a_wanted_line_that_is_no_sample_spoils_the_page(line):
    with pytest.raises(MetricUnavailable, match="line 2"):
        read_exposition(f"# HELP x\n{line}\n", ["x"])


def test_spaces_commas_timestamps_and_windows_line_ends_are_read():
    text = 'x { tenant = "acorn" , le="1", } 2.5e1 1700000000000\r\nx 3\r\n'
    first, second = read_exposition(text, ["x"])["x"]
    assert (first.labels, first.value) == ({"tenant": "acorn", "le": "1"}, 25)
    assert first.at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert (second.labels, second.value, second.at) == ({}, 3, None)


def test_a_page_that_ends_in_the_middle_of_a_line_is_refused():
    with pytest.raises(MetricUnavailable, match="cut off"):
        read_exposition('x{tenant="acorn"} 12', ["x"])
