"""Logging in: locks that lock nobody out, sessions that end, passwords that are long."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.password_validation import validate_password
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.test import Client

from plans.models import Event, User
from tests.builders import a_started
from tests.web.api_scene import Scene, configure, now
from tests.web.factors import PASSWORD, App, give_password, logged_in, with_password
from tests.web.page_scene import text_of

pytestmark = pytest.mark.django_db
ELSEWHERE: Any = {"REMOTE_ADDR": "10.0.0.66"}
OFFICE: Any = {"REMOTE_ADDR": "10.0.0.7"}


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    cache.clear()
    configure(settings, tmp_path)
    return Scene()


def errors(answer) -> str:
    return " ".join(answer.context["form"].non_field_errors())


def kinds() -> list[str]:
    return list(Event.objects.filter(stream__key="system").values_list("kind", flat=True))


# ---- locks


def test_who_guesses_elsewhere_locks_only_themselves_out(scene):
    with_password(scene.olga)
    for _ in range(5):
        give_password(Client(), scene.olga, "a wrong password", **ELSEWHERE)

    locked = give_password(Client(), scene.olga, PASSWORD, **ELSEWHERE)
    let_in = give_password(Client(), scene.olga, PASSWORD, **OFFICE)

    assert "Too many failed login attempts" in errors(locked)
    assert let_in.status_code == 302


def test_wrong_codes_elsewhere_lock_nobody_out_either(scene):
    app = App(scene.olga)
    guesser = Client(**ELSEWHERE)
    give_password(guesser, with_password(scene.olga))
    for _ in range(6):
        answer = guesser.post("/accounts/2fa/authenticate/", {"code": "000000"})
    assert "Too many wrong codes" in answer.context["form"].errors["code"][0]

    assert logged_in(scene.olga, app, **OFFICE).get("/plans/").status_code == 200


def test_a_live_session_pauses_whatever_is_locked(scene, settings):
    settings.REQUIRE_MFA = True
    plan = a_started(scene)
    browser = logged_in(scene.olga, App(scene.olga), **OFFICE)
    for _ in range(8):
        give_password(Client(), scene.olga, "a wrong password", **OFFICE)
        browser.post("/accounts/step-up/", {"code": "000000"})

    browser.post(f"/plans/{plan.pk}/pause/", {"reason": "it smells"})

    assert str(type(plan).objects.get(pk=plan.pk).state) == "paused"


def test_a_right_password_gives_no_tries_back_to_who_guesses_in_between(scene):
    with_password(scene.olga)
    for _ in range(4):
        give_password(Client(), scene.olga, "a wrong password", **ELSEWHERE)
    give_password(Client(), scene.olga, PASSWORD, **ELSEWHERE)
    give_password(Client(), scene.olga, "a wrong password", **ELSEWHERE)

    assert "Too many failed" in errors(give_password(Client(), scene.olga, PASSWORD, **ELSEWHERE))


def test_the_address_is_not_what_the_client_says(scene):
    with_password(scene.olga)
    for number in range(5):
        said = {"headers": {"x-forwarded-for": f"10.9.9.{number}"}}
        give_password(Client(), scene.olga, "a wrong password", **said, **ELSEWHERE)

    assert "Too many failed" in errors(give_password(Client(), scene.olga, PASSWORD, **ELSEWHERE))


def test_the_answer_does_not_tell_whether_the_name_exists(scene):
    with_password(scene.olga)
    nobody = Client().post(
        "/accounts/login/", {"login": "nobody@example.org", "password": "a wrong password"}
    )
    somebody = give_password(Client(), scene.olga, "a wrong password")

    assert errors(nobody) == errors(somebody) != ""
    assert nobody.status_code == somebody.status_code


def test_nor_does_the_way_back_to_a_password(scene):
    answers = [
        Client().post("/accounts/password/reset/", {"email": email})
        for email in (scene.olga.email, "nobody@example.org")
    ]

    assert {(one.status_code, one["Location"]) for one in answers} == {
        (302, "/accounts/password/reset/done/")
    }


def test_an_unknown_name_is_never_written_down(scene):
    for _ in range(5):
        Client().post("/accounts/login/", {"login": "hunter2@example.org", "password": "x" * 12})

    event = Event.objects.get(kind="login_failed")
    assert "hunter2" not in event.sentence + str(event.payload)


@time_machine.travel("2026-03-02T09:00:00Z", tick=False)
def test_an_address_that_tries_everybody_is_locked(scene):
    for number in range(30):
        Client().post(
            "/accounts/login/",
            {"login": f"n{number}@example.org", "password": "a wrong password"},
            **ELSEWHERE,
        )

    locked = give_password(Client(), with_password(scene.olga), PASSWORD, **ELSEWHERE)

    assert "Too many failed" in errors(locked)
    assert give_password(Client(), scene.olga, PASSWORD, **OFFICE).status_code == 302


def test_an_address_that_tries_too_fast_is_told_to_wait(scene, settings):
    settings.ACCOUNT_RATE_LIMITS = {"login": "1/m/ip"}
    give_password(Client(), scene.olga, "a wrong password", **ELSEWHERE)

    answer = give_password(Client(), scene.olga, "a wrong password", **ELSEWHERE)

    assert answer.status_code == 429
    assert "Too many tries from this address" in text_of(answer)


# ---- the trail


def test_logging_in_and_out_is_told_with_how_and_from_where(scene):
    browser = logged_in(scene.olga, App(scene.olga), **OFFICE)
    browser.post("/accounts/logout/")

    assert kinds()[-2:] == ["logged_in", "logged_out"]
    event = Event.objects.get(kind="logged_in")
    assert event.sentence == "Olga logged in with a password and an authenticator app."
    # Beside the event, where it can be erased.
    assert event.address.address == "10.0.0.7"
    assert event.payload["methods"] == ["password", "totp"]


def test_a_recovery_code_says_how_many_are_left(scene):
    app = App(scene.olga)
    browser = Client()
    give_password(browser, with_password(scene.olga))

    browser.post("/accounts/2fa/authenticate/", {"code": app.recovery.get_unused_codes()[3]})

    assert "a recovery code (9 are left)" in Event.objects.get(kind="logged_in").sentence


# ---- sessions


def test_the_session_gets_a_new_name_at_log_in_and_is_gone_at_log_out(scene):
    browser = Client()
    browser.get("/accounts/login/")
    session = browser.session
    session["before"] = True
    session.save()
    browser.cookies["sessionid"] = str(session.session_key)
    give_password(browser, with_password(scene.olga))
    key = browser.session.session_key

    assert key != session.session_key
    assert not Session.objects.filter(session_key=session.session_key).exists()
    browser.post("/accounts/logout/")
    assert not Session.objects.filter(session_key=key).exists()


def test_a_session_that_nobody_uses_ends(scene, settings):
    browser = logged_in(scene.olga)

    with time_machine.travel(now() + timedelta(minutes=settings.SESSION_IDLE_MINUTES + 1)):
        answer = browser.get("/plans/")
        page = browser.get(answer["Location"])

    assert answer["Location"].startswith("/accounts/login/")
    assert "Nobody had used your session" in text_of(page)


def test_a_session_in_use_ends_all_the_same(scene, settings):
    settings.SESSION_HOURS, settings.SESSION_IDLE_MINUTES = 2, 60
    start = now()
    with time_machine.travel(start):
        browser = logged_in(scene.olga)
    for minutes in (50, 100, 119):
        with time_machine.travel(start + timedelta(minutes=minutes)):
            assert browser.get("/plans/").status_code == 200

    with time_machine.travel(start + timedelta(minutes=121)):
        assert browser.get("/plans/").status_code == 302


def test_one_logs_out_everywhere_else(scene):
    here, there = logged_in(scene.olga), logged_in(scene.olga)
    stranger = logged_in(scene.rita)

    page = here.get("/accounts/sessions/")
    assert page.context["session_count"] == 2
    here.post("/accounts/sessions/")

    assert here.get("/plans/").status_code == 200
    assert there.get("/plans/").status_code == 302
    assert stranger.get("/plans/").status_code == 200
    assert Event.objects.get(kind="sessions_ended").payload == {"sessions": 1}


# ---- passwords


@pytest.mark.parametrize(
    "password", ["correct horse battery", "ßöä漢字漢字漢字漢字漢", "a" * 40 + "b"]
)
def test_a_long_password_needs_no_odd_signs(password):
    validate_password(password)


@pytest.mark.parametrize("password", ["Sh0rt!Sign$", "qwerty123456", "olga@example.org"])
def test_a_short_or_common_password_or_ones_own_name_is_refused(scene, password):
    with pytest.raises(ValidationError):
        validate_password(password, scene.olga)


def test_a_new_password_takes_the_old_one_and_is_told(scene, django_capture_on_commit_callbacks):
    here, there = logged_in(scene.olga), logged_in(scene.olga)
    wanted = {"password1": "another long phrase", "password2": "another long phrase"}
    where = "/accounts/password/change/"
    with django_capture_on_commit_callbacks(execute=True):
        here.post(where, {"oldpassword": "not the old one", **wanted})
        assert "password_changed" not in kinds()
        here.post(where, {"oldpassword": PASSWORD, **wanted})

    assert kinds().count("password_changed") == 1
    assert [one.to for one in mail.outbox] == [[scene.olga.email]]
    assert there.get("/plans/").status_code == 302


def test_passwords_and_codes_may_be_pasted(scene):
    page = Client().get("/accounts/login/").content.decode()

    assert "onpaste" not in page
    assert 'autocomplete="current-password"' in page


# ---- the first account


def test_where_nobody_has_an_account_the_page_says_how_the_first_is_made(client):
    page = text_of(client.get("/accounts/login/"))
    assert "Nobody has an account here yet" in page
    assert "./console manage createsuperuser" in page
    User.objects.create_user("ada@example.org", name="Ada")
    page = text_of(client.get("/accounts/login/"))
    assert "createsuperuser" not in page
    assert "An administrator of this console makes one for you" in page
