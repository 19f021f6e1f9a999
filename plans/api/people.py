"""REST: who holds which role: give, end, confirm; who could do what on a day; people who leave."""

import uuid
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from plans.api.access import ConsoleView, asking, taken, via
from plans.api.input import NeededReasonInput, NothingInput, StrictSerializer
from plans.api.output import PROBLEMS
from plans.api.step_up import CodeInput, proving
from plans.models import RoleBinding, RoleRequest, User
from plans.people.access_review import access_review, asked_time
from plans.people.leavers import let_go, let_in
from plans.people.permissions import require
from plans.people.role_confirming import (
    confirm_role,
    open_requests_for,
    refuse_role,
    warning_of,
)
from plans.people.role_giving import end_role, give_role
from plans.people.role_records import KNOWN_CONSOLE_ROLES
from plans.refusal import BadInput, NotFound

PERSON_PARAMETER = OpenApiParameter(
    "person", str, OpenApiParameter.PATH, description="The person's e-mail."
)


class RoleInput(CodeInput):
    """A role to give."""

    person = serializers.EmailField()
    kind = serializers.ChoiceField(choices=["console", "approval"])
    role = serializers.CharField(
        max_length=64,
        help_text=f"{', '.join(KNOWN_CONSOLE_ROLES)}; for approval the policy's label.",
    )
    labels = serializers.DictField(
        child=serializers.CharField(), default=dict, help_text="Of the tenants; empty = all."
    )
    expires_at = serializers.DateTimeField(allow_null=True, default=None)
    why = serializers.CharField(max_length=300, default="", allow_blank=True)


class RoleOutput(serializers.Serializer[Any]):
    """A role that a person holds."""

    role_id = serializers.UUIDField(source="pk")
    person = serializers.EmailField(source="user.email")
    kind = serializers.CharField()
    role = serializers.CharField()
    labels = serializers.DictField(child=serializers.CharField(), source="selector")
    since = serializers.DateTimeField(source="created_at")
    expires_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    why = serializers.CharField()


class RoleRequestOutput(serializers.Serializer[Any]):
    """A role that takes two: it counts once another administrator confirms it."""

    request_id = serializers.UUIDField(source="pk")
    person = serializers.EmailField(source="user.email")
    kind = serializers.CharField()
    role = serializers.CharField()
    labels = serializers.DictField(child=serializers.CharField(), source="selector")
    asked_by = serializers.EmailField(source="asked_by.email")
    asked_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    why = serializers.CharField()
    outcome = serializers.CharField(help_text="Empty while it waits.")
    warning = serializers.SerializerMethodField(
        help_text="What whoever confirms has to make sure of first; empty for nothing special."
    )

    def get_warning(self, request: RoleRequest) -> str:
        """Return what the second administrator has to make sure of."""
        return warning_of(request)


class HeldOutput(serializers.Serializer[Any]):
    """One right that somebody held."""

    name = serializers.CharField()
    email = serializers.EmailField()
    kind = serializers.ChoiceField(choices=["console", "approval", "token", "asked"])
    held = serializers.CharField(help_text="The role, or the token's name.")
    may = serializers.ListField(child=serializers.CharField())
    tenants = serializers.CharField()
    tenants_today = serializers.IntegerField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField(allow_null=True)
    given_by = serializers.CharField()
    confirmed_by = serializers.CharField()
    why = serializers.CharField()
    ended_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    last_used_from = serializers.CharField()


class ReviewOutput(serializers.Serializer[Any]):
    """Who could do what for which tenants."""

    at = serializers.DateTimeField()
    people = serializers.IntegerField()
    held = HeldOutput(many=True)


class ReviewQuery(StrictSerializer):
    """As of when."""

    at = serializers.CharField(
        default="", allow_blank=True, help_text="A date or a time; none = now."
    )


def _found(email: str) -> User:
    user = User.objects.filter(email__iexact=email).first()
    if user is None:
        raise BadInput([f"person: there is nobody with the e-mail {email!r}"])
    return user


class Roles(ConsoleView):
    """Roles in force, and the way to a new one."""

    token_actions: ClassVar[dict[str, str]] = {"GET": "review_access", "POST": "administer"}

    @extend_schema(
        summary="List the roles in force",
        operation_id="roles_list",
        responses={200: RoleOutput(many=True), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Return all of them, by person."""
        held = RoleBinding.objects.in_force(timezone.now()).select_related("user")
        return Response(
            RoleOutput(list(held.order_by("user__email", "kind", "role")), many=True).data
        )

    @extend_schema(
        summary="Give a role; what lets somebody approve waits for a second administrator (202)",
        request=RoleInput,
        responses={201: RoleOutput, 202: RoleRequestOutput, **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        """Give it."""
        by, now = asking(request), timezone.now()
        require(by, "administer")
        given = taken(RoleInput, request)
        wanted: dict[str, Any] = {
            "user": _found(given["person"]),
            "kind": given["kind"],
            "role": given["role"],
            "selector": given["labels"],
            "expires_at": given["expires_at"],
        }
        with proving(request, given, now=now):
            made = give_role(**wanted, why=given["why"], by=by, now=now, via=via(request))
        if isinstance(made, RoleRequest):
            return Response(RoleRequestOutput(made).data, status=202)
        return Response(RoleOutput(made).data, status=201)


class RoleEnd(ConsoleView):
    """The end of a role."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "administer"}

    @extend_schema(
        summary="End a role", request=NeededReasonInput, responses={200: RoleOutput, **PROBLEMS}
    )
    def post(self, request: Request, role: uuid.UUID) -> Response:
        """End it."""
        by = asking(request)
        why = taken(NeededReasonInput, request)["reason"]
        ended = end_role(binding_id=role, why=why, by=by, now=timezone.now(), via=via(request))
        return Response(RoleOutput(ended).data)


class RoleRequests(ConsoleView):
    """Roles that wait for a second administrator."""

    token_actions: ClassVar[dict[str, str]] = {"GET": "administer"}

    @extend_schema(
        summary="List the roles that wait for a second administrator",
        operation_id="role_requests_list",
        responses={200: RoleRequestOutput(many=True), **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Return them, the oldest first."""
        by = asking(request)
        waiting = [one for one, _mine in open_requests_for(by, now=timezone.now())]
        return Response(RoleRequestOutput(waiting, many=True).data)


class RoleRequestConfirm(ConsoleView):
    """The second administrator's yes."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "administer"}

    @extend_schema(
        summary="Confirm a role as the second administrator; takes a fresh second factor",
        request=CodeInput,
        responses={200: RoleOutput, **PROBLEMS},
    )
    def post(self, request: Request, asked: uuid.UUID) -> Response:
        """Confirm it."""
        by, now = asking(request), timezone.now()
        require(by, "administer")
        with proving(request, taken(CodeInput, request), now=now):
            made = confirm_role(request_id=asked, by=by, now=now, via=via(request))
        return Response(RoleOutput(made).data)


class RoleRequestRefuse(ConsoleView):
    """The second administrator's no."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "administer"}

    @extend_schema(
        summary="Refuse a role that was asked for, or take one's own request back",
        request=NeededReasonInput,
        responses={200: RoleRequestOutput, **PROBLEMS},
    )
    def post(self, request: Request, asked: uuid.UUID) -> Response:
        """Refuse it."""
        by = asking(request)
        why = taken(NeededReasonInput, request)["reason"]
        refused = refuse_role(
            request_id=asked, why=why, by=by, now=timezone.now(), via=via(request)
        )
        return Response(RoleRequestOutput(refused).data)


class AccessReviewed(ConsoleView):
    """Who could do what."""

    token_actions: ClassVar[dict[str, str]] = {"GET": "review_access"}
    query = ReviewQuery

    @extend_schema(
        summary="Read who could do what for which tenants, now or on a day",
        parameters=[ReviewQuery],
        responses={200: ReviewOutput, **PROBLEMS},
    )
    def get(self, request: Request) -> Response:
        """Return every role and token that was held then."""
        at = asked_time(self.asked["at"], now=timezone.now())
        return Response(ReviewOutput(access_review(at)).data)


class PersonLetGo(ConsoleView):
    """Somebody leaves."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "administer"}

    @extend_schema(
        summary="Let a person in no more: account, roles and tokens end at once",
        parameters=[PERSON_PARAMETER],
        request=NeededReasonInput,
        responses={204: None, **PROBLEMS},
    )
    def post(self, request: Request, person: str) -> Response:
        """Let them go."""
        by = asking(request)
        why = taken(NeededReasonInput, request)["reason"]
        let_go(user_id=_named(person).pk, why=why, by=by, now=timezone.now(), via=via(request))
        return Response(status=204)


class PersonLetIn(ConsoleView):
    """Somebody comes back."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "administer"}

    @extend_schema(
        summary="Let a person in again; roles are given anew",
        parameters=[PERSON_PARAMETER],
        request=NothingInput,
        responses={204: None, **PROBLEMS},
    )
    def post(self, request: Request, person: str) -> Response:
        """Let them in."""
        by = asking(request)
        taken(NothingInput, request)
        let_in(user_id=_named(person).pk, by=by, now=timezone.now(), via=via(request))
        return Response(status=204)


def _named(email: str) -> User:
    user = User.objects.filter(email__iexact=email).first()
    if user is None:
        raise NotFound("There is no such person.")
    return user
