"""Second factors of the cast: enrolled as the pages do it, and the codes that their apps show."""

import base64
import time
from typing import Any

from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.test import Client

from plans.log_in.one_time_code import code_of, period_at
from plans.models import User

PASSWORD = "a long enough phrase"


class App:
    """A person's authenticator app."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.secret = generate_totp_secret()
        self.row = TOTP.activate(user, self.secret).instance
        self.recovery = RecoveryCodes.activate(user)

    def code(self, *, ahead: int = 0, at: float | None = None) -> str:
        """Return what it shows now, or so many periods later."""
        moment = time.time() if at is None else at
        return code_of(base64.b32decode(self.secret), period_at(moment) + ahead)


def with_password(user: User) -> User:
    # Once: a password that is set again ends the sessions that it began.
    if not user.has_usable_password() or not user.check_password(PASSWORD):
        user.set_password(PASSWORD)
        user.save()
    return user


def give_password(client: Client, user: User, password: str = PASSWORD, **more: Any) -> Any:
    """Post the log-in form; `more` are extras of the request, as REMOTE_ADDR."""
    return client.post("/accounts/login/", {"login": user.email, "password": password}, **more)


def logged_in(user: User, app: App | None = None, *, ahead: int = 0, **more: Any) -> Client:
    """Log the person in as they do it themselves, with a code where they have an app."""
    client = Client(**more)
    answer = give_password(client, with_password(user))
    assert answer.status_code == 302, answer.content
    if app is not None:
        assert answer["Location"] == "/accounts/2fa/authenticate/"
        answer = client.post(answer["Location"], {"code": app.code(ahead=ahead)})
        assert answer.status_code == 302, answer.content
    return client
