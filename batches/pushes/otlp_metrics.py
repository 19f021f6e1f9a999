"""OTLP/HTTP metrics, protobuf or JSON -> points, and what of them cannot be used. No Django.

https://opentelemetry.io/docs/specs/otlp/ and the data model of metrics. The libraries that read
protobuf are imported with the first request: a console that nobody pushes to does not carry them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from batches.deployers.answer_text import storable
from batches.kpis.dictionary_sources import PUSHED_METRIC
from batches.pushes.points import PushedPoint
from batches.pushes.push_json import LONGEST_LABEL, MOST_BUCKETS, MOST_LABELS

MOST_POINTS: Final = 10_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NO_VALUE: Final = 1
_DELTA, _CUMULATIVE = 1, 2
_INVALID_ARGUMENT: Final = 3
# They say how the sender was built, not whose the numbers are; without them rows stay small.
_LEFT_OUT: Final = ("telemetry.", "process.", "os.")


class NotOtlp(Exception):
    """The body is no ExportMetricsServiceRequest; the text says why."""


@dataclass(slots=True)
class OtlpBatch:
    """What a request held."""

    points: list[PushedPoint] = field(default_factory=list)
    refused: list[tuple[int, str, str]] = field(default_factory=list)

    def refuse(self, code: str, sentence: str, points: int = 1) -> None:
        """Remember points that cannot be used."""
        for _one in range(points):
            self.refused.append((len(self.points) + len(self.refused), code, sentence))


def read_otlp(body: bytes, *, as_json: bool, now: datetime) -> OtlpBatch:
    """Return the points of an export request. Raises NotOtlp."""
    request = _parsed(body, as_json=as_json)
    batch = OtlpBatch()
    for resource_metrics in request.resource_metrics:
        resource = _labels(resource_metrics.resource.attributes)
        resource = {n: v for n, v in resource.items() if not n.startswith(_LEFT_OUT)}
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                _read_metric(batch, metric, resource, now)
                if len(batch.points) + len(batch.refused) > MOST_POINTS:
                    raise NotOtlp(
                        f"more than {MOST_POINTS} points at once; let the exporter send smaller"
                        " batches"
                    )
    return batch


def success(*, as_json: bool, refused: int, message: str) -> bytes:
    """Return the body of an ExportMetricsServiceResponse."""
    if as_json:
        partial: dict[str, Any] = {}
        if refused:
            partial = {
                "partialSuccess": {"rejectedDataPoints": str(refused), "errorMessage": message}
            }
        return json.dumps(partial).encode()
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceResponse,
    )

    response = ExportMetricsServiceResponse()
    if refused:
        response.partial_success.rejected_data_points = refused
        response.partial_success.error_message = message
    return bytes(response.SerializeToString())


def failure(message: str, *, as_json: bool) -> bytes:
    """Return a google.rpc.Status, which is what exporters expect beside a status of 4xx."""
    if as_json:
        return json.dumps({"code": _INVALID_ARGUMENT, "message": message}).encode()
    text = message.encode()
    # Field 1 (code) as a varint, field 2 (message) with its length: no class of it is at hand.
    return bytes((0x08, _INVALID_ARGUMENT, 0x12)) + _varint(len(text)) + text


def _parsed(body: bytes, *, as_json: bool) -> Any:
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    request = ExportMetricsServiceRequest()
    try:
        if as_json:
            json_format.Parse(body, request, ignore_unknown_fields=True, max_recursion_depth=50)
        else:
            request.ParseFromString(body)
    except (DecodeError, json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise NotOtlp(f"the body is not an export request: {str(error)[:200]}") from error
    return request


def _read_metric(batch: OtlpBatch, metric: Any, resource: Mapping[str, str], now: datetime) -> None:
    form = metric.WhichOneof("data")
    points = getattr(metric, form).data_points if form else ()
    name = metric.name
    if not form:
        return
    if PUSHED_METRIC.fullmatch(name) is None:
        batch.refuse("bad_name", f"bad_name: '{name[:60]}' is no name of a metric", len(points))
    elif form == "gauge":
        for point in points:
            _add_number(batch, name, point, resource, now, counter=False, delta=False)
    elif form == "sum":
        _read_sum(batch, metric.sum, name, resource, now)
    elif form == "histogram":
        _read_histogram(batch, metric.histogram, name, resource, now)
    else:
        words = form.replace("_", " ")
        batch.refuse(
            "unsupported",
            f"unsupported: {name} is an {words}; use a histogram with explicit bounds"
            if form == "exponential_histogram"
            else f"unsupported: {name} is a {words}; use a histogram with explicit bounds",
            len(points),
        )


def _says_temporality(batch: OtlpBatch, data: Any, name: str) -> bool:
    if data.aggregation_temporality in (_DELTA, _CUMULATIVE):
        return True
    batch.refuse(
        "no_temporality",
        f"no_temporality: {name} does not say whether it is delta or cumulative",
        len(data.data_points),
    )
    return False


def _read_sum(
    batch: OtlpBatch, data: Any, name: str, resource: Mapping[str, str], now: datetime
) -> None:
    if not _says_temporality(batch, data, name):
        return
    delta = data.aggregation_temporality == _DELTA
    if delta and not data.is_monotonic:
        # Its parts before the first one that we saw are unknown, so its value is, too.
        batch.refuse(
            "unsupported",
            f"unsupported: {name} goes up and down in deltas; send it as cumulative",
            len(data.data_points),
        )
        return
    for point in data.data_points:
        _add_number(batch, name, point, resource, now, counter=data.is_monotonic, delta=delta)


def _add_number(
    batch: OtlpBatch,
    name: str,
    point: Any,
    resource: Mapping[str, str],
    now: datetime,
    *,
    counter: bool,
    delta: bool,
) -> None:
    if point.flags & _NO_VALUE:
        return
    form = point.WhichOneof("value")
    if form is None:
        batch.refuse("no_value", f"no_value: a point of {name} has none")
        return
    labels = _all_labels(batch, name, resource, point)
    at = _moment(point.time_unix_nano, now)
    if at is None:
        _bad_time(batch, name)
    elif labels is not None:
        batch.points.append(
            PushedPoint(
                metric=name,
                labels=labels,
                kind="counter" if counter else "gauge",
                values=(float(getattr(point, form)),),
                at=at,
                delta=delta,
                start=_start(point) if counter else None,
            )
        )


def _read_histogram(
    batch: OtlpBatch, data: Any, name: str, resource: Mapping[str, str], now: datetime
) -> None:
    if not _says_temporality(batch, data, name):
        return
    for point in data.data_points:
        if point.flags & _NO_VALUE:
            continue
        bounds = tuple(point.explicit_bounds)
        counts = tuple(map(float, point.bucket_counts))
        if not counts:
            # Allowed: then only sum and count are told, which says nothing about the slow ones.
            bounds, counts = (), (float(point.count),)
        rising = all(low < high for low, high in pairwise(bounds))
        if len(counts) != len(bounds) + 1 or len(bounds) > MOST_BUCKETS or not rising:
            batch.refuse("bad_buckets", f"bad_buckets: a point of {name} has no sound buckets")
            continue
        labels = _all_labels(batch, name, resource, point)
        at = _moment(point.time_unix_nano, now)
        if at is None:
            _bad_time(batch, name)
        elif labels is not None:
            batch.points.append(
                PushedPoint(
                    metric=name,
                    labels=labels,
                    kind="histogram",
                    values=counts,
                    at=at,
                    bounds=bounds,
                    delta=data.aggregation_temporality == _DELTA,
                    start=_start(point),
                )
            )


def _all_labels(
    batch: OtlpBatch, name: str, resource: Mapping[str, str], point: Any
) -> dict[str, str] | None:
    labels = {**resource, **_labels(point.attributes)}
    if len(labels) > MOST_LABELS:
        batch.refuse(
            "too_many_labels",
            f"too_many_labels: a point of {name} has {len(labels)}; at most {MOST_LABELS}",
        )
        return None
    for label, value in labels.items():
        if len(label) > LONGEST_LABEL or len(value) > LONGEST_LABEL or not storable([label, value]):
            batch.refuse(
                "bad_label",
                f"bad_label: {label[:60]} of {name}: at most {LONGEST_LABEL} characters, no NUL",
            )
            return None
    return labels


def _labels(attributes: Iterable[Any]) -> dict[str, str]:
    return {one.key: text for one in attributes for text in _texts(one.value) if one.key != "le"}


def _texts(value: Any) -> Iterator[str]:
    """Give the attribute as a text; lists and maps tell no series apart and are left out."""
    form = value.WhichOneof("value")
    if form == "bool_value":
        yield "true" if value.bool_value else "false"
    elif form in ("string_value", "int_value", "double_value"):
        yield str(getattr(value, form))


def _moment(nanoseconds: int, now: datetime) -> datetime | None:
    if not nanoseconds:
        return now
    try:
        return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return None


def _start(point: Any) -> datetime | None:
    if not point.start_time_unix_nano:
        return None
    try:
        return _EPOCH + timedelta(microseconds=point.start_time_unix_nano // 1000)
    except OverflowError:
        return None


def _bad_time(batch: OtlpBatch, name: str) -> None:
    batch.refuse("bad_time", f"bad_time: a point of {name} has no usable time")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
