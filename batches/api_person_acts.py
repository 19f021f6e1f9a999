"""REST: what a person does to tenants and batches of a plan that is under way."""

from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from batches import leaving_out, settling
from batches.api import answer_detail
from batches.api_output import PlanDetail
from batches.retrying import retry
from plans.api_access import PLAN_PARAMETER, ConsoleView, asking, find_plan, taken, via
from plans.api_input import NeededReasonInput, StrictSerializer
from plans.api_output import PROBLEMS
from plans.models import Plan


def _tenants(**kwargs: Any) -> serializers.ListField:
    return serializers.ListField(
        child=serializers.CharField(max_length=63), min_length=1, max_length=10_000, **kwargs
    )


class RetryInput(StrictSerializer):
    """Whom to call again: without names everybody who failed (in that batch)."""

    tenants = _tenants(required=False)
    batch = serializers.IntegerField(min_value=1, required=False)
    reason = serializers.CharField(max_length=300, allow_blank=True, default="")


class ExcludeInput(NeededReasonInput):
    """Whom to leave out, and why."""

    tenants = _tenants()


class BatchInput(NeededReasonInput):
    """Which batch, and why."""

    batch = serializers.IntegerField(min_value=1)


class UnskipInput(StrictSerializer):
    """Which batch to bring back."""

    batch = serializers.IntegerField(min_value=1)
    reason = serializers.CharField(max_length=300, allow_blank=True, default="")


class SettleInput(NeededReasonInput):
    """What became of tenants that needed a hand, and how that is known."""

    tenants = _tenants()
    outcome = serializers.ChoiceField(choices=["rolled_back", "upgraded", "excluded"])


def _who(request: Request, plan: Plan) -> dict[str, Any]:
    return {
        "plan_id": plan.pk,
        "by": asking(request),
        "now": timezone.now(),
        "via": via(request),
    }


class PlanRetry(ConsoleView):
    """Only the failed, once more."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "retry"}

    @extend_schema(
        summary="Have failed tenants called again, and only those",
        parameters=[PLAN_PARAMETER],
        request=RetryInput,
        responses={200: PlanDetail, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Retry them."""
        found = find_plan(request, plan)
        given = taken(RetryInput, request)
        done = retry(
            tenant_keys=given.get("tenants", ()),
            batch_number=given.get("batch"),
            reason=given["reason"],
            **_who(request, found),
        )
        return answer_detail(request, done)


class PlanExclude(ConsoleView):
    """Go on without some tenants."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "exclude"}

    @extend_schema(
        summary="Leave tenants out of a plan that is under way",
        parameters=[PLAN_PARAMETER],
        request=ExcludeInput,
        responses={200: PlanDetail, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Exclude them."""
        found = find_plan(request, plan)
        given = taken(ExcludeInput, request)
        done = leaving_out.exclude(
            tenant_keys=given["tenants"], reason=given["reason"], **_who(request, found)
        )
        return answer_detail(request, done)


class PlanSkip(ConsoleView):
    """Go on without a batch."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "skip"}

    @extend_schema(
        summary="Skip a batch that has not begun",
        parameters=[PLAN_PARAMETER],
        request=BatchInput,
        responses={200: PlanDetail, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Skip it."""
        found = find_plan(request, plan)
        given = taken(BatchInput, request)
        done = leaving_out.skip_batch(
            batch_number=given["batch"], reason=given["reason"], **_who(request, found)
        )
        return answer_detail(request, done)


class PlanUnskip(ConsoleView):
    """Do a skipped batch after all."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "skip"}

    @extend_schema(
        summary="Bring a skipped batch back",
        parameters=[PLAN_PARAMETER],
        request=UnskipInput,
        responses={200: PlanDetail, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Bring it back."""
        found = find_plan(request, plan)
        given = taken(UnskipInput, request)
        done = leaving_out.unskip_batch(
            batch_number=given["batch"], reason=given["reason"], **_who(request, found)
        )
        return answer_detail(request, done)


class PlanJump(ConsoleView):
    """Let a later batch be the next one."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "skip"}

    @extend_schema(
        summary="Jump to a batch: those before it that have not begun are skipped",
        parameters=[PLAN_PARAMETER],
        request=BatchInput,
        responses={200: PlanDetail, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Jump there."""
        found = find_plan(request, plan)
        given = taken(BatchInput, request)
        done = leaving_out.jump(
            batch_number=given["batch"], reason=given["reason"], **_who(request, found)
        )
        return answer_detail(request, done)


class PlanSkipRest(ConsoleView):
    """Upgrade nobody else."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "skip"}

    @extend_schema(
        summary="Skip the rest: nobody else is upgraded, nothing is taken back",
        parameters=[PLAN_PARAMETER],
        request=NeededReasonInput,
        responses={200: PlanDetail, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Skip it."""
        found = find_plan(request, plan)
        given = taken(NeededReasonInput, request)
        done = leaving_out.skip_rest(reason=given["reason"], **_who(request, found))
        return answer_detail(request, done)


class PlanSettle(ConsoleView):
    """Say what became of tenants that needed a hand."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "settle"}

    @extend_schema(
        summary="Settle tenants that need a hand",
        parameters=[PLAN_PARAMETER],
        request=SettleInput,
        responses={200: PlanDetail, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Settle them."""
        found = find_plan(request, plan)
        given = taken(SettleInput, request)
        done = settling.settle(
            tenant_keys=given["tenants"],
            outcome=given["outcome"],
            reason=given["reason"],
            **_who(request, found),
        )
        return answer_detail(request, done)
