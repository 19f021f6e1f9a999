"""REST: drills of rollbacks, what they showed, and handing one in."""

import uuid
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from batches.drills.rehearsal_policy import INJECTS
from batches.drills.rehearsing import Wanted, begin_rehearsal
from batches.models import RollbackDrill
from plans.api.access import ConsoleView, asking, taken, via
from plans.api.input import StrictSerializer, TenantsField
from plans.api.lists import OffsetPages, OffsetQuery
from plans.api.output import PROBLEMS
from plans.drafting.drafting import TenantChoice
from plans.people.permissions import require
from plans.refusal import NotFound


class DrillInput(StrictSerializer):
    """What is to be rehearsed."""

    plugin = serializers.CharField(max_length=63)
    to_version = serializers.CharField(max_length=64)
    deployer = serializers.CharField(max_length=63)
    tenants = TenantsField()
    inject = serializers.ChoiceField(choices=INJECTS, default="none")


class DrillOutput(serializers.Serializer[RollbackDrill]):
    """One drill: within a plan, or a rehearsal."""

    drill = serializers.UUIDField(source="pk")
    kind = serializers.CharField(help_text="plan or rehearsal")
    plan = serializers.UUIDField(source="plan_id")
    external_id = serializers.CharField(source="plan.external_id")
    plugin = serializers.CharField(source="plan.plugin.key")
    deployer = serializers.CharField()
    tenants = serializers.ListField(child=serializers.CharField())
    inject = serializers.CharField(help_text=", ".join(INJECTS))
    schedule = serializers.CharField(source="schedule.name", default=None, allow_null=True)
    started_at = serializers.DateTimeField()
    restored_at = serializers.DateTimeField(allow_null=True)
    forward_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    seconds = serializers.FloatField(allow_null=True, help_text="Trigger to the last read back.")
    quote_seconds = serializers.FloatField(allow_null=True)
    limit_seconds = serializers.FloatField()
    outcome = serializers.CharField(help_text="passed, failed, cut_short; empty while it goes on.")
    sentence = serializers.CharField()


class DrillPage(serializers.Serializer[Any]):
    """One page of drills, the newest first."""

    count = serializers.IntegerField()
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    results = DrillOutput(many=True)


class Drills(ConsoleView):
    """All drills, and the door for a new one."""

    token_actions: ClassVar[dict[str, str]] = {"GET": "view", "POST": "draft"}
    query = OffsetQuery

    @extend_schema(
        operation_id="api_v1_drills_list",
        summary="List the drills of rollbacks, the newest first",
        parameters=[OffsetQuery],
        responses={200: DrillPage, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Return one page of what the asking person may see."""
        user = asking(request)
        require(user, "view")
        drills = RollbackDrill.objects.visible_to(user).select_related("plan__plugin", "schedule")
        pages = OffsetPages()
        rows: Any = pages.paginate_queryset(drills, request, view=self)
        return pages.get_paginated_response(DrillOutput(rows, many=True).data)

    @extend_schema(
        summary="Hand in a rehearsal; it begins when its approvers have agreed",
        request=DrillInput,
        responses={201: DrillOutput, **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        """Draft and submit the rehearsal's plan; all or nothing."""
        given = taken(DrillInput, request)
        drill = begin_rehearsal(
            wanted=Wanted(
                given["deployer"],
                given["plugin"],
                given["to_version"],
                TenantChoice(**given["tenants"]),
                given["inject"],
            ),
            by=asking(request),
            now=timezone.now(),
            via=via(request),
        )
        return Response(DrillOutput(drill).data, status=201)


class DrillOne(ConsoleView):
    """One drill."""

    @extend_schema(
        summary="Read a drill: whether it passed, and how long the way back took",
        responses={200: DrillOutput, **PROBLEMS},
    )
    def get(self, request: Request, drill: uuid.UUID) -> Response:
        """Return it."""
        user = asking(request)
        seen = RollbackDrill.objects.visible_to(user).filter(pk=drill)
        found = seen.select_related("plan__plugin", "schedule").first()
        if found is None:
            raise NotFound("There is no such drill.")
        return Response(DrillOutput(found).data)
