"""REST: the Kpi dictionary with what its newest probes found, and the probe itself."""

from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from batches.fit.findings import LEVELS
from batches.fit.listing import kpi_line, kpi_lines
from batches.fit.probing import probe
from batches.kpis.dictionary_reading import KINDS
from batches.kpis.dictionary_sources import SOURCE_KINDS
from plans.api.access import ConsoleView, asking, taken, via
from plans.api.input import NothingInput
from plans.api.output import PROBLEMS
from plans.people.permissions import require

KPI_PARAMETER = OpenApiParameter(
    "kpi", str, OpenApiParameter.PATH, description="The Kpi's name or one of its aliases."
)


class FindingOutput(serializers.Serializer[Any]):
    """One thing that a probe found."""

    kind = serializers.CharField()
    level = serializers.ChoiceField(
        choices=LEVELS, help_text="An error keeps plans that would read it from being submitted."
    )
    sentence = serializers.CharField()
    advice = serializers.CharField(allow_blank=True)


class SelectorOutput(serializers.Serializer[Any]):
    """What is read at the source for one part of a Kpi."""

    part = serializers.CharField()
    text = serializers.CharField(help_text="A metric's name or a query.")


class ValueOutput(serializers.Serializer[Any]):
    """What one tenant's value was at the probe."""

    tenant = serializers.CharField()
    value = serializers.FloatField()
    events = serializers.FloatField(
        source="n", help_text="How many events a share or a bound is of; 0 for a value of its own."
    )


class MappingOutput(serializers.Serializer[Any]):
    """How one source tells a Kpi, and how that fitted when it was last probed."""

    source = serializers.CharField()  # type: ignore[assignment]
    source_kind = serializers.ChoiceField(choices=SOURCE_KINDS)
    selectors = SelectorOutput(many=True)
    tenant_label = serializers.CharField(source="mapping.tenant_label")
    version_label = serializers.CharField(source="mapping.version_label", allow_null=True)
    emitted_by = serializers.CharField(
        source="mapping.emitted_by",
        help_text="every_version, or new_version: nobody has it before the upgrade.",
    )
    native_unit = serializers.CharField(source="mapping.native_unit", allow_null=True)
    reduce = serializers.CharField(source="mapping.reduce", allow_null=True)
    rate_window_seconds = serializers.FloatField(
        source="mapping.rate_window_seconds", allow_null=True
    )
    probed_at = serializers.DateTimeField(
        allow_null=True, help_text="Null: not probed as it is written now."
    )
    fresh = serializers.BooleanField(help_text="Whether the probe still counts at submit.")
    level = serializers.ChoiceField(choices=LEVELS, allow_null=True)
    findings = FindingOutput(many=True)
    tenants = serializers.IntegerField(help_text="How many were asked about.")
    tenants_without_data = serializers.ListField(child=serializers.CharField(), source="without")
    values = ValueOutput(many=True, help_text="Of the first tenants, in the Kpi's unit.")


class KpiOutput(serializers.Serializer[Any]):
    """One Kpi."""

    name = serializers.CharField()
    kind = serializers.ChoiceField(choices=KINDS, source="definition.kind")
    unit = serializers.CharField(source="definition.unit")
    direction = serializers.ChoiceField(
        choices=("lower", "higher"), source="definition.direction", help_text="Which way is better."
    )
    range = serializers.ListField(
        child=serializers.FloatField(), source="definition.range", allow_null=True
    )
    aliases = serializers.ListField(child=serializers.CharField(), source="definition.aliases")
    policies = serializers.ListField(
        child=serializers.CharField(), help_text="The newest policies that name it."
    )
    level = serializers.ChoiceField(
        choices=LEVELS, allow_null=True, help_text="The worst of its mappings."
    )
    mappings = MappingOutput(many=True, help_text="In the order in which a plan tries them.")


class Kpis(ConsoleView):
    """The dictionary."""

    @extend_schema(
        operation_id="api_v1_kpis_list",
        summary="List the Kpis with their mappings and newest probes",
        responses={200: KpiOutput(many=True), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Return every Kpi."""
        user = asking(request)
        require(user, "view")
        return Response(KpiOutput(kpi_lines(now=timezone.now(), user=user), many=True).data)


class Kpi(ConsoleView):
    """One Kpi of the dictionary."""

    @extend_schema(
        summary="Read one Kpi with its mappings and newest probes",
        parameters=[KPI_PARAMETER],
        responses={200: KpiOutput, **PROBLEMS},
    )
    def get(self, request: Request, kpi: str) -> Response:
        """Return the Kpi."""
        user = asking(request)
        require(user, "view")
        return Response(KpiOutput(kpi_line(kpi, now=timezone.now(), user=user)).data)


class KpiProbe(ConsoleView):
    """The fit probe of one Kpi."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "probe"}

    @extend_schema(
        summary="Probe the mappings of one Kpi at their sources",
        parameters=[KPI_PARAMETER],
        request=NothingInput,
        responses={200: KpiOutput, **PROBLEMS},
    )
    def post(self, request: Request, kpi: str) -> Response:
        """Ask the sources and return what was found."""
        taken(NothingInput, request)
        now = timezone.now()
        probe(kpis=[kpi], by=asking(request), now=now, via=via(request))
        return Response(KpiOutput(kpi_line(kpi, now=now, user=asking(request))).data)


class KpisProbe(ConsoleView):
    """The fit probe of the whole dictionary."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "probe"}

    @extend_schema(
        operation_id="api_v1_kpis_probe_all",
        summary="Probe every mapping of the Kpi dictionary at its source",
        request=NothingInput,
        responses={200: KpiOutput(many=True), **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        """Ask the sources and return what was found."""
        taken(NothingInput, request)
        now = timezone.now()
        probe(kpis=None, by=asking(request), now=now, via=via(request))
        return Response(KpiOutput(kpi_lines(now=now, user=asking(request)), many=True).data)
