"""Real OpenTelemetry senders: the SDK with its own exporter, and its messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    MetricReader,
)
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

DELTA: dict[type, AggregationTemporality] = {
    Counter: AggregationTemporality.DELTA,
    Histogram: AggregationTemporality.DELTA,
}


class Sender:
    """An application of one tenant that counts requests, failures and how long they take."""

    def __init__(self, reader: MetricReader, attributes: Mapping[str, str]) -> None:
        self.reader = reader
        self.provider = MeterProvider(
            metric_readers=[reader],
            resource=Resource.create(attributes),
            views=[
                View(
                    instrument_name="http.server.duration",
                    aggregation=ExplicitBucketHistogramAggregation((0.1, 0.2)),
                )
            ],
            shutdown_on_exit=False,
        )
        meter = self.provider.get_meter("shop")
        self.requests = meter.create_counter("requests.total")
        self.errors = meter.create_counter("errors.total")
        self.seconds = meter.create_histogram("http.server.duration", unit="s")
        self.pool = meter.create_up_down_counter("pool.size")

    def serve(self, *seconds: float, bad: int = 0, **labels: str) -> None:
        """Serve a request for each of the times, the first `bad` of them badly."""
        self.errors.add(bad, labels)
        for one in seconds:
            self.requests.add(1, labels)
            self.seconds.record(one, labels)


def in_memory(attributes: Mapping[str, str], *, delta: bool = False) -> Sender:
    """Return a sender whose messages are taken by `message`."""
    return Sender(InMemoryMetricReader(preferred_temporality=DELTA if delta else None), attributes)


def message(sender: Sender) -> Any:
    """Return the ExportMetricsServiceRequest of all that was measured."""
    assert isinstance(sender.reader, InMemoryMetricReader)
    measured = sender.reader.get_metrics_data()
    assert measured is not None
    return encode_metrics(measured)
