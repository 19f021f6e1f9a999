"""REST: what pipelines tell, as CDEvents in CloudEvents (https://cdevents.dev)."""

from typing import Any, ClassVar
from urllib.parse import unquote

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from batches.api.push import PUSH_PROBLEMS
from batches.api.push_bodies import CloudEventBody, JsonBody, json_of
from batches.pushes.cdevents import NotACDEvent, read_cdevent
from batches.pushes.pipeline_events import take_event
from batches.pushes.pushing import push_source
from plans.api.access import ConsoleView, asking, via
from plans.people.permissions import require
from plans.refusal import BadInput

ATTRIBUTES = ("specversion", "id", "source", "type", "time", "subject")


class PipelineEventOutput(serializers.Serializer[Any]):
    """What became of an event."""

    event = serializers.UUIDField()
    known_already = serializers.BooleanField(help_text="It came before; nothing was changed.")
    plans = serializers.ListField(
        child=serializers.CharField(), help_text="External ids of plans whose timeline tells of it."
    )
    metrics = serializers.ListField(
        child=serializers.CharField(), help_text="The series of the source that it changed."
    )


class CDEventIntake(ConsoleView):
    """Events of pipelines."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "push"}
    parser_classes = (CloudEventBody, JsonBody)

    @extend_schema(
        summary="Tell what a pipeline did",
        description="A CloudEvent that holds a CDEvent: structured (application/cloudevents+json)"
        " or binary (application/json with ce- headers). The same source and id are taken once.",
        parameters=[
            OpenApiParameter(
                "source",
                str,
                description="The dictionary's source of kind cdevents; not needed for one only.",
            )
        ],
        request={
            "application/cloudevents+json": OpenApiTypes.OBJECT,
            "application/json": OpenApiTypes.OBJECT,
        },
        responses={202: PipelineEventOutput, **PUSH_PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        """Take an event in."""
        person = asking(request)
        require(person, "push")
        now = timezone.now()
        spec = push_source(request.query_params.get("source"), kind="cdevents")
        attributes, body = _cloud_event(request)
        try:
            news = read_cdevent(attributes, body, now=now, tenant_path=spec.options.get("tenant"))
        except NotACDEvent as rejected:
            raise BadInput([str(rejected)]) from rejected
        answer = take_event(spec=spec, news=news, by=person, now=now, via=via(request))
        return Response(PipelineEventOutput(answer).data, status=202)


def _cloud_event(request: Request) -> tuple[dict[str, Any], object]:
    """Return the attributes and the data, in whichever mode they came."""
    document = json_of(request)
    if "ce-specversion" in request.headers:
        # Header values are percent-encoded where they are not plain text.
        return {
            name: unquote(request.headers[f"ce-{name}"])
            for name in ATTRIBUTES
            if f"ce-{name}" in request.headers
        }, document
    if not isinstance(document, dict):
        raise BadInput(["write one CloudEvent; batches are not taken"])
    return document, document.get("data")
