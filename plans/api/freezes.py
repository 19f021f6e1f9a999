"""REST: declare and lift freezes, and list them."""

import uuid
from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from plans.api.access import ConsoleView, asking, taken, via
from plans.api.input import FreezeInput, NeededReasonInput
from plans.api.lists import CursorPages, CursorQuery
from plans.api.output import PROBLEMS
from plans.models import Freeze, User
from plans.openings.freezing import declare_freeze, lift_freeze, named_of
from plans.people.permissions import require
from plans.people.visible_rows import keys_seen

STAGES = ("current", "upcoming", "past", "lifted")


class FreezeOutput(serializers.Serializer[Freeze]):
    """A freeze."""

    freeze = serializers.UUIDField(source="pk")
    stage = serializers.SerializerMethodField()
    name = serializers.CharField()
    reason = serializers.CharField()
    plugin = serializers.SerializerMethodField(help_text="Null = every plugin.")
    tenants = serializers.SerializerMethodField(help_text="Those that the asking person may see.")
    labels = serializers.DictField(child=serializers.CharField())
    overriders = serializers.ListField(child=serializers.CharField())
    begins_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField(allow_null=True)
    declared_by = serializers.CharField(source="declared_by.get_full_name")
    declared_at = serializers.DateTimeField()
    lifted_by = serializers.SerializerMethodField()
    lifted_at = serializers.DateTimeField(allow_null=True)
    lifted_why = serializers.CharField()

    def get_tenants(self, freeze: Freeze) -> list[str]:
        """Return the named tenants that the asking person may see."""
        return named_of(freeze, self.context["seen"])

    def get_stage(self, freeze: Freeze) -> str:
        """Return current, upcoming, past or lifted."""
        return freeze.stage(timezone.now())

    def get_plugin(self, freeze: Freeze) -> str | None:
        """Return the plugin's key."""
        return freeze.plugin.key if freeze.plugin is not None else None

    def get_lifted_by(self, freeze: Freeze) -> str | None:
        """Return who lifted it."""
        return freeze.lifted_by.get_full_name() if freeze.lifted_by is not None else None


def freezes_at(stage: str, user: User) -> QuerySet[Freeze]:
    """Return the freezes of a stage that the person may see; all of these without one."""
    now = timezone.now()
    freezes = Freeze.objects.visible_to(user).select_related("plugin", "declared_by", "lifted_by")
    of_stage = {
        "current": freezes.in_force(now),
        "upcoming": freezes.standing(now).filter(begins_at__gt=now),
        "past": freezes.filter(Q(ends_at__lte=now), lifted_at=None),
        "lifted": freezes.exclude(lifted_at=None),
    }
    return of_stage.get(stage, freezes)


class FreezeCursor(CursorPages):
    """Pages of freezes, the latest beginning first."""

    ordering = ("-begins_at", "pk")


class FreezeQuery(CursorQuery):
    """Which freezes."""

    stage = serializers.ChoiceField(choices=list(STAGES), default="", allow_blank=True)


@extend_schema_view(
    get=extend_schema(
        summary="List freezes",
        parameters=[FreezeQuery],
        responses={200: FreezeOutput(many=True), **PROBLEMS},
    )
)
class Freezes(ConsoleView, ListAPIView):  # type: ignore[type-arg]
    """Every freeze, and the way to a new one."""

    token_actions: ClassVar[dict[str, str]] = {"GET": "view", "POST": "freeze"}
    query = FreezeQuery
    serializer_class = FreezeOutput
    pagination_class = FreezeCursor
    queryset = Freeze.objects.none()

    def get_queryset(self) -> Any:
        """Return the freezes of the wanted stage."""
        user = asking(self.request)
        require(user, "view")
        return freezes_at(self.asked["stage"], user)

    def get_serializer_context(self) -> dict[str, Any]:
        """Tell the output which tenants the asking person may see; a document about it none."""
        user = getattr(self.request, "user", None)
        seen = keys_seen(user) if isinstance(user, User) else frozenset()
        return {**super().get_serializer_context(), "seen": seen}

    @extend_schema(
        summary="Declare a freeze: nothing new is called while it holds, rollbacks go on",
        request=FreezeInput,
        responses={201: FreezeOutput, **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        """Declare it."""
        made = declare_freeze(
            by=asking(request),
            now=timezone.now(),
            via=via(request),
            **taken(FreezeInput, request),
        )
        return Response(
            FreezeOutput(made, context={"seen": keys_seen(asking(request))}).data, status=201
        )


class FreezeLift(ConsoleView):
    """End a freeze before its time."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "freeze"}

    @extend_schema(
        summary="Lift a freeze",
        request=NeededReasonInput,
        responses={200: FreezeOutput, **PROBLEMS},
    )
    def post(self, request: Request, freeze: uuid.UUID) -> Response:
        """Lift it."""
        by = asking(request)
        require(by, "view")
        lifted = lift_freeze(
            freeze_id=freeze,
            why=taken(NeededReasonInput, request)["reason"],
            by=by,
            now=timezone.now(),
            via=via(request),
        )
        return Response(FreezeOutput(lifted, context={"seen": keys_seen(by)}).data)
