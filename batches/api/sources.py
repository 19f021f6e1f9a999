"""REST: the metric sources and how they are."""

from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from batches.live.sources_shown import sources_shown
from plans.api.access import ConsoleView, asking
from plans.api.output import PROBLEMS
from plans.people.permissions import require


class SourceStateOutput(serializers.Serializer[Any]):
    """How the reads of a source go."""

    breaker = serializers.ChoiceField(source="state", choices=["closed", "open", "half_open"])
    failures = serializers.IntegerField(help_text="Reads that failed, running.")
    cause = serializers.CharField(
        help_text="source_down, timeout, unauthorized, bad_answer; empty: it answers."
    )
    sentence = serializers.CharField()
    since = serializers.DateTimeField()
    read_at = serializers.DateTimeField()
    answered_at = serializers.DateTimeField(allow_null=True)


class PushedOutput(serializers.Serializer[Any]):
    """What was sent to a source."""

    series = serializers.IntegerField(help_text="Kept now.")
    accepted = serializers.IntegerField()
    refused = serializers.IntegerField()
    last_refusal = serializers.CharField()
    last_refused_at = serializers.DateTimeField(allow_null=True)
    last_at = serializers.DateTimeField(allow_null=True)
    last_by = serializers.CharField()


class SourceOutput(serializers.Serializer[Any]):
    """One source."""

    name = serializers.CharField()
    kind = serializers.CharField()
    where = serializers.CharField()
    kpis = serializers.ListField(child=serializers.CharField())
    health = serializers.ChoiceField(choices=["fine", "no_data", "undecided"])
    label = serializers.CharField()  # type: ignore[assignment]
    state = SourceStateOutput(allow_null=True, help_text="null: nobody has read it yet.")
    pushed = PushedOutput(allow_null=True, help_text="null: it is fetched, or nothing was sent.")


class Sources(ConsoleView):
    """The dictionary's sources."""

    @extend_schema(
        summary="Read how the metric sources are",
        responses={200: SourceOutput(many=True), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Return every source."""
        require(asking(request), "view")
        return Response(SourceOutput(sources_shown(timezone.now()), many=True).data)
