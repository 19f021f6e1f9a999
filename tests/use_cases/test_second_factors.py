"""Second factors: who needs one, codes that count once, and a lost one that is taken away."""

from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.management import CommandError, call_command

from plans.log_in.second_factors import (
    NoFactor,
    WrongCode,
    has_factor,
    must_have_factor,
    reset_factors,
    use_code,
)
from plans.models import Event, RoleBinding, User
from plans.refusal import BadInput, NotAllowed
from tests.web.api_scene import now, person
from tests.web.factors import App, logged_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def olga() -> User:
    return person("Olga", console="operator")


@pytest.fixture
def ada() -> User:
    return person("Ada", console="administrator", is_staff=True, is_superuser=True)


@pytest.mark.parametrize(
    ("roles", "needed"),
    [
        ({"console": "operator"}, True),
        ({"console": "release_manager"}, True),
        ({"console": "administrator"}, True),
        ({"console": "approver"}, True),
        ({"approval": "system_admin"}, True),
        ({"console": "viewer", "approval": "system_admin"}, True),
        ({"is_superuser": True}, True),
        ({"is_staff": True}, True),
        ({"console": "viewer"}, False),
        ({"console": "auditor"}, False),
        ({}, False),
    ],
)
def test_who_may_act_needs_one_and_who_only_looks_does_not(settings, roles, needed):
    settings.REQUIRE_MFA = True

    assert must_have_factor(person("Olga", **roles), at=now()) is needed


def test_nobody_needs_one_for_a_role_that_has_expired(settings, olga):
    settings.REQUIRE_MFA = True
    RoleBinding.objects.update(expires_at=now() - timedelta(seconds=1))

    assert not must_have_factor(olga, at=now())


def test_a_code_counts_once(olga):
    app, at = App(olga), now()
    code = app.code(at=at.timestamp())

    assert use_code(user=olga, code=code, now=at).type == "totp"
    with pytest.raises(WrongCode):
        use_code(user=olga, code=code, now=at)


def test_a_code_older_than_the_last_one_is_used_up_with_it(olga):
    app, at = App(olga), now()
    older = app.code(at=at.timestamp(), ahead=-1)
    use_code(user=olga, code=app.code(at=at.timestamp()), now=at)

    with pytest.raises(WrongCode):
        use_code(user=olga, code=older, now=at)


def test_a_recovery_code_counts_once(olga):
    app = App(olga)
    code = app.recovery.get_unused_codes()[0]

    assert use_code(user=olga, code=f" {code[:4]} {code[4:]} ", now=now()).type == "recovery_codes"
    with pytest.raises(WrongCode):
        use_code(user=olga, code=code, now=now())


def test_somebody_elses_code_and_no_code_are_wrong(olga, ada):
    App(olga)
    other, at = App(ada), now()

    for code in (
        other.code(at=at.timestamp()),
        "",
        "000000000",
        other.recovery.get_unused_codes()[0],
    ):
        with pytest.raises(WrongCode):
            use_code(user=olga, code=code, now=at)


def test_secrets_are_not_readable_in_the_database(olga):
    app = App(olga)

    kept = [str(row.data) for row in Authenticator.objects.filter(user=olga)]

    assert app.secret not in "".join(kept)
    assert not any(code in "".join(kept) for code in app.recovery.get_unused_codes())


def test_secrets_outlive_a_change_of_the_secret_key(settings, olga):
    app, at = App(olga), now()
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "a new one"

    assert use_code(user=olga, code=app.code(at=at.timestamp()), now=at)


# ---- a lost factor


def test_an_administrator_resets_what_is_lost_and_the_person_is_told(
    olga, ada, django_capture_on_commit_callbacks
):
    app = App(olga)
    browser = logged_in(olga, app)

    with django_capture_on_commit_callbacks(execute=True):
        reset_factors(user=olga, by=ada, reason="Lost phone; rang back", now=now(), via="admin")

    assert not has_factor(olga)
    assert not Authenticator.objects.filter(user=olga).exists()
    assert browser.get("/plans/").status_code == 302
    assert not Session.objects.exists()
    event = Event.objects.get(kind="factor_reset")
    assert "Ada: Lost phone; rang back" in event.sentence
    assert event.payload["sessions_ended"] == 1
    (told,) = [one for one in mail.outbox if one.to == [olga.email]]
    assert "Lost phone; rang back" in told.body


def test_nobody_resets_their_own(ada):
    App(ada)

    with pytest.raises(NotAllowed, match="Another administrator"):
        reset_factors(user=ada, by=ada, reason="mine", now=now(), via="admin")

    assert has_factor(ada)


def test_only_administrators_reset(olga, ada):
    App(ada)

    with pytest.raises(NotAllowed):
        reset_factors(user=ada, by=olga, reason="because", now=now(), via="api")


def test_a_reset_takes_a_reason_and_something_to_reset(olga, ada):
    with pytest.raises(NoFactor):
        reset_factors(user=olga, by=ada, reason="lost", now=now(), via="admin")
    App(olga)
    with pytest.raises(BadInput, match="reason"):
        reset_factors(user=olga, by=ada, reason="  ", now=now(), via="admin")


def test_a_mail_that_cannot_be_sent_stops_nothing(
    settings, olga, ada, django_capture_on_commit_callbacks
):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    App(olga)

    with django_capture_on_commit_callbacks(execute=True):
        reset_factors(user=olga, by=ada, reason="lost", now=now(), via="admin")

    assert not has_factor(olga)


def test_the_machine_resets_the_only_administrator(ada, capsys):
    App(ada)

    call_command("reset_mfa", "ADA@example.org", reason="Both phones were stolen")

    assert "Taken away from Ada" in capsys.readouterr().out
    assert Event.objects.get(kind="factor_reset").actor is None
    with pytest.raises(CommandError, match="no second factor"):
        call_command("reset_mfa", "ada@example.org", reason="again")
    with pytest.raises(CommandError, match="no person"):
        call_command("reset_mfa", "nobody@example.org", reason="again")
