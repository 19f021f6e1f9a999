"""Values out of JSON: rows as a list or an object, times, and what spoils an answer."""

from datetime import UTC, datetime

import pytest

from batches.metric_sources import MetricUnavailable, Selector, SourceSpec, build
from batches.metric_sources.json_http_source import JsonHttpSource
from batches.metric_sources.json_pages import PageWalk
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


# Pages.


ROWS = {"tenants": [{"id": key, "stats": {"errors": n}} for n, key in enumerate("abc")]}
NEXT = {"next": "$.next"}


async def paged(page, mode, pages, **options):
    page.document, page.pages_served = ROWS, 0
    url = f"{page.url}/{mode}"
    options = OPTIONS | {"rows": "$.tenants", "url": url, "pages": pages} | options
    source = build(SourceSpec("vendor", "json_http", options), environ={}, rules=open_here)
    try:
        found = (await source.read([ERRORS], timeout=5))[ERRORS]
    finally:
        await source.close()
    return {one.labels["tenant"]: one.value for one in found}


@pytest.mark.parametrize(
    ("mode", "pages", "served"),
    [
        ("linked", NEXT, 3),
        ("tokens", {"next": "$.next", "parameter": "after"}, 3),
        # Counted pages end with one that is empty.
        ("paged", {"parameter": "page"}, 4),
        ("paged", {"parameter": "page", "first": 1, "at_most": 4}, 4),
    ],
)
async def test_all_pages_are_one_document(page, mode, pages, served):
    assert await paged(page, mode, pages) == {"a": 0, "b": 1, "c": 2}
    assert page.pages_served == served


async def test_without_pages_only_the_first_is_read(page):
    assert await paged(page, "linked", None) == {"a": 0}


@pytest.mark.parametrize(
    ("mode", "pages", "said"),
    [
        ("circle", NEXT, "go in a circle: after 3 comes one again"),
        ("linked", NEXT | {"at_most": 2}, "more than 2 pages; raise pages.at_most"),
        ("elsewhere", NEXT, "at another address than the first page"),
        ("same", {"parameter": "page"}, "page 2 says what a page before it said"),
        ("endless", {"parameter": "page", "at_most": 5}, "more than 5 pages"),
        ("linked", {"next": "$.tenants"}, "does not name a page"),
    ],
)
async def test_pages_that_do_not_end_are_no_answer(page, mode, pages, said):
    with pytest.raises(MetricUnavailable, match=said.replace("$", r"\$")) as unavailable:
        await paged(page, mode, pages)
    assert unavailable.value.cause == "bad_answer"
    assert page.pages_served <= 6


async def test_all_pages_together_have_the_time_of_one_answer(page):
    page.document = {"tenants": [{"id": "a"}], "next": f"{page.url}/hang"}
    options = OPTIONS | {"rows": "$.tenants", "url": f"{page.url}/json", "pages": NEXT}
    source = build(SourceSpec("vendor", "json_http", options), environ={}, rules=open_here)
    with pytest.raises(MetricUnavailable, match=r"not all pages within 0\.5 s; 1 came") as late:
        await source.read([ERRORS], timeout=0.5)
    await source.close()
    assert late.value.cause == "timeout"


async def test_all_pages_together_have_the_size_of_one_answer(page):
    page.document = ROWS
    options = OPTIONS | {"rows": "$.tenants", "url": f"{page.url}/linked", "pages": NEXT}
    spec = SourceSpec("vendor", "json_http", options)
    source = JsonHttpSource(spec, environ={}, rules=open_here, byte_cap=150)
    with pytest.raises(MetricUnavailable, match="larger than 150 bytes together"):
        await source.read([ERRORS], timeout=5)
    await source.close()


async def test_a_row_that_moves_to_a_later_page_meanwhile_counts_once(page):
    moved = [{"id": "a", "stats": {"errors": 1}}, {"id": "a", "stats": {"errors": 5}}]
    page.document, page.pages_served = {"tenants": moved}, 0
    options = OPTIONS | {"rows": "$.tenants", "url": f"{page.url}/linked", "pages": NEXT}
    source = build(SourceSpec("vendor", "json_http", options), environ={}, rules=open_here)
    [one] = (await source.read([ERRORS], timeout=5))[ERRORS]
    await source.close()
    assert one.value == 5


def test_other_parameters_of_the_address_stay():
    walk = PageWalk("https://v.example/x?size=50&page=9", {"parameter": "page", "first": 0})
    assert walk.first == "https://v.example/x?size=50&page=0"
    assert walk.after(walk.first, {}, b"1", rows=3) == "https://v.example/x?size=50&page=1"
