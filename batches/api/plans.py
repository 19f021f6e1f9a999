"""REST: hand plans in, read them, start, stop and let them go on."""

from typing import ClassVar

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from batches.api.adjust import AdjustmentOutput, adjustment_answer
from batches.api.output import PlanDetail, PlannedOutput, plan_detail, planned_answer
from batches.live.snapshot import plan_snapshot
from batches.rollout import control, launch, planning
from batches.rollout.going_on import go_on
from batches.rollout.handing_in import hand_in, only_deployer
from batches.rollout.stopping import stop_here
from plans.api.access import PLAN_PARAMETER, ConsoleView, asking, find_plan, taken, via
from plans.api.input import (
    NeededReasonInput,
    NothingInput,
    PlanInput,
    ReasonInput,
)
from plans.api.output import PROBLEMS
from plans.api.step_up import OverrideInput, PromoteInput, proof_along
from plans.drafting.drafting import PlanDraft, TenantChoice
from plans.models import Plan
from plans.openings.freezing import override_freeze
from plans.people.permissions import require
from plans.refusal import Refused

# A pause is about nothing new starting; while tenants are taken back, nothing new starts.
STANDING_STILL = frozenset({"paused", "rolling_back", "rolled_back"})


def answer_detail(request: Request, plan: Plan) -> Response:
    """Answer with the plan as it is now."""
    return Response(plan_detail(plan, asking(request)))


class HandedInOutput(PlannedOutput):
    """What handing in a plan that was there answers; `adjustment` where it runs and was changed."""

    adjustment = AdjustmentOutput(required=False)


class PlanHandIn(ConsoleView):
    """The door of pipelines."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "draft"}

    @extend_schema(
        summary="Create a plan, or update the one of the same external id (running: adjust it)",
        request=PlanInput,
        responses={
            201: PlannedOutput,
            200: HandedInOutput,
            202: HandedInOutput,
            **PROBLEMS,
        },
    )
    def post(self, request: Request) -> Response:
        """Draft or change it, and submit it when asked to; all or nothing."""
        given = taken(PlanInput, request)
        submit = given.pop("submit")
        tenants = TenantChoice(**given.pop("tenants"))
        deployer = given.pop("deployer", None) or only_deployer()
        handed_in = hand_in(
            draft=PlanDraft(tenants=tenants, deployer=deployer, **given),
            submit=submit,
            by=asking(request),
            now=timezone.now(),
            via=via(request),
        )
        answer = planned_answer(handed_in.plan)
        adjusted = handed_in.adjusted
        if adjusted is not None:
            answer["adjustment"] = adjustment_answer(adjusted)
        waits = adjusted is not None and adjusted.waiting is not None
        return Response(answer, status=201 if handed_in.created else 202 if waits else 200)


class PlanOne(ConsoleView):
    """One plan."""

    @extend_schema(
        summary="Read a plan with its batches",
        parameters=[PLAN_PARAMETER],
        responses={200: PlanDetail, **PROBLEMS},
    )
    def get(self, request: Request, plan: str) -> Response:
        """Return it."""
        return answer_detail(request, find_plan(request, plan))


class PlanSubmit(ConsoleView):
    """Hand a draft in for approval."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "submit"}

    @extend_schema(
        summary="Submit a plan for approval",
        parameters=[PLAN_PARAMETER],
        request=NothingInput,
        responses={200: PlanDetail, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Submit it."""
        found = find_plan(request, plan)
        taken(NothingInput, request)
        by, now = asking(request), timezone.now()
        return answer_detail(
            request, planning.submit(plan_id=found.pk, by=by, now=now, via=via(request))
        )


class PlanStart(ConsoleView):
    """Begin an approved plan."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "start"}

    @extend_schema(
        summary="Start an approved plan",
        parameters=[PLAN_PARAMETER],
        request=NothingInput,
        responses={200: PlanDetail, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Start it."""
        found = find_plan(request, plan)
        taken(NothingInput, request)
        by, now = asking(request), timezone.now()
        return answer_detail(
            request, launch.start(plan_id=found.pk, by=by, now=now, via=via(request))
        )


class PlanPause(ConsoleView):
    """Stop everything new; never refused because the page was old."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "pause"}

    @extend_schema(
        summary="Pause a plan; it rolls back unless resumed in time",
        parameters=[PLAN_PARAMETER],
        request=ReasonInput,
        responses={200: PlanDetail, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Pause it; a plan that stands still already is answered as it is."""
        found = find_plan(request, plan)
        reason = taken(ReasonInput, request)["reason"]
        by = asking(request)
        require(by, "pause", found)
        if str(found.state) in STANDING_STILL:
            return answer_detail(request, found)
        try:
            found = control.pause(
                plan_id=found.pk, by=by, reason=reason, now=timezone.now(), via=via(request)
            )
        except Refused:
            # A rollback that began since that look stops the plan too, and more than was asked.
            found = find_plan(request, plan)
            if str(found.state) not in STANDING_STILL:
                raise
        return answer_detail(request, found)


class PlanResume(ConsoleView):
    """Go on after a pause or a hold."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "resume"}

    @extend_schema(
        summary="Resume a paused plan, or let a held batch go on",
        parameters=[PLAN_PARAMETER],
        request=ReasonInput,
        responses={200: PlanDetail, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Let it go on."""
        found = find_plan(request, plan)
        reason = taken(ReasonInput, request)["reason"]
        by, now = asking(request), timezone.now()
        return answer_detail(
            request, go_on(plan_id=found.pk, by=by, reason=reason, now=now, via=via(request))
        )


class PlanPromote(ConsoleView):
    """Open a manual gate."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "promote"}

    @extend_schema(
        summary="Let the batch that waits for a person begin",
        parameters=[PLAN_PARAMETER],
        request=PromoteInput,
        responses={200: PlanDetail, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Promote it; with `batch` only if that one waits."""
        found = find_plan(request, plan)
        given = taken(PromoteInput, request)
        now = timezone.now()
        with proof_along(request, given, now=now) as proof:
            promoted = control.promote(
                plan_id=found.pk,
                by=asking(request),
                now=now,
                via=via(request),
                batch_number=given.get("batch"),
                step_up=proof,
            )
        return answer_detail(request, promoted)


class PlanStop(ConsoleView):
    """End a plan where it stands."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "stop"}

    @extend_schema(
        summary="Stop a plan where it stands: nothing more is upgraded, nothing is taken back",
        parameters=[PLAN_PARAMETER],
        request=NeededReasonInput,
        responses={200: PlanDetail, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Stop it."""
        found = find_plan(request, plan)
        reason = taken(NeededReasonInput, request)["reason"]
        by, now = asking(request), timezone.now()
        return answer_detail(
            request, stop_here(plan_id=found.pk, reason=reason, by=by, now=now, via=via(request))
        )


class PlanOverrideFreeze(ConsoleView):
    """Let a plan through a freeze."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "override_freeze"}

    @extend_schema(
        summary="Let this plan through a freeze, by a role that the freeze names",
        parameters=[PLAN_PARAMETER],
        request=OverrideInput,
        responses={200: PlanDetail, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Let it through."""
        found = find_plan(request, plan)
        given = taken(OverrideInput, request)
        now = timezone.now()
        with proof_along(request, given, now=now) as proof:
            override_freeze(
                plan_id=found.pk,
                freeze_id=given.pop("freeze"),
                by=asking(request),
                now=now,
                via=via(request),
                step_up=proof,
                **given,
            )
        return answer_detail(request, found)


class PlanSnapshot(ConsoleView):
    """The whole picture of a plan, as the live page takes it."""

    @extend_schema(
        summary="Read the snapshot that the live page starts from",
        parameters=[PLAN_PARAMETER],
        responses={200: OpenApiTypes.OBJECT, **PROBLEMS},
    )
    def get(self, request: Request, plan: str) -> Response:
        """Return it."""
        return Response(plan_snapshot(find_plan(request, plan).pk, now=timezone.now()))
