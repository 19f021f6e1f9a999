"""The dictionary's sources: each kind takes its own keys, and what mappings may ask of it."""

import json

import pytest

from batches.kpis.dictionary import DictionaryRejected, load_dictionary

PROM = {"kind": "prometheus", "url": "https://prom.example.org"}
VENDOR = {
    "kind": "json_http",
    "url": "https://vendor.example.org/health",
    "rows": "$.tenants",
    "labels": {"tenant": "$.id", "version": "key"},
    "values": {"errors_total": "$.stats.errors", "requests_total": "$.stats.requests"},
    "at": "$.updated",
}


def text(source, **mapping):
    known = {
        "kpi": "error_rate",
        "source": "one",
        "bad": {"metric": "errors_total"},
        "total": {"metric": "requests_total"},
    }
    kpi = {"name": "error_rate", "kind": "ratio", "unit": "%", "direction": "lower"}
    return json.dumps({"kpis": [kpi], "sources": {"one": source}, "mappings": [known | mapping]})


def problems_of(source, **mapping):
    with pytest.raises(DictionaryRejected) as rejected:
        load_dictionary(text(source, **mapping))
    return [str(problem) for problem in rejected.value.problems]


@pytest.mark.parametrize(
    ("source", "mapping"),
    [
        (PROM | {"auth": {"bearer": "${TOKEN}"}, "tls": {"ca": "/etc/ca.pem"}}, {}),
        (PROM | {"auth": {"basic": {"username": "console", "password": "${PW}"}}}, {}),
        (PROM | {"tls": {"cert": "c.pem", "key": "k.pem"}}, {}),
        (VENDOR, {"tenant_label": "tenant", "version_label": "version"}),
        (VENDOR | {"pages": {"next": "$.links.next", "at_most": 1000}}, {}),
        (VENDOR | {"pages": {"parameter": "page", "first": 0}}, {}),
        (VENDOR | {"pages": {"parameter": "after", "next": "$.token"}}, {}),
        (PROM, {"emitted_by": "new_version"}),
        ({"kind": "push", "stale_seconds": 150, "max_series": 10, "points_per_second": 5}, {}),
        ({"kind": "push"}, {"tenant_label": "tenant.id", "bad": {"metric": "http.errors/s-1"}}),
        ({"kind": "cdevents", "tenant": "$.customData.site", "stale_seconds": 86_400}, {}),
    ],
)
def test_every_kind_loads(source, mapping):
    assert load_dictionary(text(source, **mapping)).sources["one"].kind == source["kind"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (PROM | {"auth": {}}, "sources.one.auth: write exactly one of"),
        (VENDOR | {"pages": {}}, "sources.one.pages: write {"),
        (VENDOR | {"pages": {"next": "links.next"}}, "pages.next: 'links.next' cannot be used"),
        (VENDOR | {"pages": {"parameter": "a page"}}, "pages.parameter: 'a page' cannot be used"),
        (VENDOR | {"pages": {"parameter": "page", "first": 2}}, "pages.first: write 0 or 1"),
        (VENDOR | {"pages": {"next": "$.n", "first": 1}}, "pages.first: leave it out"),
        (VENDOR | {"pages": {"next": "$.n", "at_most": 1001}}, "pages.at_most: write a number"),
        (VENDOR | {"pages": {"next": "$.n", "size": 5}}, "pages.size: unknown key"),
        (PROM | {"pages": {"next": "$.n"}}, "sources.one.pages: unknown key"),
        (PROM | {"auth": {"bearer": "abc"}}, "sources.one.auth.bearer: keep secrets"),
        (PROM | {"auth": {"bearer": "${TOK"}}, "as ${NAME}"),
        (PROM | {"auth": {"basic": {"username": "x", "password": "y"}}}, "keep secrets"),
        (PROM | {"auth": {"basic": {"username": "x"}}}, "password: is missing"),
        (
            PROM | {"auth": {"bearer": "${T}"}, "headers": {"authorization": "${T}"}},
            "keep one of them",
        ),
        (PROM | {"tls": {"insecure": True}}, "certificates are always checked"),
        (PROM | {"tls": {"key": "k.pem"}}, "the certificate of this key"),
        (PROM | {"url": "http://x", "tls": {"ca": "x"}}, "write https"),
        (PROM | {"rows": "$.x"}, "sources.one.rows: unknown key"),
        ({**VENDOR, "rows": "tenants"}, "'tenants' cannot be used; write a JSON path"),
        ({**VENDOR, "labels": {}}, "labels: is missing"),
        ({**VENDOR, "labels": {"tenant": "id"}}, "or key"),
        ({**VENDOR, "values": {}}, "values: is missing"),
        ({**VENDOR, "values": {"errors total": "$.x"}}, "name of a metric"),
        ({**VENDOR, "at": "noon"}, "write a JSON path"),
        ({"kind": "push", "url": "http://x"}, "unknown key"),
        ({"kind": "push", "stale_seconds": 3600}, "below 600"),
        ({"kind": "push", "max_series": 1.5}, "whole number"),
        ({"kind": "push", "points_per_second": 0}, "above 0"),
        ({"kind": "push", "tenant": "$.x"}, "unknown key"),
        ({"kind": "cdevents", "tenant": "customData"}, "write a JSON path"),
        ({"kind": "pushed"}, "did you mean 'push'"),
    ],
)
def test_each_mistake_in_a_source_is_named(source, said):
    assert any(said in problem for problem in problems_of(source))


@pytest.mark.parametrize(
    ("source", "mapping", "said"),
    [
        (VENDOR, {"bad": {"metric": "fails_total"}}, "its values: errors_total, requests_total"),
        (VENDOR, {"bad": {"query": "x"}}, "is a JSON document and takes no query"),
        (VENDOR, {"tenant_label": "site"}, "gives no label 'site'; it gives tenant, version"),
        ({"kind": "push"}, {"bad": {"query": "x"}}, "holds what is pushed to it"),
        ({"kind": "cdevents"}, {"bad": {"query": "x"}}, "what pipelines tell it"),
        (PROM, {"tenant_label": "tenant.id"}, "name of a label"),
    ],
)
def test_a_mapping_asks_only_for_what_the_source_can_tell(source, mapping, said):
    assert any(said in problem for problem in problems_of(source, **mapping))
