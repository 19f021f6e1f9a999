"""REST: the approval grants of a plan, signed, as whoever verifies them takes them."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from plans.api.access import PLAN_PARAMETER, ConsoleView, find_plan
from plans.api.output import PROBLEMS
from plans.models import Grant


class SealedOutput(serializers.Serializer[Any]):
    """What `grant_verify` takes: base64 of the signed JSON, its signature, and the key's id."""

    payload = serializers.CharField()
    sig = serializers.CharField()
    kid = serializers.CharField()


class GrantOutput(serializers.Serializer[Grant]):
    """One person's signed yes, and what became of it."""

    jti = serializers.UUIDField()
    action = serializers.CharField()
    approver = serializers.CharField(source="approver.get_full_name")
    role = serializers.CharField(allow_blank=True)
    methods = serializers.ListField(
        child=serializers.CharField(), help_text="How the approver proved who they are."
    )
    issued_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    consumed_at = serializers.DateTimeField(allow_null=True)
    op = serializers.CharField(allow_blank=True, help_text="The operation that used it up.")
    voided_at = serializers.DateTimeField(allow_null=True)
    voided_why = serializers.CharField(allow_blank=True)
    answer = serializers.DictField(
        allow_null=True,
        help_text="What the approver's security key answered; its challenge is SHA-256 of the"
        " RFC 8785 JSON of jti and content as the payload has them. Null for other factors.",
    )
    grant = SealedOutput(source="to_json")


class PlanGrants(ConsoleView):
    """The grants of a plan."""

    @extend_schema(
        summary="Read the signed approvals of a plan, the oldest first",
        parameters=[PLAN_PARAMETER],
        responses={200: GrantOutput(many=True), **PROBLEMS},
    )
    def get(self, request: Request, plan: str) -> Response:
        """Return all of them."""
        found = find_plan(request, plan)
        rows: Any = found.grants.select_related("approver")
        return Response(GrantOutput(rows, many=True).data)
