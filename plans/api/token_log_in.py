"""Log a machine in by `Authorization: Bearer <token>`."""

from datetime import datetime, timedelta
from ipaddress import ip_address

from auditlog.context import auditlog_value
from django.db.models import Q
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from plans.models import ApiToken, User
from plans.people.machine_access import MARK, has_ended, hashed
from plans.refusal import BadInput
from plans.trail.client_address import client_address
from plans.trail.refusals import tell_refusal
from plans.trail.trace import note_origin

ON_BEHALF = "On-Behalf-Of"
"""By this header a machine says for whom it acts; the trail keeps it as what it is: its word."""
LONGEST_BEHALF = 200
STAMP_EVERY = timedelta(minutes=1)


class TokenAuthentication(BaseAuthentication):
    """Accept tokens that are known, not revoked, not expired, and whose person is active."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """Return the person and the token, None when no token came along.

        The person carries the token from here on, so that it narrows whatever they ask for.
        """
        if any(str(value).startswith(MARK) for value in request.query_params.values()):
            raise AuthenticationFailed(
                "A token stood in the address, where logs keep it: revoke that token, and send a"
                " new one as 'Authorization: Bearer <token>'."
            )
        header = get_authorization_header(request).split()
        if not header or header[0].lower() != b"bearer":
            return None
        if len(header) != 2:
            raise AuthenticationFailed("Write the header as 'Authorization: Bearer <token>'.")
        token = _known(header[1].decode("latin-1"))
        now = timezone.now()
        if token is None or token.revoked_at is not None or not token.user.is_active:
            if token is not None:
                _tell_of_dead(token, "revoked", request, now)
            raise AuthenticationFailed("This token is not known here, or was revoked.")
        if token.expires_at is not None and token.expires_at <= now:
            _tell_of_dead(token, "expired", request, now)
            raise AuthenticationFailed(f"This token expired on {token.expires_at:%Y-%m-%d}.")
        if has_ended(token.user, at=now):
            _tell_of_dead(token, "without a role in force", request, now)
            raise AuthenticationFailed(
                f"Every role of {token.user.get_full_name()} has ended, and this token with them."
            )
        _stamp(token, now, client_address(request))
        token.user.acting_token = token
        note_origin(token=f"{token.name} ({token.prefix})", on_behalf=_on_behalf(request))
        _tell_field_log(token.user)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge; with it a missing token is answered 401 and not 403."""
        return 'Bearer realm="upgradeconsole"'


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document names the token."""

    target_class = "plans.api.token_log_in.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        """Return the scheme."""
        return {"type": "http", "scheme": "bearer"}


def _known(secret: str) -> ApiToken | None:
    return ApiToken.objects.select_related("user").filter(token_hash=hashed(secret)).first()


def _on_behalf(request: Request) -> str:
    """Return for whom the machine says that it acts; BadInput where that is no name."""
    said = request.headers.get(ON_BEHALF, "").strip()
    if len(said) > LONGEST_BEHALF or not said.isprintable():
        raise BadInput([f"{ON_BEHALF}: write up to {LONGEST_BEHALF} printable characters"])
    return said


def _tell_field_log(user: User) -> None:
    """Let the field-level diff name the person: its middleware ran before the token was read."""
    context = auditlog_value.get(None)
    if context is not None:
        context["actor"] = user


def _tell_of_dead(token: ApiToken, state: str, request: Request, now: datetime) -> None:
    state = state if token.user.is_active or state == "expired" else "of a person who has left"
    tell_refusal(
        code="token_dead",
        sentence=f"somebody used the API token '{token.name}' ({token.prefix}…) of"
        f" {token.user.get_full_name()}, which is {state}.",
        what=f"{request.method} by token {token.prefix}",
        user=None,
        via="api",
        now=now,
        about={"token": str(token.pk), "user": str(token.user_id)},
    )


def _stamp(token: ApiToken, now: datetime, address: str) -> None:
    # At most once a minute: a follower that polls each second must not write each second. From
    # another address at once: that is what somebody who looks for a stolen token wants to see.
    came_from = _as_address(address)
    moved = came_from is not None and came_from != token.last_used_from
    if not moved and token.last_used_at is not None and token.last_used_at > now - STAMP_EVERY:
        return
    # Compared in the database as well: of several requests at once, one writes.
    stale = Q(last_used_at=None) | Q(last_used_at__lte=now - STAMP_EVERY)
    if moved:
        stale |= Q(last_used_from=None) | ~Q(last_used_from=came_from)
    ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now, last_used_from=came_from)


def _as_address(text: str) -> str | None:
    """Return the address as it is kept, None for a socket that has none."""
    try:
        return str(ip_address(text))
    except ValueError:
        return None
