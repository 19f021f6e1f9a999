"""REST: act without the approvers, list such acts, review them."""

import uuid
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from batches.break_glass.acting_alone import ACTS, SHORTEST_REASON, break_glass
from batches.break_glass.review import review
from plans.api.access import PLAN_PARAMETER, ConsoleView, asking, find_plan, taken, via
from plans.api.input import StrictSerializer
from plans.api.output import PROBLEMS
from plans.api.step_up import CodeInput, proof_along
from plans.models import BreakGlass
from plans.people.permissions import require
from plans.refusal import NotFound

MOST = 500


class BreakGlassInput(CodeInput):
    """What cannot wait for the approvers, and why."""

    act = serializers.ChoiceField(choices=list(ACTS))
    batch = serializers.IntegerField(
        min_value=1, required=False, help_text="With promote: only if this batch waits."
    )
    reason = serializers.CharField(min_length=SHORTEST_REASON, max_length=2000)


class ReviewInput(StrictSerializer):
    """What was found afterwards."""

    verdict = serializers.ChoiceField(choices=[name for name, _label in BreakGlass.VERDICTS])
    comment = serializers.CharField(max_length=2000)


class BreakGlassOutput(serializers.Serializer[BreakGlass]):
    """One act without the approvers; `review` is None until somebody has reviewed it."""

    id = serializers.UUIDField()
    plan = serializers.UUIDField(source="plan_id")
    external_id = serializers.CharField(source="plan.external_id")
    act = serializers.ChoiceField(choices=list(ACTS))
    batch = serializers.IntegerField(allow_null=True)
    roles = serializers.ListField(
        child=serializers.CharField(), help_text="The roles that were passed over."
    )
    by = serializers.CharField(source="by.get_full_name")
    at = serializers.DateTimeField()
    reason = serializers.CharField()
    grant = serializers.UUIDField(source="grant_id")
    review_due = serializers.DateTimeField()
    reviewed_by = serializers.CharField(
        source="reviewed_by.get_full_name", default=None, allow_null=True
    )
    reviewed_at = serializers.DateTimeField(allow_null=True)
    verdict = serializers.CharField(allow_blank=True)
    review = serializers.CharField(allow_blank=True)


class PlanBreakGlass(ConsoleView):
    """Act without the approvers."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "break_glass"}

    @extend_schema(
        summary="Act without the approvers: all of them are told, somebody else reviews it",
        parameters=[PLAN_PARAMETER],
        request=BreakGlassInput,
        responses={201: BreakGlassOutput, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Do it."""
        found = find_plan(request, plan)
        given = taken(BreakGlassInput, request)
        now = timezone.now()
        with proof_along(request, given, now=now) as proof:
            broken = break_glass(
                plan_id=found.pk,
                act=given["act"],
                by=asking(request),
                reason=given["reason"],
                now=now,
                via=via(request),
                step_up=proof,
                batch_number=given.get("batch"),
            )
        return Response(BreakGlassOutput(broken).data, status=201)


class BrokenGlass(ConsoleView):
    """Every act without the approvers."""

    @extend_schema(
        summary="List what was done without the approvers, the newest first",
        responses={200: BreakGlassOutput(many=True), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Return the newest of them that the person may see."""
        user = asking(request)
        require(user, "view")
        rows = BreakGlass.objects.visible_to(user)
        shown: Any = rows.select_related("plan", "by", "reviewed_by")[:MOST]
        return Response(BreakGlassOutput(shown, many=True).data)


class BreakGlassReview(ConsoleView):
    """Review one of them."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "review_break_glass"}
    # Those who were passed over may, too.
    judged_by_use_case = True

    @extend_schema(
        summary="Say afterwards whether it was right to act without the approvers",
        request=ReviewInput,
        responses={200: BreakGlassOutput, **PROBLEMS},
    )
    def post(self, request: Request, break_glass: uuid.UUID) -> Response:
        """Review it."""
        seen = BreakGlass.objects.visible_to(asking(request)).filter(pk=break_glass)
        if not seen.exists():
            raise NotFound("There is no such act.")
        given = taken(ReviewInput, request)
        done = review(
            break_glass_id=break_glass,
            by=asking(request),
            verdict=given["verdict"],
            comment=given["comment"],
            now=timezone.now(),
            via=via(request),
        )
        return Response(BreakGlassOutput(done).data)
