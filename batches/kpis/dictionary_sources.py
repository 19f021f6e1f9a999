"""The dictionary's sources, with every problem, and what a mapping may ask of each kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from batches.deployers.json_path import is_path
from batches.kpis.dictionary_json import Place, listed
from batches.metric_sources.base import Selector, SourceSpec
from upgradeconsole.known_secrets import is_secret_name

SOURCE_KINDS: Final = (
    "prometheus_text",
    "prometheus",
    "json_http",
    "push",
    "cdevents",
    "simulated",
)
PUSHED_KINDS: Final = frozenset({"push", "cdevents"})
_SOURCE = re.compile(r"[a-z0-9][a-z0-9_\-]{0,62}")
_SOURCE_RULE = "write small letters, digits, '_' and '-' (at most 63)"
_LABEL = re.compile(r"(?!le\b|__)[a-zA-Z_][a-zA-Z0-9_]*")
# OpenTelemetry's attributes have dots: tenant.id.
_ATTRIBUTE = re.compile(r"(?!le\b|__)[a-zA-Z_][a-zA-Z0-9_.\-/]{0,119}")
_LABEL_RULE = "write the name of a label such as tenant (le is taken by the buckets)"
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
PUSHED_METRIC: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_:.\-/]{0,199}")
_METRIC_RULE = "write the name of a metric such as tenant_requests_total"
_PARAMETER = re.compile(r"[A-Za-z0-9_.\-\[\]]{1,100}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}")
_NO_QUERY: Final = {
    "prometheus_text": "is a page of text",
    "json_http": "is a JSON document",
    "push": "holds what is pushed to it",
    "cdevents": "holds what pipelines tell it",
}
_HTTP_KEYS: Final = ("url", "headers", "auth", "tls", "timeout_seconds")
_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "prometheus_text": _HTTP_KEYS,
    "prometheus": _HTTP_KEYS,
    "json_http": (*_HTTP_KEYS, "rows", "labels", "values", "at", "pages"),
    "push": ("stale_seconds", "max_series", "points_per_second"),
    "cdevents": ("stale_seconds", "max_series", "points_per_second", "tenant"),
    "simulated": (),
}


def read_sources(top: Place) -> dict[str, SourceSpec]:
    """Return the sources that can be used; what is wrong with the others is noted."""
    section = top.child("sources")
    if section is None:
        if "sources" not in top.values:
            top.note("sources", 'is missing; write {"NAME": {"kind": ..., "url": ...}}')
        return {}
    sources = {}
    for name in section.values:
        if not _SOURCE.fullmatch(name):
            section.note(name, f"cannot be used as a name; {_SOURCE_RULE}")
        place = section.child(name)
        if place is None:
            continue
        kind = place.choice("kind", SOURCE_KINDS)
        if kind:
            place.only("kind", *_KEYS[kind])
            for key, check in _CHECKS.items():
                if key in _KEYS[kind]:
                    check(place)
        options = {key: value for key, value in place.values.items() if key != "kind"}
        sources[name] = SourceSpec(name, kind, options)
    return sources


def series_label(place: Place, key: str, source: SourceSpec | None) -> str | None:
    """Return the name of a label that the mapping wants, None where it names none."""
    if key not in place.values:
        return None
    pushed = source is not None and source.kind in PUSHED_KINDS
    name = place.text(key, form=_ATTRIBUTE if pushed else _LABEL, rule=_LABEL_RULE)
    if source is not None and source.kind == "json_http":
        labels = source.options.get("labels")
        if name and isinstance(labels, dict) and name not in labels:
            place.note(key, f"'{source.name}' gives no label '{name}'; it gives {listed(labels)}")
    return name


def read_selector(place: Place, key: str, source: SourceSpec | None) -> Selector | None:
    """Return what the mapping reads there, None where it names nothing that can be read."""
    part = place.child(key)
    if part is None:
        return None
    part.only("metric", "query")
    if ("metric" in part.values) == ("query" in part.values):
        part.note("", 'write exactly one of {"metric": ...} and {"query": ...}')
        return None
    if "metric" in part.values:
        return Selector(metric=_metric(part, source))
    if source is not None and source.kind in _NO_QUERY:
        what = _NO_QUERY[source.kind]
        part.note("query", f"'{source.name}' {what} and takes no query; write metric")
    return Selector(query=part.text("query", rule="write a query that gives a value per tenant"))


def _metric(part: Place, source: SourceSpec | None) -> str:
    pushed = source is not None and source.kind in PUSHED_KINDS
    name = part.text("metric", form=PUSHED_METRIC if pushed else _METRIC, rule=_METRIC_RULE)
    if source is not None and source.kind == "json_http":
        values = source.options.get("values")
        if name and isinstance(values, dict) and name not in values:
            part.note("metric", f"'{source.name}' has no '{name}'; its values: {listed(values)}")
    return name


def _check_url(place: Place) -> None:
    rule = "write an address such as http://127.0.0.1:9090"
    url = place.text("url", rule=rule)
    if not url:
        return
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        place.note("url", f"'{url[:60]}' is not an address; {rule}")
    elif "@" in parts.netloc:
        place.note("url", "holds a login; write it as auth with ${NAME} from the environment")


def _check_headers(place: Place) -> None:
    headers = place.child("headers")
    if headers is None:
        return
    for header, value in headers.values.items():
        if not _HEADER.fullmatch(header):
            headers.note(header, "is not the name of a header")
        elif not isinstance(value, str) or not value.isprintable():
            headers.note(header, "write a text without control characters")
        elif "${" in _VARIABLE.sub("", value):
            headers.note(header, "write variables of the environment as ${NAME}")
        elif is_secret_name(header) and not _VARIABLE.search(value):
            headers.note(header, 'keep secrets in the environment: write "Bearer ${NAME}"')


def _check_auth(place: Place) -> None:
    auth = place.child("auth")
    if auth is None:
        return
    auth.only("basic", "bearer")
    if ("basic" in auth.values) == ("bearer" in auth.values):
        auth.note("", 'write exactly one of {"bearer": ...} and {"basic": {...}}')
    headers = place.values.get("headers")
    if isinstance(headers, dict) and any(name.lower() == "authorization" for name in headers):
        auth.note("", "headers has an Authorization already; keep one of them")
    if "bearer" in auth.values:
        _check_secret(auth, "bearer", '"${TOKEN}"')
    basic = auth.child("basic")
    if basic is not None:
        basic.only("username", "password")
        _check_secret(basic, "username", "a name", secret=False)
        _check_secret(basic, "password", '"${PASSWORD}"')


def _check_secret(place: Place, key: str, example: str, *, secret: bool = True) -> None:
    value = place.text(key, rule=f"write {example}")
    if not value:
        return
    if not value.isprintable() or "${" in _VARIABLE.sub("", value):
        place.note(key, "write variables of the environment as ${NAME}")
    elif secret and not _VARIABLE.fullmatch(value):
        place.note(key, f"keep secrets in the environment: write {example}")


def _check_tls(place: Place) -> None:
    tls = place.child("tls")
    if tls is None:
        return
    if "insecure" in tls.values:
        tls.note("insecure", "certificates are always checked; name their authority as ca")
    tls.only("ca", "cert", "key", "insecure")
    if not str(place.values.get("url", "")).lower().startswith("https:"):
        tls.note("", "means nothing for an http address; write https, or leave tls out")
    for key in ("ca", "cert", "key"):
        if key in tls.values:
            tls.text(key, rule="write the path of a PEM file")
    if "key" in tls.values and "cert" not in tls.values:
        tls.note("key", "write the certificate of this key as cert")


def _check_timeout(place: Place) -> None:
    place.number("timeout_seconds", above=0, below=60.001)


def _check_path(place: Place, key: str, *, also: str = "") -> None:
    rule = "write a JSON path such as $.tenants[0].id" + (f", or {also}" if also else "")
    path = place.text(key, rule=rule)
    if path and path != also and not is_path(path):
        place.note(key, f"'{path[:60]}' cannot be used; {rule}")


def _check_rows(place: Place) -> None:
    _check_path(place, "rows")


def _check_labels(place: Place) -> None:
    labels = place.child("labels")
    if labels is None or not labels.values:
        if "labels" not in place.values or labels is not None:
            place.note("labels", 'is missing; write {"tenant": "$.id"}')
        return
    for label in labels.values:
        if not _LABEL.fullmatch(label) and label != "le":
            labels.note(label, f"cannot be used; {_LABEL_RULE}")
        _check_path(labels, label, also="key")


def _check_values(place: Place) -> None:
    values = place.child("values")
    if values is None or not values.values:
        if "values" not in place.values or values is not None:
            place.note("values", 'is missing; write {"errors_total": "$.stats.errors"}')
        return
    for metric in values.values:
        if not _METRIC.fullmatch(metric):
            values.note(metric, f"cannot be used; {_METRIC_RULE}")
        _check_path(values, metric)


def _check_at(place: Place) -> None:
    if "at" in place.values:
        _check_path(place, "at")


def _check_pages(place: Place) -> None:
    pages = place.child("pages")
    if pages is None:
        return
    pages.only("next", "parameter", "first", "at_most")
    if "next" not in pages.values and "parameter" not in pages.values:
        pages.note(
            "",
            'write {"next": PATH} where a page names the address of the next one,'
            ' {"parameter": NAME} where pages are counted, or both where it names what to ask for',
        )
    if "next" in pages.values:
        _check_path(pages, "next")
    if "parameter" in pages.values:
        rule = "write the name of a parameter of the address, such as page"
        pages.text("parameter", form=_PARAMETER, rule=rule)
    if "first" in pages.values:
        number = pages.values["first"]
        if isinstance(number, bool) or number not in (0, 1):
            pages.note("first", "write 0 or 1: the number of the first page")
        if "next" in pages.values:
            pages.note("first", "leave it out: with next, pages are not counted")
    _whole(pages, "at_most", 1000)


def _check_stale(place: Place) -> None:
    longest = 86_400 if place.values.get("kind") == "cdevents" else 600
    place.number("stale_seconds", above=0, below=longest + 0.001)


def _whole(place: Place, key: str, most: int) -> None:
    value: Any = place.number(key, above=0, below=most + 1)
    if value is not None and value != int(value):
        place.note(key, "write a whole number")


def _check_series(place: Place) -> None:
    _whole(place, "max_series", 1_000_000)


def _check_rate(place: Place) -> None:
    _whole(place, "points_per_second", 100_000)


def _check_tenant(place: Place) -> None:
    if "tenant" in place.values:
        _check_path(place, "tenant")


_CHECKS: Final[Mapping[str, Callable[[Place], None]]] = {
    "url": _check_url,
    "headers": _check_headers,
    "auth": _check_auth,
    "tls": _check_tls,
    "timeout_seconds": _check_timeout,
    "rows": _check_rows,
    "labels": _check_labels,
    "values": _check_values,
    "at": _check_at,
    "pages": _check_pages,
    "stale_seconds": _check_stale,
    "max_series": _check_series,
    "points_per_second": _check_rate,
    "tenant": _check_tenant,
}
