"""REST: take a plan back, by its own address or by a name in the body."""

from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from batches.api.output import RollbackAnswer
from batches.models import Rollback
from batches.rollback.rollback import request_rollback
from plans.api.access import PLAN_PARAMETER, ConsoleView, asking, find_plan, taken, via
from plans.api.input import RollbackInput, RollbackOrder
from plans.api.output import PROBLEMS
from plans.models import Plan
from plans.people.permissions import require


def take_back(request: Request, plan: Plan, given: dict[str, Any]) -> Response:
    """Ask for the rollback; while it runs and after it, the answer is that same rollback."""
    by = asking(request)
    require(by, "rollback", plan)
    rollback = _done_already(plan) or request_rollback(
        plan_id=plan.pk,
        by=by,
        reason=given["reason"],
        scope=given["scope"],
        tenants=given.get("tenants", ()),
        now=timezone.now(),
        via=via(request),
    )
    return Response(RollbackAnswer(rollback).data, status=202)


def _done_already(plan: Plan) -> Rollback | None:
    if str(plan.state) != "rolled_back":
        return None
    return plan.rollbacks.order_by("-triggered_at").first()


class PlanRollback(ConsoleView):
    """Take back what a plan has upgraded."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "rollback"}

    @extend_schema(
        summary="Roll a plan back, at once",
        parameters=[PLAN_PARAMETER],
        request=RollbackInput,
        responses={202: RollbackAnswer, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Roll it back."""
        found = find_plan(request, plan)
        return take_back(request, found, taken(RollbackInput, request))


class RollbackByName(ConsoleView):
    """Take back a plan that the body names."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "rollback"}

    @extend_schema(
        summary="Roll back the plan that the body names, at once",
        request=RollbackOrder,
        responses={202: RollbackAnswer, **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        """Roll it back."""
        given = taken(RollbackOrder, request)
        found = find_plan(request, given.get("plan") or given["external_id"])
        return take_back(request, found, given)
