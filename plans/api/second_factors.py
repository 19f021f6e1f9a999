"""REST: who asks and how they have proven it; ways in that somebody has lost are opened anew."""

from datetime import datetime
from typing import Any, ClassVar

from allauth.mfa.models import Authenticator
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from plans.api.access import ConsoleView, asking, taken, via
from plans.api.output import PROBLEMS
from plans.api.people import RoleRequestOutput
from plans.api.step_up import CodeInput, proving
from plans.log_in.second_factors import (
    find_person,
    has_factor,
    must_have_factor,
    recovery_codes_left,
    reset_factors,
)
from plans.log_in.step_up import step_up_of
from plans.models import User
from plans.people.permissions import approval_roles, console_roles, require
from plans.people.ways_in import waiting_roles
from plans.sso.binding import release_log_in

PERSON_PARAMETER = OpenApiParameter(
    "person", str, OpenApiParameter.PATH, description="The person's id or e-mail address."
)


class StepUpOutput(serializers.Serializer[Any]):
    """How the person has proven who they are, within the last five minutes."""

    methods = serializers.ListField(child=serializers.CharField())
    at = serializers.DateTimeField()


class MeOutput(serializers.Serializer[Any]):
    """Who asks."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    email = serializers.EmailField()
    console_roles = serializers.ListField(child=serializers.CharField())
    approval_roles = serializers.ListField(child=serializers.CharField())
    factors = serializers.ListField(
        child=serializers.CharField(), help_text="Kinds: totp, webauthn, recovery_codes."
    )
    recovery_codes_left = serializers.IntegerField()
    must_enrol = serializers.BooleanField(
        help_text="Their roles need a second factor, and they have none."
    )
    step_up = StepUpOutput(allow_null=True)
    waiting_roles = serializers.ListField(
        child=serializers.CharField(),
        help_text="Roles of theirs that do not count until another administrator confirms them.",
    )


class Me(ConsoleView):
    """Who asks, and what they have enrolled."""

    @extend_schema(operation_id="me", responses={200: MeOutput, **PROBLEMS}, tags=["people"])
    def get(self, request: Request) -> Response:
        """Return the person behind this request."""
        return Response(_me(asking(request), request, timezone.now()))


def _me(user: User, request: Request, now: datetime) -> dict[str, Any]:
    stepped_up = step_up_of(request, now=now)
    kinds = Authenticator.objects.filter(user=user).values_list("type", flat=True)
    shaped = {
        "id": user.pk,
        "name": user.get_full_name(),
        "email": user.email,
        "console_roles": sorted(console_roles(user, at=now)),
        "approval_roles": sorted(approval_roles(user, at=now)),
        "factors": sorted(set(kinds)),
        "recovery_codes_left": recovery_codes_left(user),
        "must_enrol": must_have_factor(user, at=now) and not has_factor(user),
        "step_up": stepped_up,
        "waiting_roles": [one.role for one in waiting_roles(user)],
    }
    return dict(MeOutput(shaped).data)


class WayInInput(CodeInput):
    """Why, and the administrator's own proof; a session may have stepped up instead."""

    reason = serializers.CharField(
        max_length=500, help_text="How it is known that it is really this person who asks."
    )


class ResetFactorsOutput(serializers.Serializer[Any]):
    """What was taken away."""

    person = serializers.UUIDField()
    factors = serializers.ListField(child=serializers.CharField())
    waiting = RoleRequestOutput(
        many=True, help_text="Roles of theirs that do not count until another administrator agrees."
    )


class ResetFactors(ConsoleView):
    """A person has lost their second factor."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "administer"}

    @extend_schema(
        operation_id="people_reset_factors",
        parameters=[PERSON_PARAMETER],
        request=WayInInput,
        responses={200: ResetFactorsOutput, **PROBLEMS},
        tags=["people"],
    )
    def post(self, request: Request, person: str) -> Response:
        """Take all of the person's second factors away, end their sessions, and tell them."""
        by, now = asking(request), timezone.now()
        # Before the name is looked up: who may not ask learns no names.
        require(by, "administer")
        given = taken(WayInInput, request)
        user = find_person(person)
        with proving(request, given, now=now):
            kinds = reset_factors(
                user=user, by=by, reason=given["reason"], now=now, via=via(request)
            )
        done = {"person": user.pk, "factors": kinds, "waiting": waiting_roles(user)}
        return Response(ResetFactorsOutput(done).data)


class ReleaseLogInOutput(serializers.Serializer[Any]):
    """Whose log-in at the company was released."""

    person = serializers.UUIDField()
    waiting = RoleRequestOutput(
        many=True, help_text="Roles of theirs that do not count until another administrator agrees."
    )


class ReleaseLogIn(ConsoleView):
    """A person's account at the company was made anew."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "administer"}

    @extend_schema(
        operation_id="people_release_log_in",
        parameters=[PERSON_PARAMETER],
        request=WayInInput,
        responses={200: ReleaseLogInOutput, **PROBLEMS},
        tags=["people"],
    )
    def post(self, request: Request, person: str) -> Response:
        """Release the account at the company's log-in, so that the next one is bound."""
        by, now = asking(request), timezone.now()
        require(by, "administer")
        given = taken(WayInInput, request)
        user = find_person(person)
        with proving(request, given, now=now):
            release_log_in(
                user_id=user.pk, reason=given["reason"], by=by, now=now, via=via(request)
            )
        done = {"person": user.pk, "waiting": waiting_roles(user)}
        return Response(ReleaseLogInOutput(done).data)
