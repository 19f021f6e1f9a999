"""REST: plans and their approval, the trail, tenants; the rest is in other api modules."""

from functools import partial
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from plans.api.access import PLAN_PARAMETER, ConsoleView, asking, find_plan, taken, via
from plans.api.input import (
    NeededReasonInput,
    ReasonInput,
    StrictSerializer,
)
from plans.api.lists import CursorPages, CursorQuery
from plans.api.output import (
    PROBLEMS,
    EventOutput,
    EventPage,
    ImportOutput,
    PlanOutput,
    PlanRow,
    described,
)
from plans.api.problem import problem
from plans.api.step_up import CommentInput, proof_along
from plans.approvals import approval
from plans.approvals.informed_verdict import approve_seen
from plans.counted_words import counted
from plans.lifecycle import PLAN
from plans.models import Event, Plan
from plans.pages.access import visible_plans
from plans.people.permissions import require
from plans.refusal import BadInput
from plans.tenants.importing import import_tenants

MOST_EVENTS = 500


def answer_plan(request: Request, plan: Plan) -> Response:
    """Answer with the plan as it is now."""
    user = asking(request)
    fresh = described(Plan.objects.visible_to(user).filter(pk=plan.pk)).get()
    return Response(PlanOutput(fresh, context={"user": user}).data)


class PlanCursor(CursorPages):
    """Pages of plans, newest first."""

    ordering = ("-created_at", "pk")


class PlanQuery(CursorQuery):
    """Which plans."""

    state = serializers.ChoiceField(choices=PLAN.choices(), default="", allow_blank=True)
    plugin = serializers.CharField(default="", allow_blank=True, help_text="The plugin's key.")
    rehearsals = serializers.BooleanField(
        default=True, help_text="false leaves out rehearsals of rollbacks."
    )


@extend_schema_view(
    get=extend_schema(
        summary="List plans",
        parameters=[PlanQuery],
        responses={200: PlanRow(many=True), **PROBLEMS},
    )
)
class PlanList(ConsoleView, ListAPIView):  # type: ignore[type-arg]
    """Every plan."""

    query = PlanQuery
    serializer_class = PlanRow
    pagination_class = PlanCursor
    queryset = Plan.objects.none()

    def get_queryset(self) -> Any:
        """Return the plans in the wanted state and of the wanted plugin."""
        user = asking(self.request)
        require(user, "view")
        plans = described(visible_plans(user))
        if state := self.asked["state"]:
            plans = plans.filter(state=state)
        if plugin := self.asked["plugin"]:
            plans = plans.filter(plugin__key=plugin)
        if not self.asked["rehearsals"]:
            plans = plans.exclude(drills__kind="rehearsal")
        return plans


class PlanApprove(ConsoleView):
    """Say yes in one of the roles that the policy asks for."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "approve"}

    @extend_schema(
        summary="Approve a plan",
        parameters=[PLAN_PARAMETER],
        request=CommentInput,
        responses={200: PlanOutput, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Approve it."""
        found = find_plan(request, plan)
        given = taken(CommentInput, request)
        now = timezone.now()
        seen = given.pop("digest", None)
        approve = partial(approve_seen, seen_digest=seen) if seen else approval.approve
        with proof_along(request, given, now=now) as proof:
            approved = approve(
                plan_id=found.pk,
                approver=asking(request),
                now=now,
                via=via(request),
                step_up=proof,
                **given,
            )
        return answer_plan(request, approved)


class PlanReject(ConsoleView):
    """Say no, with a reason."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "approve"}

    @extend_schema(
        summary="Reject a plan",
        parameters=[PLAN_PARAMETER],
        request=NeededReasonInput,
        responses={200: PlanOutput, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Reject it."""
        found = find_plan(request, plan)
        rejected = approval.reject(
            plan_id=found.pk,
            approver=asking(request),
            reason=taken(NeededReasonInput, request)["reason"],
            now=timezone.now(),
            via=via(request),
        )
        return answer_plan(request, rejected)


class PlanCancel(ConsoleView):
    """Give a plan up before it has started."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "cancel"}

    @extend_schema(
        summary="Cancel a plan",
        parameters=[PLAN_PARAMETER],
        request=ReasonInput,
        responses={200: PlanOutput, **PROBLEMS},
    )
    def post(self, request: Request, plan: str) -> Response:
        """Cancel it."""
        found = find_plan(request, plan)
        cancelled = approval.cancel(
            plan_id=found.pk,
            by=asking(request),
            reason=taken(ReasonInput, request)["reason"],
            now=timezone.now(),
            via=via(request),
        )
        return answer_plan(request, cancelled)


class SinceQuery(StrictSerializer):
    """From where on, and how many."""

    since = serializers.IntegerField(min_value=0, default=0)
    limit = serializers.IntegerField(min_value=1, max_value=MOST_EVENTS, default=100)


class PlanEvents(ConsoleView):
    """The trail of a plan, gapless, in order."""

    query = SinceQuery

    @extend_schema(
        summary="Read the events of a plan",
        parameters=[PLAN_PARAMETER, SinceQuery],
        responses={200: EventPage, **PROBLEMS},
    )
    def get(self, request: Request, plan: str) -> Response:
        """Return the events after `since`."""
        # The state is read before the events: whoever reads an end state has its event as well.
        found = find_plan(request, plan)
        since, limit = self.asked["since"], self.asked["limit"]
        after = Event.objects.told_of(found).filter(seq__gt=since).order_by("seq")
        rows = list(after[: limit + 1])
        listed = rows[:limit]
        return Response(
            {
                "plan": str(found.pk),
                "state": str(found.state),
                "events": EventOutput(listed, many=True).data,
                "last": listed[-1].seq if listed else since,
                "more": len(rows) > limit,
            }
        )


class TextParser(BaseParser):
    """Take the body as the file that it is."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        """Return the text; BadInput when it is not UTF-8."""
        try:
            return str(stream.read().decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise BadInput([f"The file is not UTF-8 (byte {error.start}); save it so."]) from error


class CsvParser(TextParser):
    """A CSV file."""

    media_type = "text/csv"


class YamlParser(TextParser):
    """A YAML file."""

    media_type = "application/yaml"


class ImportQuery(StrictSerializer):
    """How to import."""

    dry_run = serializers.BooleanField(default=False, help_text="Look only, write nothing.")
    plugin = serializers.CharField(
        default="", help_text="The plugin whose version the column `version` names."
    )


class TenantImport(ConsoleView):
    """Bring tenants in from a file."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "manage_tenants"}
    parser_classes = (CsvParser, YamlParser)

    @extend_schema(
        summary="Import tenants (CSV or YAML), all or nothing",
        parameters=[ImportQuery],
        request={"text/csv": str, "application/yaml": str},
        responses={200: ImportOutput, **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        """Say for every row whether it is new, changed, the same or wrong."""
        query = ImportQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        media_type = str(request.content_type).partition(";")[0].strip()
        result = import_tenants(
            text=str(request.data),
            form="csv" if media_type == CsvParser.media_type else "yaml",
            by=asking(request),
            now=timezone.now(),
            via=via(request),
            **query.validated_data,
        )
        if not result.refused:
            return Response(ImportOutput(result).data)
        wrong = [row for row in result.rows if row.status == "wrong"]
        return problem(
            422,
            detail=f"Nothing was imported: {len(wrong)} of {counted(len(result.rows), 'row')}"
            f" {'is' if len(wrong) == 1 else 'are'} wrong.",
            code="rows_wrong",
            errors=[{"field": f"line {row.line}", "detail": row.why} for row in wrong],
        )
