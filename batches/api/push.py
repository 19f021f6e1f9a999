"""REST: metrics that are pushed, as JSON batches and by OpenTelemetry's own protocol."""

import hashlib
from typing import Any, ClassVar

from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from batches.api.push_bodies import JsonBody, ProtobufBody, WhateverIsAccepted, body_of, json_of
from batches.pushes.otlp_metrics import NotOtlp, failure, read_otlp, success
from batches.pushes.push_json import BatchRejected, read_batch
from batches.pushes.pushing import push_source, take_points
from plans.api.access import ConsoleView, asking
from plans.api.output import PROBLEMS, Problem
from plans.people.permissions import require
from plans.refusal import BadInput, Refused

LONGEST_KEY = 200
PROTOBUF = "application/x-protobuf"
PUSH_PROBLEMS = PROBLEMS | {
    (status, "application/problem+json"): Problem for status in (413, 415, 429)
}


# Refusals speak the protocol too: a status message in the form of the request.
OTLP_ANSWERS = {
    (status, kind): OpenApiTypes.BINARY if kind == PROTOBUF else dict
    for status in (200, 400, 401, 403, 409, 413, 415, 422, 429, 503)
    for kind in (PROTOBUF, "application/json")
}


class SampleInput(serializers.Serializer[Any]):
    """One sample."""

    metric = serializers.CharField(help_text="As the mappings of the Kpi dictionary name it.")
    kind = serializers.ChoiceField(choices=["gauge", "counter", "histogram"])
    labels = serializers.DictField(child=serializers.CharField(), required=False)
    value = serializers.FloatField(required=False, help_text="For a gauge or a counter.")
    buckets = serializers.DictField(
        child=serializers.FloatField(),
        required=False,
        help_text='For a histogram: how many up to each bound, "+Inf" included.',
    )
    temporality = serializers.ChoiceField(
        choices=["cumulative", "delta"],
        required=False,
        help_text="Counted since the sender's start (default), or since it last sent.",
    )
    at = serializers.DateTimeField(
        required=False, help_text="When it was taken; default now. A delta needs it."
    )
    start = serializers.DateTimeField(
        required=False, help_text="Since when a cumulative sender has counted."
    )


class SamplesInput(serializers.Serializer[Any]):
    """A batch of samples."""

    source = serializers.CharField(  # type: ignore[assignment]
        required=False, help_text="The source of kind push; not needed where there is one only."
    )
    samples = SampleInput(many=True, help_text="At most 2,000.")


class RefusedSample(serializers.Serializer[Any]):
    """A sample that was not taken."""

    index = serializers.IntegerField(help_text="Its place in the batch, from 0.")
    code = serializers.CharField(help_text="late, future, not_a_count or too_many_series.")
    detail = serializers.CharField()


class IntakeOutput(serializers.Serializer[Any]):
    """What became of a batch."""

    source = serializers.CharField()  # type: ignore[assignment]
    accepted = serializers.IntegerField()
    refused = RefusedSample(many=True, help_text="The first 50.")
    refused_total = serializers.IntegerField()


class MetricIntake(ConsoleView):
    """JSON batches."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "push"}
    parser_classes = (JsonBody,)

    @extend_schema(
        summary="Push samples",
        description="All samples of a batch are read before the first is kept. Those that are"
        " late, of the future or no counts are named in the answer; the others are kept. A sample"
        " that is sent again changes nothing. 429 says in Retry-After when there is room.",
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                str,
                OpenApiParameter.HEADER,
                description="The same batch with the same key gets the same answer, for a day.",
            )
        ],
        request=SamplesInput,
        responses={200: IntakeOutput, **PUSH_PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        """Take a batch in."""
        person = asking(request)
        require(person, "push")
        now = timezone.now()
        try:
            name, points = read_batch(json_of(request), now=now)
        except BatchRejected as rejected:
            raise BadInput([str(problem) for problem in rejected.problems]) from rejected
        answer = take_points(
            spec=push_source(name, kind="push"),
            points=points,
            by=person,
            now=now,
            key=_key(request),
            digest=hashlib.sha256(body_of(request)).hexdigest(),
        )
        return Response(IntakeOutput(answer).data)


class OtlpMetrics(ConsoleView):
    """OTLP/HTTP: what an OpenTelemetry exporter or collector sends, unchanged."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "push"}
    parser_classes = (ProtobufBody, JsonBody)
    content_negotiation_class = WhateverIsAccepted

    @extend_schema(
        summary="Push metrics by OTLP",
        description="Set OTEL_EXPORTER_OTLP_ENDPOINT to the console's address with /otlp, or"
        " /otlp/SOURCE where the dictionary has several sources of kind push. Protobuf and JSON,"
        " plain or gzip. Points that cannot be used are counted and named as a partial success.",
        request={PROTOBUF: OpenApiTypes.BINARY, "application/json": OpenApiTypes.OBJECT},
        responses=OTLP_ANSWERS,
    )
    def post(self, request: Request, source: str | None = None) -> HttpResponse:
        """Take an export request in."""
        as_json = _speaks_json(request)
        try:
            body = self._take(request, source, as_json=as_json)
        except NotOtlp as broken:
            return _answer(400, failure(str(broken), as_json=as_json), as_json=as_json)
        except Refused as refused:
            told = failure(refused.sentence, as_json=as_json)
            answer = _answer(refused.status, told, as_json=as_json)
            if wait := getattr(refused, "wait", None):
                answer["Retry-After"] = str(max(1, round(wait)))
            return answer
        return _answer(200, body, as_json=as_json)

    def handle_exception(self, exc: Exception) -> Any:
        """Answer what the door refuses in the form of the protocol, too."""
        refused = super().handle_exception(exc)
        as_json = _speaks_json(self.request)
        answer = _answer(
            refused.status_code, failure(refused.data["detail"], as_json=as_json), as_json=as_json
        )
        for name in ("WWW-Authenticate", "Retry-After", "Allow"):
            if name in refused:
                answer[name] = refused[name]
        return answer

    @staticmethod
    def _take(request: Request, source: str | None, *, as_json: bool) -> bytes:
        person = asking(request)
        require(person, "push")
        now = timezone.now()
        spec = push_source(source, kind="push")
        batch = read_otlp(body_of(request), as_json=as_json, now=now)
        answer = take_points(
            spec=spec, points=batch.points, by=person, now=now, refused=batch.refused
        )
        message = "; ".join(dict.fromkeys(one["detail"] for one in answer["refused"][:10]))
        return success(as_json=as_json, refused=answer["refused_total"], message=message)


@extend_schema_view(post=extend_schema(operation_id="otlp_v1_metrics_to_source"))
class OtlpMetricsToSource(OtlpMetrics):
    """The same where the dictionary has several sources of kind push."""


def _speaks_json(request: Request) -> bool:
    return request.content_type.split(";")[0].strip().lower() != PROTOBUF


def _answer(status: int, body: bytes, *, as_json: bool) -> HttpResponse:
    kind = "application/json" if as_json else PROTOBUF
    return HttpResponse(body, status=status, content_type=kind)


def _key(request: Request) -> str:
    key = request.headers.get("Idempotency-Key", "").strip()
    if len(key) > LONGEST_KEY or not key.isprintable():
        raise BadInput([f"Idempotency-Key: write at most {LONGEST_KEY} printable characters"])
    return key
