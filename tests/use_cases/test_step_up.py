"""Step-up: a second factor of the last five minutes, and nothing that only looks like one."""

from datetime import datetime, timedelta

import pytest
from allauth.account.internal.flows.login import record_authentication
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.test import RequestFactory

from plans.log_in.second_factors import WrongCode
from plans.log_in.step_up import (
    StepUp,
    StepUpRequired,
    TooManyTries,
    offering,
    require_step_up,
    step_up_of,
)
from plans.models import Event, User
from plans.refusal import Refused
from tests.web.api_scene import now, person
from tests.web.factors import App

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _required(settings):
    settings.REQUIRE_MFA = True
    cache.clear()


@pytest.fixture
def aram() -> User:
    return person("Aram", approval="system_admin")


def request_of(user):
    request = RequestFactory().get("/")
    request.user, request.session = user, SessionStore()
    return request


def used(user: User, **record):
    """Return a request in whose session the person has proven themselves so."""
    request = request_of(user)
    method = record.pop("method", "mfa")
    record_authentication(request, user, method, **record)
    return request


def test_a_second_factor_counts_for_five_minutes(aram):
    app = App(aram)
    request = used(aram, id=app.row.pk, type="totp", reauthenticated=True)

    fresh = step_up_of(request, now=now() + timedelta(minutes=4, seconds=59))

    assert fresh is not None
    assert fresh.methods == ("totp",)
    assert step_up_of(request, now=now() + timedelta(minutes=5, seconds=1)) is None


def test_the_factor_given_at_log_in_counts_too(aram):
    app = App(aram)

    assert step_up_of(used(aram, id=app.row.pk, type="totp"), now=now()) is not None


@pytest.mark.parametrize(
    "record",
    [
        {"method": "password", "reauthenticated": True},
        {"method": "socialaccount", "provider": "company", "uid": "42", "reauthenticated": True},
        {"method": "mfa", "type": "totp", "enrolled": True},
        {"method": "mfa", "type": "totp", "id": 999_999},
        {"method": "mfa", "type": "totp", "at": 99_999_999_999.0},
    ],
)
def test_what_is_no_second_factor_never_counts(aram, record):
    app = App(aram)
    if record.get("method") == "mfa":
        record = {"id": app.row.pk, **record}

    assert step_up_of(used(aram, **record), now=now()) is None


def test_a_factor_that_was_taken_away_proves_nothing(aram):
    app = App(aram)
    request = used(aram, id=app.row.pk, type="totp")
    app.row.delete()

    assert step_up_of(request, now=now()) is None


def test_the_log_of_another_person_in_the_same_browser_is_not_ones_own(aram):
    sona = person("Sona", approval="role_admin")
    app = App(aram)
    request = used(aram, id=app.row.pk, type="totp")
    request.user = sona

    assert step_up_of(request, now=now()) is None


def test_nobody_has_stepped_up(settings):
    settings.REQUIRE_MFA = False

    assert step_up_of(request_of(AnonymousUser()), now=now()) is None


def test_where_none_is_required_it_says_that_it_was_a_password(settings, aram):
    settings.REQUIRE_MFA = False
    at = now()

    assert step_up_of(request_of(aram), now=at) == StepUp(("pwd",), at)
    app = App(aram)
    real = step_up_of(used(aram, id=app.row.pk, type="totp"), now=now())
    assert real is not None
    assert real.methods == ("totp",)


def test_an_act_that_needs_one_says_so(aram):
    with pytest.raises(StepUpRequired, match="second factor once more"):
        require_step_up(request_of(aram), now=now())


# ---- by a code, for machines


def offer(user: User, code: str, *, at: datetime, address: str = "10.0.0.7") -> StepUp:
    """Let an act use the code up that nothing else refuses."""
    with offering(user, code, now=at, address=address) as offered:
        return offered.use()


def test_a_code_stands_for_a_session_once(aram):
    app, at = App(aram), now()
    code = app.code(at=at.timestamp())

    assert offer(aram, code, at=at) == StepUp(("totp",), at)
    event = Event.objects.get(kind="stepped_up")
    assert event.sentence == "Aram confirmed who they are with an authenticator app."
    with pytest.raises(WrongCode):
        offer(aram, code, at=at)
    assert Event.objects.get(kind="login_failed").payload["step"] == "code"


def test_an_act_that_is_refused_leaves_the_code_good_and_is_no_try(aram):
    app, at = App(aram), now()
    code = app.code(at=at.timestamp())

    def refused(*, late: bool) -> None:
        with offering(aram, code, now=at) as offered:
            if late:
                offered.use()
            raise Refused("no")

    for late in (False, True) * 5:
        with pytest.raises(Refused, match="no"):
            refused(late=late)
    assert not Event.objects.filter(kind="stepped_up").exists()
    assert offer(aram, code, at=at) == StepUp(("totp",), at)


def test_an_act_that_needs_no_code_uses_none_up(aram):
    app, at = App(aram), now()
    code = app.code(at=at.timestamp())

    for _ in range(9):
        with offering(aram, code, now=at):
            pass
    assert not Event.objects.filter(kind="stepped_up").exists()
    assert offer(aram, code, at=at) == StepUp(("totp",), at)


def test_guessing_is_stopped_where_it_comes_from_and_nowhere_else(aram):
    app, at = App(aram), now()
    for _ in range(5):
        with pytest.raises(WrongCode):
            offer(aram, "12", at=at, address="10.0.0.66")

    with pytest.raises(TooManyTries):
        offer(aram, app.code(at=at.timestamp()), at=at, address="10.0.0.66")
    assert offer(aram, app.code(at=at.timestamp()), at=at).methods == ("totp",)


def test_where_none_is_required_a_code_that_is_given_must_still_be_right(settings, aram):
    settings.REQUIRE_MFA = False

    with pytest.raises(WrongCode, match="enrolled nothing that shows codes"):
        offer(aram, "123456", at=now())
