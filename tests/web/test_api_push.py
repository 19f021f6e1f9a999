"""REST: metrics that are pushed, as JSON and by OpenTelemetry's own exporter."""

import gzip
import json
from datetime import timedelta

import pytest
from django.db import connection
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from rest_framework.test import APIClient

from batches.api import push_bodies
from batches.models import PushedSeries
from batches.pushes.series import KeptSeries
from tests.adapters.otlp_senders import Sender, in_memory, message
from tests.web.api_scene import DICTIONARY_TEXT, Scene, configure, now, person, post

pytestmark = pytest.mark.django_db
METRICS = "/api/v1/metrics/"
OTLP = "/otlp/v1/metrics"
PROTOBUF = "application/x-protobuf"
SAMPLE = {
    "metric": "requests_total", "kind": "counter", "value": 7, "labels": {"tenant": "acorn"}
}  # fmt: skip
PUSH_SOURCES = '{"fleet": {"kind": "simulated"}, "ci": {"kind": "push", "points_per_second": 20}}'


def sources(settings, text):
    settings.DICTIONARY_FILE.write_text(
        DICTIONARY_TEXT.replace('{"fleet": {"kind": "simulated"}}', text)
    )


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    sources(settings, PUSH_SOURCES)
    made = Scene()
    made.teo = person("Teo", console="telemetry")
    return made


@pytest.fixture
def teo(scene):
    return scene.client(scene.teo, scopes=["push"])


def test_a_batch_comes_in(teo):
    answer = post(teo, METRICS, {"samples": [SAMPLE]})
    assert answer.status_code == 200
    assert answer.json() == {"source": "ci", "accepted": 1, "refused": [], "refused_total": 0}
    row = PushedSeries.objects.get()
    assert (row.source, row.metric, row.raw) == ("ci", "requests_total", [7.0])


def test_the_same_key_gets_the_same_answer(teo):
    batch = {"samples": [SAMPLE | {"value": -1}]}
    first = teo.post(METRICS, batch, format="json", HTTP_IDEMPOTENCY_KEY="k1").json()
    assert first["refused"][0]["code"] == "not_a_count"
    assert teo.post(METRICS, batch, format="json", HTTP_IDEMPOTENCY_KEY="k1").json() == first
    other = teo.post(METRICS, {"samples": [SAMPLE]}, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    long = teo.post(METRICS, batch, format="json", HTTP_IDEMPOTENCY_KEY="k" * 201)
    assert long.status_code == 422


def test_one_bad_sample_keeps_all_of_its_batch_out(teo):
    answer = post(teo, METRICS, {"samples": [SAMPLE, SAMPLE | {"kind": "sum"}]})
    assert answer.status_code == 422
    assert "samples[1].kind" in answer.json()["detail"]
    assert not PushedSeries.objects.exists()


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b"[]", 422), (b"", 400), (b'{"samples": NaN}', 400)]
)
def test_what_is_no_batch_is_refused(teo, body, status):
    assert teo.post(METRICS, body, content_type="application/json").status_code == status


def test_a_batch_may_be_larger_than_a_form_may_be(teo):
    labels = {f"label{n}": "x" * 290 for n in range(5)}
    batch = {"samples": [SAMPLE | {"labels": labels | {"tenant": f"t{n}"}} for n in range(2000)]}
    assert len(json.dumps(batch)) > 2_621_440
    answer = post(teo, METRICS, batch)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 2000)


def test_a_body_that_is_too_large_is_not_read_on(teo, monkeypatch):
    monkeypatch.setattr(push_bodies, "MOST_BYTES", 100)
    large = teo.post(METRICS, b"x" * 101, content_type="application/json")
    assert (large.status_code, large.json()["code"]) == (413, "too_large")
    bomb = gzip.compress(b"0" * 5000)
    assert len(bomb) < 100
    unpacked = teo.post(
        METRICS, bomb, content_type="application/json", HTTP_CONTENT_ENCODING="gzip"
    )
    assert unpacked.status_code == 413


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("gzip", gzip.compress(json.dumps({"samples": [SAMPLE]}).encode()), 200),
        ("gzip", gzip.compress(json.dumps({"samples": [SAMPLE]}).encode())[:-4], 400),
        ("gzip", b"not gzip", 400),
        ("br", b"x", 415),
    ],
)
def test_packed_bodies_are_unpacked(teo, coding, body, status):
    answer = teo.post(METRICS, body, content_type="application/json", HTTP_CONTENT_ENCODING=coding)
    assert answer.status_code == status, answer.json()


def test_whoever_sends_too_fast_reads_when_to_send_again(teo, settings):
    sources(settings, PUSH_SOURCES.replace("20", "1"))
    batch = [SAMPLE | {"labels": {"tenant": f"t{n}"}} for n in range(200)]
    assert post(teo, METRICS, {"samples": batch}).status_code == 200
    answer = post(teo, METRICS, {"samples": batch})
    assert (answer.status_code, answer.json()["code"]) == (429, "too_fast")
    assert 100 < int(answer["Retry-After"]) <= 200
    sender = in_memory({"tenant": "acorn"})
    sender.serve(*[0.1] * 200)
    body = message(sender).SerializeToString()
    assert teo.post(OTLP, body, content_type=PROTOBUF)["Retry-After"]


def test_sending_takes_a_token_with_the_right(scene, teo):
    for client, status in (
        (APIClient(), 401),
        (scene.client(scene.rita), 403),
        (scene.client(scene.nils), 403),
        (scene.client(scene.olga, scopes=["operate"]), 403),
        (scene.client(scene.olga, scopes=["push"]), 200),
    ):
        assert post(client, METRICS, {"samples": [SAMPLE]}).status_code == status
        answer = client.post(OTLP, b"", content_type=PROTOBUF)
        # The door's refusals speak the protocol too.
        assert (answer.status_code, answer["Content-Type"]) == (status, PROTOBUF)
    assert teo.get(METRICS).status_code == 405
    assert teo.get("/api/v1/plans/").status_code == 403


def test_the_source_is_named_where_there_are_several(scene, teo, settings):
    sources(settings, '{"fleet": {"kind": "simulated"}}')
    answer = post(teo, METRICS, {"samples": [SAMPLE]})
    assert (answer.status_code, "no source of kind push" in answer.json()["detail"]) == (422, True)
    sources(settings, '{"fleet": {"kind": "push"}, "shop": {"kind": "push"}}')
    assert (
        "say which one; there are fleet, shop"
        in post(teo, METRICS, {"samples": [SAMPLE]}).json()["detail"]
    )
    assert post(teo, METRICS, {"source": "shop", "samples": [SAMPLE]}).json()["source"] == "shop"
    assert post(teo, METRICS, {"source": "shopp", "samples": [SAMPLE]}).status_code == 422
    sender = in_memory({"tenant": "acorn"})
    sender.serve(0.1)
    body = message(sender).SerializeToString()
    assert teo.post(OTLP, body, content_type=PROTOBUF).status_code == 422
    assert teo.post("/otlp/fleet/v1/metrics", body, content_type=PROTOBUF).status_code == 200
    assert PushedSeries.objects.filter(source="fleet").exists()


def test_while_the_dictionary_is_broken_senders_are_told_to_come_again(teo, settings):
    settings.DICTIONARY_FILE.write_text("{")
    answer = post(teo, METRICS, {"samples": [SAMPLE]})
    assert (answer.status_code, answer["Retry-After"]) == (503, "30")
    otlp = teo.post(OTLP, b"", content_type=PROTOBUF)
    assert (otlp.status_code, otlp["Retry-After"]) == (503, "30")


@pytest.mark.parametrize("packed", [False, True])
def test_an_export_request_comes_in_and_is_answered_in_its_own_form(teo, packed):
    sender = in_memory({"tenant": "acorn"})
    sender.serve(0.1, 0.3, bad=1)
    body = message(sender).SerializeToString()
    headers = {"HTTP_CONTENT_ENCODING": "gzip"} if packed else {}
    answer = teo.post(
        OTLP,
        gzip.compress(body) if packed else body,
        content_type=PROTOBUF,
        HTTP_ACCEPT=PROTOBUF,
        **headers,
    )
    assert (answer.status_code, answer["Content-Type"]) == (200, PROTOBUF)
    told = ExportMetricsServiceResponse.FromString(answer.content)
    assert told.partial_success.rejected_data_points == 0
    assert set(PushedSeries.objects.values_list("metric", flat=True)) == {
        "requests.total",
        "errors.total",
        "http.server.duration",
    }


def test_points_that_cannot_be_used_are_a_partial_success(teo):
    body = {
        "resourceMetrics": [
            {
                "scopeMetrics": [
                    {
                        "metrics": [
                            {"name": "x", "gauge": {"dataPoints": [{"asDouble": 1}]}},
                            {"name": "y", "summary": {"dataPoints": [{"count": 1}]}},
                            {
                                "name": "z",
                                "gauge": {"dataPoints": [{"asInt": "1", "timeUnixNano": "5"}]},
                            },
                        ]
                    }
                ]
            }
        ]
    }
    answer = teo.post(OTLP, body, format="json")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    told = answer.json()["partialSuccess"]
    assert told["rejectedDataPoints"] == "2"
    assert "unsupported: y" in told["errorMessage"]
    assert "late:" in told["errorMessage"]
    assert PushedSeries.objects.get().metric == "x"


def test_what_is_no_export_request_is_refused_with_a_status_message(teo):
    answer = teo.post(OTLP, b"\xff\xff\xff", content_type=PROTOBUF)
    assert (answer.status_code, answer["Content-Type"]) == (400, PROTOBUF)
    assert b"not an export request" in answer.content
    assert teo.post(OTLP, b"x", content_type="text/plain").status_code == 415


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("gzipped", [False, True])
def test_the_sdk_of_opentelemetry_sends_to_us_unchanged(scene, live_server, monkeypatch, gzipped):
    secret = scene.client(scene.teo, scopes=["push"])._credentials["HTTP_AUTHORIZATION"]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{live_server.url}/otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"Authorization={secret.replace(' ', '%20')}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip" if gzipped else "none")
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=3_600_000)
    sender = Sender(reader, {"tenant": "acorn", "service.version": "1.5.0"})
    sender.serve(0.05, 0.15)
    assert sender.provider.force_flush()
    sender.serve(0.05, 0.15, 0.9, bad=1)
    assert sender.provider.force_flush()
    sender.provider.shutdown()
    found = KeptSeries().current(
        "ci", ["requests.total", "errors.total", "http.server.duration"], stale_seconds=90
    )
    [requests] = found["requests.total"]
    assert requests.labels["tenant"] == "acorn"
    assert requests.labels["service.version"] == "1.5.0"
    assert requests.value == 5
    assert found["errors.total"][0].value == 1
    assert {one.labels["le"]: one.value for one in found["http.server.duration"]} == {
        "0.1": 2,
        "0.2": 4,
        "+Inf": 5,
    }
    assert now() - requests.at < timedelta(minutes=1)
    connection.close()
