"""REST: what became of the tenants of a plan."""

from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request
from rest_framework.response import Response

from batches.api.output import TenantRow
from batches.lifecycle import TENANT_UPGRADE
from plans.api.access import PLAN_PARAMETER, ConsoleView, find_plan
from plans.api.input import StrictSerializer
from plans.api.output import PROBLEMS
from plans.models import Plan, PlanTenant


class TenantPage(LimitOffsetPagination):
    """Pages of tenants, in the order of the plan."""

    default_limit = 100
    max_limit = 500


class TenantQuery(StrictSerializer):
    """Which tenants."""

    state = serializers.ChoiceField(choices=TENANT_UPGRADE.choices(), required=False)
    quarantined = serializers.BooleanField(
        required=False, allow_null=True, default=None, help_text="Only those in quarantine, or not."
    )
    limit = serializers.IntegerField(min_value=1, max_value=500, required=False)
    offset = serializers.IntegerField(min_value=0, required=False)


class TenantList(serializers.Serializer[Any]):
    """One page of a plan's tenants."""

    count = serializers.IntegerField()
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    results = TenantRow(many=True)


class PlanTenants(ConsoleView):
    """What became of each tenant."""

    query = TenantQuery

    @extend_schema(
        summary="List the tenants of a plan",
        parameters=[PLAN_PARAMETER, TenantQuery],
        responses={200: TenantList, **PROBLEMS},
    )
    def get(self, request: Request, plan: str) -> Response:
        """Return one page."""
        found = find_plan(request, plan)
        pages, state = TenantPage(), self.asked.get("state")
        quarantined = self.asked.get("quarantined")
        rows: Any
        if found.tenant_upgrades.exists():
            rows = pages.paginate_queryset(_upgrade_rows(found, state, quarantined), request)
        else:
            places = pages.paginate_queryset(_places(found, state), request)
            rows = [_planned_row(place) for place in places or ()]
        return pages.get_paginated_response(TenantRow(rows, many=True).data)


def _upgrade_rows(plan: Plan, state: str | None, quarantined: bool | None) -> Any:
    upgrades = plan.tenant_upgrades.all()
    if quarantined is not None:
        named = upgrades.quarantined()
        upgrades = named if quarantined else upgrades.exclude(pk__in=named.values("pk"))
    chosen = upgrades.filter(state=state) if state else upgrades
    return chosen.order_by("batch__number", "position").values(
        "tenant_key",
        "batch__number",
        "state",
        "version_before",
        "version_observed",
        "digest_observed",
        "attempts",
        "last_error",
        "upgraded_at",
        "restored_at",
        "set_aside",
        "set_aside_why",
    )


def _places(plan: Plan, state: str | None) -> QuerySet[PlanTenant]:
    """Return the tenants of a plan that has not started: they wait, or are left out."""
    places = plan.plan_tenants.select_related("tenant")
    if state is not None:
        known = {"pending": places.filter(excluded=False), "excluded": places.filter(excluded=True)}
        places = known.get(state, places.none())
    return places.order_by("batch_number", "position", "pk")


def _planned_row(place: PlanTenant) -> dict[str, Any]:
    return {
        "tenant_key": place.tenant.key,
        "batch__number": None if place.excluded else place.batch_number,
        "state": "excluded" if place.excluded else "pending",
        "version_before": "",
        "version_observed": "",
        "digest_observed": "",
        "attempts": 0,
        "last_error": place.excluded_why,
        "upgraded_at": None,
        "restored_at": None,
        "set_aside": "",
        "set_aside_why": "",
    }
