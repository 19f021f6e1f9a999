"""Log a machine in by `Authorization: Bearer <token>`."""

from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from plans.machine_access import hashed
from plans.models import ApiToken, User

STAMP_EVERY = timedelta(minutes=1)


class TokenAuthentication(BaseAuthentication):
    """Accept tokens that are known, not revoked, not expired, and whose person is active."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        """Return the person and the token, None when no token came along."""
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
        _stamp(token, now)
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


def _stamp(token: ApiToken, now: datetime) -> None:
    # At most once a minute: a follower that polls each second must not write each second.
    stale = Q(last_used_at=None) | Q(last_used_at__lte=now - STAMP_EVERY)
    if token.last_used_at is None or token.last_used_at <= now - STAMP_EVERY:
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
