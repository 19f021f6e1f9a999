"""REST: the report of a plan."""

from typing import Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from plans.api.access import PLAN_PARAMETER, ConsoleView, find_plan
from plans.api.output import PROBLEMS, Problem
from reports.handing_out import InTheMaking, report_of
from reports.views import download


class PdfRenderer(BaseRenderer):
    """Lets clients ask for a PDF; a problem stays JSON, since it has its own content type."""

    media_type = "application/pdf"
    format = "pdf"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> Any:
        """Return the problem document."""
        return JSONRenderer().render(data, None, renderer_context)


class PlanReport(ConsoleView):
    """The compliance report of a plan that has ended."""

    renderer_classes = (PdfRenderer, JSONRenderer)

    @extend_schema(
        summary="Fetch the report",
        operation_id="plan_report",
        parameters=[PLAN_PARAMETER],
        responses={
            (200, "application/pdf"): OpenApiTypes.BINARY,
            (202, "text/plain"): OpenApiResponse(
                OpenApiTypes.STR, "Being made; ask again after Retry-After seconds."
            ),
            **PROBLEMS,
            (500, "application/problem+json"): OpenApiResponse(
                Problem, "The file is not the one that was issued."
            ),
        },
    )
    def get(self, request: Request, plan: str) -> HttpResponse:
        """Answer the PDF of the plan's last ending."""
        found = find_plan(request, plan)
        try:
            return download(report_of(found), found)
        except InTheMaking as refused:
            answer = HttpResponse(
                refused.sentence, status=refused.status, content_type="text/plain"
            )
            answer["Retry-After"] = "2"
            return answer
