"""REST: what a plan's guardrails say now and why, and every ruling with all that it stands on."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response

from batches.models import Ruling
from plans.api.access import PLAN_PARAMETER, ConsoleView, find_plan
from plans.api.input import StrictSerializer
from plans.api.output import PROBLEMS


class TenantValue(serializers.Serializer[Any]):
    """One tenant with its own value; null where missing data counts as failed."""

    tenant = serializers.CharField()
    value = serializers.FloatField(allow_null=True)


class GuardrailOutput(serializers.Serializer[Any]):
    """One guardrail: its verdict, why, and how far it is to the next one."""

    key = serializers.CharField()
    kpi = serializers.CharField()
    verdict = serializers.CharField(help_text="fine, breached, no_data or undecided.")
    sentence = serializers.CharField()
    next = serializers.CharField(
        allow_blank=True, help_text="What it takes until the verdict changes."
    )
    action = serializers.CharField()
    dry_run = serializers.BooleanField()
    scope = serializers.CharField()
    against = serializers.CharField()
    value = serializers.FloatField(allow_null=True)
    unit = serializers.CharField(allow_blank=True)
    threshold = serializers.CharField(help_text="The rule in words.")
    limit_now = serializers.FloatField(
        allow_null=True, help_text="The value's limit at the newest look, in its unit."
    )
    baseline = serializers.FloatField(
        allow_null=True, help_text="What the value is compared with, if with anything."
    )
    n = serializers.IntegerField()
    tenants = serializers.IntegerField()
    without_data = serializers.IntegerField()
    worst = TenantValue(allow_null=True)
    cause = serializers.CharField(
        allow_blank=True, help_text="Why there is nothing to judge: source_down, idle, stale..."
    )
    since = serializers.DateTimeField(allow_null=True, help_text="Since when that has been so.")
    last_good_at = serializers.DateTimeField(allow_null=True)
    breached_by = TenantValue(many=True)
    stands_out = TenantValue(many=True)
    recent = serializers.ListField(
        child=serializers.ListField(child=serializers.FloatField(allow_null=True)),
        help_text="The newest looks: unix seconds, value, limit.",
    )
    updated_at = serializers.DateTimeField(allow_null=True)


class RulingOutput(serializers.ModelSerializer[Ruling]):
    """A verdict, written when it or its reason changed, with all that it stands on."""

    batch = serializers.IntegerField(source="batch.number", allow_null=True, default=None)

    class Meta:
        model = Ruling
        fields = (
            "at",
            "batch",
            "guardrail",
            "kpi",
            "verdict",
            "action",
            "sentence",
            "value",
            "threshold",
            "unit",
            "n",
            "window_seconds",
            "tenants",
            "worst_tenant",
            "worst_value",
            "cause",
            "since",
            "baseline",
            "query",
            "evidence",
            "inputs_digest",
            "revision",
        )
        read_only_fields = fields


class RulingList(serializers.Serializer[Any]):
    """One page of rulings."""

    count = serializers.IntegerField()
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    results = RulingOutput(many=True)


class RulingQuery(StrictSerializer):
    """Which rulings."""

    verdict = serializers.ChoiceField(
        choices=["fine", "breached", "no_data", "undecided"], required=False
    )
    limit = serializers.IntegerField(min_value=1, max_value=500, required=False)
    offset = serializers.IntegerField(min_value=0, required=False)


class RulingPage(LimitOffsetPagination):
    """Rulings come a hundred at a time unless asked otherwise."""

    default_limit = 100
    max_limit = 500


class PlanRulings(ConsoleView):
    """What was ruled, and why."""

    query = RulingQuery

    @extend_schema(
        summary="List the rulings of a plan, the newest first",
        parameters=[PLAN_PARAMETER, RulingQuery],
        responses={200: RulingList, **PROBLEMS},
    )
    def get(self, request: Request, plan: str) -> Response:
        """Return one page."""
        found = find_plan(request, plan)
        rows = found.rulings.select_related("batch").order_by("-at", "-pk")
        if verdict := self.asked.get("verdict"):
            rows = rows.filter(verdict=verdict)
        pages = RulingPage()
        chosen = pages.paginate_queryset(rows, request)
        return pages.get_paginated_response(RulingOutput(chosen, many=True).data)
