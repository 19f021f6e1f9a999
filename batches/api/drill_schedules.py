"""REST: schedules of drills: make one, agree to it, switch it, run it once."""

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from batches.api.drills import DrillOutput
from batches.drills import schedules as drill_schedules
from batches.drills.rehearsal_policy import INJECTS
from batches.drills.times import DAYS
from batches.models import DrillSchedule
from plans.api.access import ConsoleView, asking, taken, via
from plans.api.input import NothingInput, StrictSerializer, TenantsField
from plans.api.output import PROBLEMS
from plans.drafting.drafting import TenantChoice
from plans.people.permissions import require
from plans.refusal import NotFound


@extend_schema_field({"type": "string", "pattern": r"^[0-2]\d:[0-5]\d(:[0-5]\d)?$"})
class ClockField(serializers.TimeField):
    """A time of day without a zone; what the document calls "time" has one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(input_formats=["%H:%M", "%H:%M:%S"], **options)


class ScheduleInput(StrictSerializer):
    """A drill that comes again on its days."""

    name = serializers.SlugField(max_length=60)
    plugin = serializers.CharField(max_length=63)
    to_version = serializers.CharField(max_length=64)
    deployer = serializers.CharField(max_length=63)
    tenants = TenantsField()
    injects = serializers.ListField(
        child=serializers.CharField(max_length=32),
        min_length=1,
        help_text=f"What goes wrong on purpose, one each time in turn: {', '.join(INJECTS)}.",
    )
    days = serializers.ListField(child=serializers.ChoiceField(choices=DAYS), min_length=1)
    at = ClockField(help_text="In the timezone, such as 03:00.")
    timezone = serializers.CharField(max_length=63, default="UTC")


class AgreementInput(StrictSerializer):
    """A standing yes to every run."""

    comment = serializers.CharField(max_length=2000, allow_blank=True, default="")


class SwitchInput(StrictSerializer):
    """Whether the schedule runs."""

    on = serializers.BooleanField()


class ScheduleOutput(serializers.Serializer[Any]):
    """One schedule of drills."""

    schedule = serializers.UUIDField(source="pk")
    name = serializers.CharField()
    plugin = serializers.CharField(source="release.plugin.key")
    to_version = serializers.CharField(source="release.version")
    deployer = serializers.CharField()
    tenants = serializers.DictField(source="tenant_choice")
    injects = serializers.ListField(child=serializers.CharField())
    days = serializers.ListField(child=serializers.CharField())
    at = ClockField()
    timezone = serializers.CharField()
    enabled = serializers.BooleanField()
    next_at = serializers.DateTimeField()
    problem = serializers.CharField()
    waits_for = serializers.SerializerMethodField()

    def get_waits_for(self, schedule: Any) -> list[str]:
        """Return the roles that have not agreed yet."""
        return drill_schedules.missing_roles(schedule)


class DrillSchedules(ConsoleView):
    """All schedules of drills, and the door for a new one."""

    token_actions: ClassVar[dict[str, str]] = {"GET": "view", "POST": "draft"}

    @extend_schema(
        operation_id="api_v1_drill_schedules_list",
        summary="List the schedules of drills",
        responses={200: ScheduleOutput(many=True), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Return those of the tenants that the asking person may see."""
        user = asking(request)
        require(user, "view")
        return Response(ScheduleOutput(drill_schedules.schedules(user), many=True).data)

    @extend_schema(
        summary="Make a schedule of drills; it runs when its approvers have agreed",
        request=ScheduleInput,
        responses={201: ScheduleOutput, **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        """Keep it."""
        given = taken(ScheduleInput, request)
        schedule = drill_schedules.make_schedule(
            given=drill_schedules.NewSchedule(
                name=given["name"],
                deployer=given["deployer"],
                plugin=given["plugin"],
                to_version=given["to_version"],
                tenants=TenantChoice(**given["tenants"]),
                injects=tuple(given["injects"]),
                days=tuple(given["days"]),
                at=given["at"],
                timezone=given["timezone"],
            ),
            by=asking(request),
            now=timezone.now(),
            via=via(request),
        )
        return Response(ScheduleOutput(schedule).data, status=201)


class DrillScheduleOne(ConsoleView):
    """One schedule."""

    @extend_schema(summary="Read a schedule of drills", responses={200: ScheduleOutput, **PROBLEMS})
    def get(self, request: Request, schedule: uuid.UUID) -> Response:
        """Return it."""
        return Response(ScheduleOutput(_found(request, schedule)).data)


class DrillScheduleApprove(ConsoleView):
    """A yes to every run of a schedule."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "approve"}

    @extend_schema(
        summary="Agree to every run of a schedule of drills",
        request=AgreementInput,
        responses={200: ScheduleOutput, **PROBLEMS},
    )
    def post(self, request: Request, schedule: uuid.UUID) -> Response:
        """Give one person's standing yes for one role."""
        given = taken(AgreementInput, request)
        act = drill_schedules.approve_schedule
        return _acted(request, schedule, act, comment=given["comment"])


class DrillScheduleSwitch(ConsoleView):
    """Whether a schedule runs."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "draft"}

    @extend_schema(
        summary="Switch a schedule of drills on or off",
        request=SwitchInput,
        responses={200: ScheduleOutput, **PROBLEMS},
    )
    def post(self, request: Request, schedule: uuid.UUID) -> Response:
        """Let it run, or let it rest; switching it to what it is changes nothing."""
        given = taken(SwitchInput, request)
        return _acted(request, schedule, drill_schedules.switch, on=given["on"])


class DrillScheduleRun(ConsoleView):
    """A run beside a schedule's days."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "start"}

    @extend_schema(
        summary="Run an approved schedule of drills once, now",
        request=NothingInput,
        responses={201: DrillOutput, **PROBLEMS},
    )
    def post(self, request: Request, schedule: uuid.UUID) -> Response:
        """Begin its next rehearsal."""
        taken(NothingInput, request)
        found = _found(request, schedule)
        drill = drill_schedules.run_now(
            schedule_id=found.pk, by=asking(request), now=timezone.now(), via=via(request)
        )
        return Response(DrillOutput(drill).data, status=201)


def _found(request: Request, schedule: uuid.UUID) -> DrillSchedule:
    require(asking(request), "view")
    found = (
        DrillSchedule.objects.visible_to(asking(request))
        .select_related("release__plugin")
        .filter(pk=schedule)
        .first()
    )
    if found is None:
        raise NotFound("There is no such schedule.")
    return found


def _acted(
    request: Request, schedule: uuid.UUID, act: Callable[..., DrillSchedule], **given: Any
) -> Response:
    now: datetime = timezone.now()
    found = _found(request, schedule)
    act(schedule_id=found.pk, by=asking(request), now=now, via=via(request), **given)
    return Response(ScheduleOutput(_found(request, schedule)).data)
