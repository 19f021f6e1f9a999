"""Log a machine in by `Authorization: Bearer <token>`."""

from datetime import datetime, timedelta
from ipaddress import ip_address

from django.db.models import Q
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from plans.machine_access import MARK, has_ended, hashed
from plans.models import ApiToken, User

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
            raise AuthenticationFailed("This token is not known here, or was revoked.")
        if token.expires_at is not None and token.expires_at <= now:
            raise AuthenticationFailed(f"This token expired on {token.expires_at:%Y-%m-%d}.")
        if has_ended(token.user, at=now):
            raise AuthenticationFailed(
                f"Every role of {token.user.get_full_name()} has ended, and this token with them."
            )
        _stamp(token, now, str(request.META.get("REMOTE_ADDR", "")))
        token.user.acting_token = token
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge; with it a missing token is answered 401 and not 403."""
        return 'Bearer realm="upgradeconsole"'


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the OpenAPI document names the token."""

    target_class = "plans.api_token.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        """Return the scheme."""
        return {"type": "http", "scheme": "bearer"}


def _known(secret: str) -> ApiToken | None:
    return ApiToken.objects.select_related("user").filter(token_hash=hashed(secret)).first()


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
