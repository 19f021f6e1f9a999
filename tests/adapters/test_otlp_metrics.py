"""OTLP as the real SDK writes it becomes points; what cannot be used is named."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from batches.pushes.otlp_metrics import NotOtlp, failure, read_otlp, success
from tests.adapters.otlp_senders import in_memory, message

NOW = datetime.now(UTC)
ACORN = {"tenant.id": "acorn", "service.version": "2.0"}


def read(request, *, as_json=False):
    body = json_format.MessageToJson(request).encode() if as_json else request.SerializeToString()
    return read_otlp(body, as_json=as_json, now=NOW)


def made(build):
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="x")
    build(metric)
    return read(request)


@pytest.mark.parametrize("as_json", [False, True])
def test_counters_and_histograms_of_the_sdk_are_read(as_json):
    sender = in_memory(ACORN)
    sender.serve(0.05, 0.15, 0.15, 0.5, bad=1, route="/buy")
    sender.pool.add(4)
    batch = read(message(sender), as_json=as_json)
    points = {point.metric: point for point in batch.points}
    assert batch.refused == []
    requests, seconds = points["requests.total"], points["http.server.duration"]
    assert (requests.kind, requests.values, requests.delta) == ("counter", (4,), False)
    assert requests.labels["tenant.id"] == "acorn"
    assert requests.labels["service.version"] == "2.0"
    assert requests.labels["route"] == "/buy"
    assert not any(name.startswith("telemetry.") for name in requests.labels)
    assert abs(requests.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert requests.start <= requests.at
    assert (seconds.kind, seconds.bounds, seconds.values) == ("histogram", (0.1, 0.2), (1, 2, 1))
    assert (points["pool.size"].kind, points["pool.size"].values) == ("gauge", (4,))


def test_deltas_are_known_as_deltas():
    sender = in_memory(ACORN, delta=True)
    sender.serve(0.05)
    read(message(sender))
    sender.serve(0.05, 0.5)
    points = {point.metric: point for point in read(message(sender)).points}
    assert (points["requests.total"].delta, points["requests.total"].values) == (True, (2,))
    assert points["http.server.duration"].values == (1, 0, 1)


def exponential(metric):
    metric.exponential_histogram.data_points.add(count=1)


def summary(metric):
    metric.summary.data_points.add(count=1)
    metric.summary.data_points.add(count=1)


def wavering_delta(metric):
    metric.sum.aggregation_temporality = 1
    metric.sum.data_points.add(as_int=1)


def no_temporality(metric):
    metric.sum.is_monotonic = True
    metric.sum.data_points.add(as_int=1)


def no_value(metric):
    metric.gauge.data_points.add()


def bad_buckets(metric):
    metric.histogram.aggregation_temporality = 2
    metric.histogram.data_points.add(explicit_bounds=[1, 2], bucket_counts=[1, 2])


def falling_bounds(metric):
    metric.histogram.aggregation_temporality = 2
    metric.histogram.data_points.add(explicit_bounds=[2, 1], bucket_counts=[1, 2, 3])


def bad_name(metric):
    metric.name = "no spaces"
    metric.gauge.data_points.add(as_int=1)


def many_labels(metric):
    point = metric.gauge.data_points.add(as_int=1)
    for number in range(65):
        point.attributes.add(key=f"k{number}").value.string_value = "x"


def long_label(metric):
    metric.gauge.data_points.add(as_int=1).attributes.add(key="k").value.string_value = "x" * 301


@pytest.mark.parametrize(
    ("build", "codes"),
    [
        (exponential, ["unsupported"]),
        (summary, ["unsupported", "unsupported"]),
        (wavering_delta, ["unsupported"]),
        (no_temporality, ["no_temporality"]),
        (no_value, ["no_value"]),
        (bad_buckets, ["bad_buckets"]),
        (falling_bounds, ["bad_buckets"]),
        (bad_name, ["bad_name"]),
        (many_labels, ["too_many_labels"]),
        (long_label, ["bad_label"]),
    ],
)
def test_what_cannot_be_used_is_counted_and_named(build, codes):
    batch = made(build)
    assert batch.points == []
    assert [code for _index, code, _sentence in batch.refused] == codes
    assert all(sentence.startswith(code) for _index, code, sentence in batch.refused)


def test_a_point_without_a_value_on_purpose_is_nothing():
    batch = made(lambda metric: metric.gauge.data_points.add(as_int=1, flags=1))
    assert (batch.points, batch.refused) == ([], [])


def test_a_point_without_time_is_of_now():
    batch = made(lambda metric: metric.gauge.data_points.add(as_double=0.5))
    assert batch.points[0].at == NOW


@pytest.mark.parametrize(
    ("body", "as_json"), [(b"\xff\xff", False), (b"{", True), (b'{"resourceMetrics": 7}', True)]
)
def test_what_is_no_export_request_is_refused(body, as_json):
    with pytest.raises(NotOtlp, match="not an export request"):
        read_otlp(body, as_json=as_json, now=NOW)


def test_answers_are_those_of_the_protocol():
    body = success(as_json=False, refused=3, message="late")
    answer = ExportMetricsServiceResponse.FromString(body)
    assert answer.partial_success.rejected_data_points == 3
    assert answer.partial_success.error_message == "late"
    assert success(as_json=False, refused=0, message="") == b""
    assert success(as_json=True, refused=0, message="") == b"{}"
    told = json_format.Parse(
        success(as_json=True, refused=2, message="x"), ExportMetricsServiceResponse()
    )
    assert told.partial_success.rejected_data_points == 2


def test_nobody_carries_protobuf_before_the_first_request():
    told = "import sys, batches.pushes.otlp_metrics; print('google.protobuf' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_a_failure_is_a_status_that_exporters_can_read():
    from google.rpc.status_pb2 import Status

    text = "too much" * 40
    assert Status.FromString(failure(text, as_json=False)) == Status(code=3, message=text)
