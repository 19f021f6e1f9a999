"""Values out of JSON: rows as a list or an object, times, and what spoils an answer."""

from datetime import UTC, datetime

import pytest

from batches.metric_sources import MetricUnavailable, Selector, SourceSpec, build
from tests.adapters.metric_servers import MetricPage
from tests.adapters.open_here import open_here

ERRORS = Selector(metric="errors")
OPTIONS = {"rows": "$.data", "labels": {"tenant": "$.id"}, "values": {"errors": "$.stats.errors"}}


@pytest.fixture(scope="module")
def page():
    with MetricPage() as metric_page:
        yield metric_page


async def read(page, document, **options):
    page.document = document
    spec = SourceSpec("vendor", "json_http", {"url": f"{page.url}/json", **OPTIONS, **options})
    source = build(spec, environ={}, rules=open_here)
    try:
        return (await source.read([ERRORS], timeout=5))[ERRORS]
    finally:
        await source.close()


async def test_an_object_of_tenants_is_read_by_its_keys(page):
    document = {"data": {"acorn": {"stats": {"errors": 3}}, "birch": {"stats": {"errors": 0}}}}
    found = await read(page, document, labels={"tenant": "key"})
    assert {one.labels["tenant"]: one.value for one in found} == {"acorn": 3, "birch": 0}


@pytest.mark.parametrize("at", ["2026-01-31T13:00:00+01:00", 1769860800, "2026-01-31T12:00:00Z"])
async def test_the_time_is_read_as_text_or_as_seconds(page, at):
    document = {"data": [{"id": "acorn", "stats": {"errors": 1}, "at": at}]}
    [one] = await read(page, document, at="$.at")
    assert one.at == datetime(2026, 1, 31, 12, tzinfo=UTC)


async def test_what_is_null_or_absent_is_no_series(page):
    rows = [{"id": "acorn", "stats": {"errors": None}}, {"id": "birch"}, 7]
    assert await read(page, {"data": rows}) == []


@pytest.mark.parametrize(
    ("document", "options", "said"),
    [
        ({"rows": []}, {}, "no list and no object at $.data"),
        ({"data": [{"id": "a", "stats": {"errors": True}}]}, {}, "True is not a number"),
        ({"data": [{"id": "a", "stats": {"errors": "many"}}]}, {}, "'many' is not a number"),
        ({"data": [{"id": "a", "stats": {"errors": [1]}}]}, {}, "is not a number"),
        ({"data": [{"id": "a", "at": "noon"}]}, {"at": "$.at"}, "'noon' is not a time"),
        ({"data": [{"id": "a", "at": "2026-01-31T12:00"}]}, {"at": "$.at"}, "is not a time"),
        ({"data": [{"id": "a"}]}, {"at": "$.at"}, "is not a time"),
    ],
)
async def test_what_is_there_and_cannot_be_read_spoils_the_answer(page, document, options, said):
    with pytest.raises(MetricUnavailable, match=said.replace("$", r"\$")) as unavailable:
        await read(page, document, **options)
    assert unavailable.value.cause == "bad_answer"
