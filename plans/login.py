"""Who may get in: people whom an administrator has made, nobody else."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest
from django.utils import timezone

from plans.refusal_trail import tell_refusal


def tell_failed_login(sender: object, request: HttpRequest | None = None, **_more: Any) -> None:
    """Write down that somebody failed to log in; what they typed may be a password, so not that."""
    tell_refusal(
        code="login_failed",
        sentence="somebody failed to log in.",
        what="log in",
        user=None,
        via="page" if request is not None else "command",
        now=timezone.now(),
    )


class ClosedSignupAdapter(DefaultAccountAdapter):
    """Keep the sign-up page shut."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Return False: accounts are made by administrators."""
        return False
