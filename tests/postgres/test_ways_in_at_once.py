"""Two administrators, or one at two doors: nothing approves behind their back."""

from datetime import timedelta

import pytest
from time_machine import travel

from plans.models import RoleBinding, RoleRequest, User
from plans.people.account_changes import change_person, set_password
from plans.people.role_confirming import confirm_role
from plans.people.role_giving import give_role
from plans.refusal import Refused
from tests.postgres.at_once import at_once, lost, won
from tests.web.api_scene import now, person

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def seconds(scene):
    with travel(now() - timedelta(days=1), tick=False):
        return [person(name, console="administrator") for name in ("Bela", "Cleo")]


def opens(scene, by):
    return lambda: set_password(
        user_id=scene.aram.pk, password="x", reason="rang back", by=by, now=now(), via="page"
    )


def test_of_two_who_open_an_account_the_later_asks(scene, seconds):
    outcomes = at_once(opens(scene, scene.ada), opens(scene, seconds[0]))

    assert len(won(outcomes)) == 2
    assert not RoleBinding.objects.in_force(now()).filter(user=scene.aram).exists()
    assert RoleRequest.objects.filter(user=scene.aram, outcome="").count() == 1
    assert RoleRequest.objects.filter(user=scene.aram, outcome="withdrawn").count() == 1


def test_a_name_and_a_password_written_at_once_are_both_kept(scene, seconds):
    outcomes = at_once(
        opens(scene, seconds[0]),
        lambda: change_person(
            user_id=scene.aram.pk, changes={"name": "Aram II"}, by=scene.ada, now=now(), via="page"
        ),
    )

    assert len(won(outcomes)) == 2
    kept = User.objects.get(pk=scene.aram.pk)
    assert (kept.name, kept.check_password("x")) == ("Aram II", True)


def test_who_opens_and_confirms_at_once_has_not_confirmed(scene, seconds):
    asked = give_role(
        user=scene.aram, kind="approval", role="compliance",
        by=seconds[0], now=now(), via="page",
    )  # fmt: skip

    outcomes = at_once(
        opens(scene, scene.ada),
        lambda: confirm_role(request_id=asked.pk, by=scene.ada, now=now(), via="page"),
    )

    assert len(lost(outcomes, Refused)) <= 1
    assert not RoleBinding.objects.in_force(now()).filter(user=scene.aram).exists()
    waits = RoleRequest.objects.filter(user=scene.aram, outcome="")
    assert set(waits.values_list("role", "asked_by")) == {
        ("compliance", scene.ada.pk), ("system_admin", scene.ada.pk),
    }  # fmt: skip
