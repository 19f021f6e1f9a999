"""Who comes in by single sign-on: people whom the console knows, by what the provider proved."""

import logging
from collections.abc import Mapping
from typing import Any

from allauth.account.signals import user_logged_in
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialAccount
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from requests import Session

from plans.log_in import failed_logins
from plans.models import FailedLogIn, User
from plans.reading_direction import straight
from plans.sso.binding import is_of_issuer, refuse_second_subject
from plans.sso.roles import apply_mapping
from plans.sso.transport import guarded_session
from plans.trail import events
from plans.trail.client_address import client_address

logger = logging.getLogger(__name__)
LONGEST_NAME = 120


class SingleSignOnAdapter(DefaultSocialAccountAdapter):
    """Find the person, and say no in words."""

    def get_requests_session(self) -> Session:
        """Return a session that goes the console's one way out."""
        return guarded_session()

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        """Return False: whoever may come is found or made in pre_social_login."""
        return False

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        """Connect a first log-in with its person; end it for somebody unknown here."""
        claims = sociallogin.account.extra_data["id_token"]
        if sociallogin.is_existing:
            theirs, issuer = sociallogin.user, _trusted().issuer
            if not is_of_issuer(user=theirs, subject=claims["sub"], issuer=issuer):
                raise _refused_second(request, theirs, claims)
            return
        user = _person_of(request, claims)
        with transaction.atomic():
            # Of two first log-ins at once with one address the second sees what the first bound.
            events.lock_system_stream()
            bound = SocialAccount.objects.filter(user=user).exists()
            if not bound:
                self._bind(request, sociallogin, user, claims)
        if bound:
            raise _refused_second(request, user, claims)

    def _bind(
        self, request: HttpRequest, sociallogin: Any, user: User, claims: Mapping[str, Any]
    ) -> None:
        sociallogin.connect(request, user)
        events.record(
            stream=None,
            kind="sso_connected",
            sentence=f"{user.get_full_name()} logged in with {_trusted().name}"
            " for the first time; from now on that account there is theirs.",
            actor=user,
            via="sso",
            now=timezone.now(),
            payload={"subject": claims["sub"], "issuer": _trusted().issuer},
        )

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: dict[str, Any] | None = None,
    ) -> None:
        """Write the reason into the log, for who runs the console, and count the failure."""
        logger.warning("Single sign-on failed: %s %s", error, exception or "")
        _note(request)

    def send_notification_mail(self, *args: Any, **kwargs: Any) -> None:
        """Send none: the trail and the person's page tell it."""


def _trusted() -> Any:
    """Return whom the console trusts; without somebody nobody comes here."""
    return settings.SINGLE_SIGN_ON


def _person_of(request: HttpRequest, claims: Mapping[str, Any]) -> User:
    """Return the person of a proven, verified address; raise with a page that says why not."""
    sso = _trusted()
    email = claims.get("email")
    if not isinstance(email, str) or claims.get("email_verified") is not True:
        raise _refused(request, f"{sso.name} does not vouch for your e-mail address.")
    domain = email.rpartition("@")[2].lower()
    if sso.domains and domain not in sso.domains:
        raise _refused(request, f"People of {domain} do not log in here.")
    # To PostgreSQL "\u0131" is a small "I": what is not ASCII is taken as it stands.
    theirs = {"email__iexact": email} if email.isascii() else {"email": email}
    user = User.objects.filter(**theirs).first()
    if user is None and sso.creates_people and email.isascii():
        # They may do nothing until an administrator, or the mapping, gives them a role.
        name = " ".join(straight(str(claims.get("name") or email)).split())
        return User.objects.create_user(email, name=name[:LONGEST_NAME])
    if user is None:
        raise _refused(
            request,
            f"{email} has no account here. An administrator of this console makes one; then log"
            " in the same way.",
        )
    return user


def _refused_second(
    request: HttpRequest, user: User, claims: Mapping[str, Any]
) -> ImmediateHttpResponse:
    """Tell the trail and the person of a second account with their address; say what helps."""
    name = _trusted().name
    refuse_second_subject(
        user=user,
        provider=name,
        subject=str(claims["sub"]),
        issuer=_trusted().issuer,
        now=timezone.now(),
    )
    return _refused(
        request,
        f"{user.email} belongs to another account at {name} here. If yours has taken its place,"
        " tell an administrator of this console: once they know that it is you, they release the"
        " old one under Admin, Users. Then log in again.",
    )


def _refused(request: HttpRequest, sentence: str) -> ImmediateHttpResponse:
    _note(request)
    page: HttpResponse = render(
        request, "socialaccount/authentication_error.html", {"sentence": sentence}, status=403
    )
    return ImmediateHttpResponse(page)


def _note(request: HttpRequest) -> None:
    failed_logins.note_failure(
        user=None,
        address=client_address(request),
        step=FailedLogIn.SINGLE_SIGN_ON,
        now=timezone.now(),
        via="page",
    )


def connect() -> None:
    """Let the mapping be applied at each log-in."""
    user_logged_in.connect(_map_roles, dispatch_uid="console.sso_roles")


def _map_roles(sender: object, user: User, sociallogin: Any = None, **kwargs: Any) -> None:
    sso = settings.SINGLE_SIGN_ON
    if sociallogin is None or sso is None or sso.roles is None:
        return
    claims = sociallogin.account.extra_data.get("id_token", {})
    apply_mapping(user=user, claims=claims, mapping=sso.roles, now=timezone.now())
