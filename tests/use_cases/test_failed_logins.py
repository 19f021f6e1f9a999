"""Failed log-ins: counted by person and address, told more and more rarely."""

from datetime import timedelta

import pytest
from django.core import mail
from django.core.cache import cache
from hypothesis import given
from hypothesis import strategies as st

from plans.log_in import failed_logins
from plans.models import Event, FailedLogIn, User
from tests.web.api_scene import now, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def olga() -> User:
    return person("Olga", console="operator")


def fail(user: User | None, address: str, times: int = 1, at=None) -> None:
    for _ in range(times):
        failed_logins.note_failure(
            user=user, address=address, step="password", now=at or now(), via="page"
        )


def told() -> list[str]:
    events = Event.objects.filter(kind="login_failed").order_by("pk")
    return list(events.values_list("sentence", flat=True))


@given(st.integers(1, 10_000))
def test_of_n_failures_no_more_than_a_handful_are_told(count):
    told_of = [n for n in range(1, count + 1) if failed_logins.is_told(n)]

    assert told_of[0] == 1
    assert len(told_of) <= 1 + count.bit_length() / 2


def test_the_first_failure_is_told_and_then_the_fifth_and_the_twenty_fifth(olga):
    at = now().replace(minute=10)
    fail(olga, "10.0.0.7", times=24, at=at)

    assert told() == [
        "Logging in as Olga from one address failed at the password.",
        "Logging in as Olga from one address failed at the password 5 times within an hour.",
    ]


def test_a_name_that_nobody_has_is_told_from_the_fifth_on_and_never_named():
    fail(None, "10.0.0.7", times=4)
    assert told() == []

    fail(None, "10.0.0.7")

    (sentence,) = told()
    assert sentence.startswith("Logging in under names that nobody here has from one address")


def test_thousands_of_addresses_fill_no_trail(olga):
    at = now().replace(minute=10)
    for number in range(200):
        fail(olga, f"10.0.1.{number}", at=at)

    assert len(told()) == failed_logins.CROWD + 1
    assert "from several addresses failed at the password 125 times" in told()[-1]


@pytest.mark.parametrize(("step", "mails"), [("code", 1), ("password", 0)])
def test_who_is_guessed_at_after_the_right_password_is_told_once(
    olga, step, mails, django_capture_on_commit_callbacks
):
    at = now().replace(minute=10)
    with django_capture_on_commit_callbacks(execute=True):
        for number in range(30):
            failed_logins.note_failure(
                user=olga, address=f"10.0.1.{number}", step=step, now=at, via="page"
            )

    assert [one.to for one in mail.outbox] == [[olga.email]] * mails


def test_what_is_old_is_forgotten(olga):
    fail(olga, "10.0.0.7", at=now() - failed_logins.KEPT - timedelta(hours=2))
    fail(olga, "10.0.0.8")

    assert set(FailedLogIn.objects.values_list("address", flat=True)) == {"10.0.0.8", ""}


def test_five_wrong_codes_lock_an_address_and_no_other(olga):
    cache.clear()
    for _ in range(5):
        assert failed_logins.try_code(olga, "10.0.0.66")

    assert not failed_logins.try_code(olga, "10.0.0.66")
    assert failed_logins.try_code(olga, "10.0.0.7")
    failed_logins.forget_tries(olga, "10.0.0.66")
    assert failed_logins.try_code(olga, "10.0.0.66")
