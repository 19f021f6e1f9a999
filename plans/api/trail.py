"""REST: the trail as files, its newest checkpoint, and what the last check found."""

from typing import Any, ClassVar

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from plans.api.access import PLAN_PARAMETER, ConsoleView, asking, find_plan
from plans.api.input import StrictSerializer
from plans.api.output import PROBLEMS
from plans.models import Checkpoint, TrailCheck
from plans.people.permissions import may, require
from plans.refusal import NotFound
from plans.trail.checkpoints import newest, verifier_keys
from plans.trail.download import as_csv, as_json_lines
from plans.trail.export import Excerpt, csv_lines

FILES = {
    (200, "application/jsonl"): OpenApiTypes.BINARY,
    (200, "text/csv"): OpenApiTypes.BINARY,
}


class PeriodQuery(StrictSerializer):
    """From when until when, and in which form."""

    since = serializers.DateTimeField(default=None)
    until = serializers.DateTimeField(default=None, help_text="Not part of it.")
    form = serializers.ChoiceField(
        choices=["jsonl", "csv"], default="jsonl", help_text="jsonl is what verify_trail.py takes."
    )


class TrailQuery(PeriodQuery):
    """Which trail."""

    stream = serializers.CharField(
        default="", help_text="system, or plan:<uuid>; all of them without it."
    )


class CheckpointOutput(serializers.Serializer[Checkpoint]):
    """A signed checkpoint over the heads of all streams."""

    number = serializers.IntegerField()
    at = serializers.DateTimeField()
    size = serializers.IntegerField(help_text="Events of all streams.")
    kid = serializers.CharField()
    why = serializers.CharField()
    checkpoint = serializers.CharField(source="text", help_text="The C2SP signed note.")
    verifier_keys = serializers.SerializerMethodField()

    def get_verifier_keys(self, _checkpoint: Checkpoint) -> list[str]:
        """Return the key that signs now, as verifiers of signed notes take it."""
        return verifier_keys()


class TrailCheckOutput(serializers.Serializer[TrailCheck]):
    """What a check of the whole trail found."""

    at = serializers.DateTimeField()
    outcome = serializers.IntegerField(help_text="The exit code of audit_verify; 0 = all holds.")
    sentence = serializers.CharField()
    problems = serializers.ListField(child=serializers.CharField())
    events = serializers.IntegerField()
    checkpoints = serializers.IntegerField()
    seconds = serializers.FloatField()


class JsonLinesRenderer(BaseRenderer):
    """Lets clients ask for JSON lines; a problem stays JSON, since it has its own content type."""

    media_type = "application/jsonl"
    format = "jsonl"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> Any:
        """Return the problem document."""
        return JSONRenderer().render(data, None, renderer_context)


class CsvRenderer(JsonLinesRenderer):
    """Lets clients ask for CSV."""

    media_type = "text/csv"
    format = "csv"


RENDERERS = (JSONRenderer, JsonLinesRenderer, CsvRenderer)


def _file(request: Request, excerpt: Excerpt, name: str, form: str) -> HttpResponseBase:
    if form == "csv":
        lines = csv_lines(excerpt.events(), addresses=excerpt.addresses)
        return as_csv(request._request, lines, name)
    return as_json_lines(request._request, excerpt, name)


class TrailExport(ConsoleView):
    """The whole trail."""

    token_actions: ClassVar[dict[str, str]] = {"GET": "read_trail"}
    query = TrailQuery
    renderer_classes = RENDERERS

    @extend_schema(
        summary="Export the trail",
        operation_id="trail_export",
        parameters=[TrailQuery],
        responses={**FILES, **PROBLEMS},
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Answer the events with their hashes, the checkpoints and the public keys."""
        require(asking(request), "read_trail")
        given = self.asked
        excerpt = Excerpt(given["stream"], given["since"], given["until"], addresses=True)
        return _file(request, excerpt, "trail", given["form"])


class PlanTrail(ConsoleView):
    """The trail of one plan."""

    query = PeriodQuery
    renderer_classes = RENDERERS

    @extend_schema(
        summary="Export the trail of a plan",
        operation_id="plan_trail",
        parameters=[PLAN_PARAMETER, PeriodQuery],
        responses={**FILES, **PROBLEMS},
    )
    def get(self, request: Request, plan: str) -> HttpResponseBase:
        """Answer the plan's events with their hashes, and a proof that a checkpoint knows them."""
        found = find_plan(request, plan)
        given = self.asked
        addresses = may(asking(request), "read_trail")
        excerpt = Excerpt(found.stream_key, given["since"], given["until"], addresses=addresses)
        return _file(request, excerpt, f"trail-{found.external_id}", given["form"])


class NewestCheckpoint(ConsoleView):
    """The newest checkpoint."""

    @extend_schema(
        summary="Fetch the newest signed checkpoint of the trail",
        operation_id="trail_checkpoint",
        responses={200: CheckpointOutput, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Answer it; whoever keeps it can prove later what the trail was."""
        require(asking(request), "view")
        found = newest()
        if found is None:
            raise NotFound("No checkpoint has been taken yet; the watch takes the first one.")
        return Response(CheckpointOutput(found).data)


class LastTrailCheck(ConsoleView):
    """The last check of the whole trail."""

    token_actions: ClassVar[dict[str, str]] = {"GET": "read_trail"}

    @extend_schema(
        summary="Read what the last check of the trail found",
        operation_id="trail_check",
        responses={200: TrailCheckOutput, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Answer it."""
        require(asking(request), "read_trail")
        found = TrailCheck.objects.order_by("-at").first()
        if found is None:
            raise NotFound("The trail has not been checked yet; it is once a day.")
        return Response(TrailCheckOutput(found).data)
