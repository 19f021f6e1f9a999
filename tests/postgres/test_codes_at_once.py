"""One code, twenty at once: of all who bring it one comes in."""

import pytest

from plans.log_in import failed_logins
from plans.log_in.second_factors import WrongCode, use_code
from plans.models import FailedLogIn
from tests.postgres.at_once import at_once, lost, won
from tests.web.api_scene import now
from tests.web.factors import App

pytestmark = pytest.mark.django_db(transaction=True)
CROWD = 20


def test_of_twenty_who_bring_one_code_one_comes_in(scene):
    app, at = App(scene.olga), now()
    code = app.code(at=at.timestamp())

    outcomes = at_once(*[lambda: use_code(user=scene.olga, code=code, now=at)] * CROWD)

    assert len(won(outcomes)) == 1
    assert len(lost(outcomes, WrongCode)) == CROWD - 1


def test_of_twenty_who_bring_one_recovery_code_one_comes_in(scene):
    code = App(scene.olga).recovery.get_unused_codes()[0]

    outcomes = at_once(*[lambda: use_code(user=scene.olga, code=code, now=now())] * CROWD)

    assert len(won(outcomes)) == 1
    assert len(lost(outcomes, WrongCode)) == CROWD - 1


def test_of_twenty_failures_at_once_all_are_counted(scene):
    at = now()

    def fail():
        failed_logins.note_failure(
            user=scene.olga, address="10.0.0.7", step="code", now=at, via="page"
        )
        return True

    outcomes = at_once(*[fail] * CROWD)

    assert len(won(outcomes)) == CROWD
    assert set(FailedLogIn.objects.values_list("count", flat=True)) == {CROWD}
