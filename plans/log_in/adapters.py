"""Who may get in, and what allauth does our way: accounts, second factors, sessions."""

from collections.abc import Iterable
from typing import Any, ClassVar

from allauth.account.adapter import DefaultAccountAdapter
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.usersessions.adapter import DefaultUserSessionsAdapter
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from plans.log_in import failed_logins
from plans.log_in.second_factors import has_factor, must_have_factor
from plans.models import FailedLogIn, User
from plans.sealed_secrets import open_sealed, seal
from plans.trail import events
from plans.trail.client_address import client_address
from upgradeconsole.sealing import is_sealed


class ClosedSignupAdapter(DefaultAccountAdapter):
    """No sign-up, locks by person and address, and the way to a second factor."""

    error_messages: ClassVar[dict[str, Any]] = DefaultAccountAdapter.error_messages | {
        "too_many_login_attempts": (
            "Too many failed login attempts. Wait five minutes, then try again, or let the"
            " password be set anew. Where you are logged in already, nothing changes."
        )
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Return False: accounts are made by administrators."""
        return False

    def _get_login_attempts_cache_key(self, request: HttpRequest, **credentials: Any) -> str:
        # By name and address: whoever guesses elsewhere must not lock the person out.
        return f"{_typed(credentials)}|{client_address(request)}"

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Refuse more than the allowed tries; a refused one is counted too."""
        try:
            super().pre_authenticate(request, **credentials)
        except ValidationError:
            self.authentication_failed(request, **credentials)
            raise

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Count the failure for the trail."""
        failed_logins.note_failure(
            user=User.objects.filter(email__iexact=_typed(credentials)).first(),
            address=client_address(request),
            step=FailedLogIn.PASSWORD,
            now=timezone.now(),
            via="page",
        )

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """Lead somebody who needs a second factor and has none to it."""
        user = request.user
        if isinstance(user, User) and _lacks_factor(user):
            return reverse("enrol")
        return super().get_login_redirect_url(request)  # type: ignore[no-any-return]

    def send_password_reset_mail(self, user: User, email: str, context: dict[str, Any]) -> None:
        """Send it to people with a password; who comes by single sign-on gets none this way."""
        if user.has_usable_password():
            super().send_password_reset_mail(user, email, context)


def _lacks_factor(user: User) -> bool:
    return must_have_factor(user, at=timezone.now()) and not has_factor(user)


def _typed(credentials: dict[str, Any]) -> str:
    return str(credentials.get("email") or credentials.get("username") or "").strip().lower()


class SecondFactorAdapter(DefaultMFAAdapter):
    """Keep the secrets of second factors sealed: a copy of the database is not enough."""

    def encrypt(self, text: str) -> str:
        """Return the secret as it is stored."""
        return seal(text)

    def decrypt(self, encrypted_text: str) -> str:
        """Return what was stored; `rotate_keys` seals what was stored plainly."""
        return open_sealed(encrypted_text) if is_sealed(encrypted_text) else encrypted_text

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Return the name under which browsers and keys keep a passkey of this console."""
        entity: dict[str, str] = super().get_public_key_credential_rp_entity()
        return {**entity, "name": settings.MFA_TOTP_ISSUER}

    def generate_authenticator_name(self, user: User, type: Any) -> str:
        """Return a name to begin with."""
        return "Passkey or security key"


class SessionsAdapter(DefaultUserSessionsAdapter):
    """End sessions in other browsers, and tell the trail."""

    @transaction.atomic
    def end_sessions(self, sessions: Iterable[Any]) -> None:
        """End them all."""
        ended = list(sessions)
        super().end_sessions(ended)
        if not ended:
            return
        user: User = ended[0].user
        events.record(
            stream=None,
            kind="sessions_ended",
            sentence=f"{user.get_full_name()} logged out in {len(ended)} other browser"
            f"{'s' if len(ended) != 1 else ''}.",
            actor=user,
            via="page",
            now=timezone.now(),
            payload={"sessions": len(ended)},
        )
