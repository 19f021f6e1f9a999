"""REST: API tokens: make one's own, list, revoke."""

import uuid
from contextlib import nullcontext
from typing import Any, ClassVar

from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from plans.api.access import ConsoleView, asking, taken, via
from plans.api.input import NothingInput
from plans.api.lists import CursorPages, CursorQuery
from plans.api.output import PROBLEMS
from plans.api.step_up import CodeInput, proving
from plans.models import ApiToken
from plans.people.machine_access import LONGEST_DAYS, make_token, revoke_token, tokens_for
from plans.people.permissions import require
from plans.people.token_scopes import SCOPES


class TokenOutput(serializers.Serializer[ApiToken]):
    """A token, without its secret."""

    token = serializers.UUIDField(source="pk")
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="The first letters of the secret.")
    person = serializers.EmailField(source="user.email")
    state = serializers.SerializerMethodField(help_text="good, expired or revoked.")
    scopes = serializers.ListField(child=serializers.CharField(), help_text="Empty = all.")
    labels = serializers.DictField(
        child=serializers.CharField(), source="selector", help_text="Of the tenants it is for."
    )
    made_by = serializers.SerializerMethodField(help_text="Null: by a command on the machine.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    last_used_from = serializers.IPAddressField(allow_null=True)

    def get_state(self, token: ApiToken) -> str:
        """Return good, expired or revoked."""
        return token.state(timezone.now())

    def get_made_by(self, token: ApiToken) -> str | None:
        """Return who made it."""
        return token.made_by.email if token.made_by is not None else None


class NewTokenOutput(TokenOutput):
    """A token just made."""

    secret = serializers.CharField(help_text="Told this once; only its hash is kept.")


class TokenInput(CodeInput):
    """A token to make."""

    name = serializers.CharField(max_length=120)
    days = serializers.IntegerField(min_value=1, max_value=LONGEST_DAYS, default=30)
    scopes = serializers.ListField(
        child=serializers.ChoiceField(choices=sorted(SCOPES)), default=list
    )
    labels = serializers.DictField(child=serializers.CharField(), default=dict)


class TokenCursor(CursorPages):
    """Pages of tokens, newest first."""

    ordering = ("-created_at", "pk")


class TokenQuery(CursorQuery):
    """Whose tokens."""

    of = serializers.ChoiceField(choices=["me", "everybody"], default="me")


@extend_schema_view(
    get=extend_schema(
        summary="List one's own API tokens, or as an administrator everybody's",
        parameters=[TokenQuery],
        responses={200: TokenOutput(many=True), **PROBLEMS},
    )
)
class Tokens(ConsoleView, ListAPIView):  # type: ignore[type-arg]
    """API tokens, and the way to a new one."""

    token_actions: ClassVar[dict[str, str]] = {"GET": "hold_tokens", "POST": "hold_tokens"}
    query = TokenQuery
    serializer_class = TokenOutput
    pagination_class = TokenCursor
    queryset = ApiToken.objects.none()

    def get_queryset(self) -> Any:
        """Return the person's tokens, or everybody's."""
        user = asking(self.request)
        return tokens_for(user, everybodys=self.asked["of"] == "everybody")

    @extend_schema(
        summary="Make an API token of one's own; its secret is told this once",
        request=TokenInput,
        responses={201: NewTokenOutput, **PROBLEMS},
    )
    def post(self, request: Request) -> Response:
        """Make it; by a token only one that reaches no further and ends no later."""
        user, now = asking(request), timezone.now()
        require(user, "hold_tokens")
        given = taken(TokenInput, request)
        # What a token makes opens nothing that it does not open itself; a session's outlives it.
        by_token = isinstance(request.auth, ApiToken)
        with nullcontext() if by_token else proving(request, given, now=now):
            made = make_token(
                user=user,
                name=given["name"],
                days=given["days"],
                scopes=given["scopes"],
                selector=given["labels"],
                by=user,
                now=now,
                via=via(request),
            )
        told = {**TokenOutput(made.token).data, "secret": made.secret}
        return Response(told, status=201, headers={"Cache-Control": "no-store"})


class TokenRevoke(ConsoleView):
    """The end of a token."""

    token_actions: ClassVar[dict[str, str]] = {"POST": "hold_tokens"}

    @extend_schema(
        summary="Revoke an API token: one's own, or as an administrator anybody's",
        request=NothingInput,
        responses={200: TokenOutput, **PROBLEMS},
    )
    def post(self, request: Request, token: uuid.UUID) -> Response:
        """Revoke it."""
        by = asking(request)
        taken(NothingInput, request)
        revoked = revoke_token(token_id=token, by=by, now=timezone.now(), via=via(request))
        return Response(TokenOutput(revoked).data)
