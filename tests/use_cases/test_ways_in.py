"""Who opens a way into an account, opens none to what it approves with: a second one confirms."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.core import mail
from django.core.management import CommandError, call_command

from plans.log_in.second_factors import must_have_factor, reset_factors
from plans.models import Event, MappedRole, RoleBinding, RoleRequest, User
from plans.people.account_changes import change_email, set_password
from plans.people.leavers import let_go, let_in
from plans.people.permissions import approval_roles, may
from plans.people.role_confirming import (
    NoSecondPerson,
    confirm_role,
    has_opened,
    open_requests_for,
    refuse_role,
    warning_of,
)
from plans.people.role_giving import LastAdministrator, give_role
from plans.people.ways_in import what_waits
from plans.refusal import BadInput, NotAllowed
from plans.sso.binding import NotBound, release_log_in
from plans.trail.events import check_chain
from tests.web.api_scene import Scene, now, person
from tests.web.factors import App

pytestmark = pytest.mark.django_db
WHY = "Rang back on the known number"
Act = Callable[..., Any]


def resets(user: User, by: User | None, **more: Any) -> None:
    App(user)
    reset_factors(user=user, by=by, reason=WHY, now=now(), via="page", **more)


def sets_password(user: User, by: User | None) -> None:
    set_password(
        user_id=user.pk, password="another long phrase", reason=WHY, by=by, now=now(), via="page"
    )


def changes_email(user: User, by: User | None) -> None:
    new = f"new-{User.objects.get(pk=user.pk).email}"
    change_email(user_id=user.pk, email=new, reason=WHY, by=by, now=now(), via="page")


def releases(user: User, by: User | None) -> None:
    SocialAccount.objects.create(user=user, provider="company", uid=f"{user.pk}")
    release_log_in(user_id=user.pk, reason=WHY, by=by, now=now(), via="page")


OPENING: dict[str, Act] = {
    "reset the second factors": resets,
    "set the password": sets_password,
    "changed the e-mail address": changes_email,
    "released the log-in at the company": releases,
}
BY_SOMEBODY_ELSE = ("reset the second factors", "released the log-in at the company")
WAITS = [("approval", "system_admin"), ("console", "break_glass"), ("console", "administrator")]
STAYS = [
    ("console", role)
    for role in ("viewer", "operator", "release_manager", "approver", "auditor", "telemetry")
]


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def seconds(scene) -> list[User]:
    """Two more who administer, since yesterday."""
    with time_machine.travel(now() - timedelta(days=1), tick=False):
        return [person(name, console="administrator") for name in ("Bela", "Cleo")]


def held(user: User) -> set[tuple[str, str]]:
    return set(RoleBinding.objects.in_force(now()).filter(user=user).values_list("kind", "role"))


def waiting(user: User) -> list[RoleRequest]:
    return list(RoleRequest.objects.filter(user=user, outcome="").order_by("asked_at", "role"))


def confirm(request: RoleRequest, by: User) -> None:
    confirm_role(request_id=request.pk, by=by, now=now(), via="page")


@pytest.mark.parametrize("done", OPENING)
@pytest.mark.parametrize(("kind", "role"), [*WAITS, *STAYS])
def test_what_takes_two_to_give_waits_and_nothing_else(scene, seconds, done, kind, role):
    until = now() + timedelta(days=30)
    RoleBinding.objects.create(
        user=scene.nils, kind=kind, role=role, selector={"region": "eu"}, expires_at=until
    )

    OPENING[done](scene.nils, scene.ada)

    if (kind, role) in STAYS:
        assert held(scene.nils) == {(kind, role)}
        assert not waiting(scene.nils)
        return
    assert held(scene.nils) == set()
    [asked] = waiting(scene.nils)
    assert (asked.kind, asked.role, asked.selector) == (kind, role, {"region": "eu"})
    assert (asked.expires_at, asked.asked_by) == (until, scene.ada)
    assert asked.why.startswith(f"Ada {done}: ")
    ended = RoleBinding.objects.get(user=scene.nils)
    assert (ended.ended_by, ended.ended_why) == (scene.ada, asked.why)


@pytest.mark.parametrize("done", OPENING)
def test_the_machine_and_people_themselves_open_nothing_to_others(scene, done):
    OPENING[done](scene.aram, None)
    assert held(scene.aram) == {("approval", "system_admin")}
    assert not waiting(scene.aram)
    if done not in BY_SOMEBODY_ELSE:
        OPENING[done](scene.ada, scene.ada)
        assert held(scene.ada) == {("console", "administrator")}


@pytest.mark.parametrize(
    ("done", "line"),
    [
        ("reset the second factors", "manage reset_mfa aram@example.org --reason WHY"),
        ("set the password", "manage set_password aram@example.org --reason WHY"),
        (
            "changed the e-mail address",
            "manage change_email aram@example.org new-aram@example.org --reason WHY",
        ),
        (
            "released the log-in at the company",
            "manage release_log_in aram@example.org --reason WHY",
        ),
    ],
)
def test_without_anybody_to_confirm_it_is_the_machines_to_do(scene, done, line):
    before = User.objects.values("email", "password").get(pk=scene.aram.pk)
    with pytest.raises(NoSecondPerson) as refusal:
        OPENING[done](scene.aram, scene.ada)
    assert line in refusal.value.sentence
    assert User.objects.values("email", "password").get(pk=scene.aram.pk) == before
    assert held(scene.aram) == {("approval", "system_admin")}
    assert not Event.objects.filter(actor=scene.ada).exists()


def test_operators_are_helped_by_one_administrator_alone(scene):
    for done in OPENING.values():
        done(scene.olga, scene.ada)
    assert may(User.objects.get(pk=scene.olga.pk), "rollback")


def test_the_trail_tells_what_waits_and_the_person_is_told(
    scene, seconds, django_capture_on_commit_callbacks
):
    RoleBinding.objects.create(user=scene.aram, kind="approval", role="compliance")
    told = (
        "the approval role compliance for all tenants and the approval role system_admin for all"
        " tenants wait until another administrator has confirmed them."
    )
    assert what_waits(scene.aram, by=scene.ada, now=now()) == f"Of Aram's roles, {told}"
    with django_capture_on_commit_callbacks(execute=True):
        resets(scene.aram, scene.ada)
    kinds = Event.objects.told_of(None).order_by("seq").values_list("kind", flat=True)
    assert list(kinds)[-4:] == ["factor_reset", "roles_wait", "role_asked", "role_asked"]
    event = Event.objects.get(kind="roles_wait")
    assert event.sentence == f"Ada reset the second factors of Aram: {told}"
    assert len(event.payload["ended"]) == len(event.payload["asked"]) == 2
    assert f"Of your roles, {told}" in mail.outbox[0].body
    assert check_chain("system").intact


def test_nobody_takes_an_approver_over_alone(scene, seconds):
    """Ada comes in as Aram, and approves nothing until somebody else has made sure of him."""
    bela, _cleo = seconds
    resets(scene.aram, scene.ada)
    assert approval_roles(scene.aram, at=now()) == set()
    [asked] = waiting(scene.aram)
    with pytest.raises(NotAllowed, match="another administrator"):
        confirm(asked, scene.ada)
    assert "Speak with Aram first" in warning_of(asked)
    confirm(asked, bela)
    assert approval_roles(scene.aram, at=now()) == {"system_admin"}
    assert not has_opened(scene.ada, scene.aram)


def test_who_opened_the_account_does_not_confirm_what_another_one_asked(scene, seconds):
    """Whether it was asked before or after: else one alone could, with another's good faith."""
    bela, cleo = seconds
    give_role(user=scene.nils, kind="approval", role="compliance", by=bela, now=now(), via="page")
    sets_password(scene.nils, scene.ada)
    [asked] = waiting(scene.nils)
    assert asked.asked_by == scene.ada
    refuse_role(request_id=asked.pk, why="", by=scene.ada, now=now(), via="page")
    give_role(user=scene.nils, kind="approval", role="compliance", by=bela, now=now(), via="page")
    [asked] = waiting(scene.nils)
    with pytest.raises(NotAllowed, match="You have opened a way"):
        confirm(asked, scene.ada)
    assert open_requests_for(scene.ada, now=now()) == [(asked, False)]
    confirm(asked, cleo)


def test_two_who_opened_it_one_after_the_other_need_a_third(scene, seconds):
    bela, cleo = seconds
    resets(scene.aram, scene.ada)
    resets(scene.aram, bela)
    [asked] = waiting(scene.aram)
    assert asked.asked_by == bela
    with pytest.raises(NotAllowed):
        confirm(asked, scene.ada)
    with pytest.raises(NoSecondPerson):
        resets(scene.aram, cleo)
    confirm(asked, cleo)
    assert held(scene.aram) == {("approval", "system_admin")}


def test_the_only_lasting_administrator_stays(scene, seconds):
    bela, cleo = seconds
    RoleBinding.objects.filter(user__in=[scene.ada, cleo]).update(
        expires_at=now() + timedelta(days=1)
    )
    with pytest.raises(LastAdministrator):
        sets_password(bela, scene.ada)
    assert held(bela) == {("console", "administrator")}


def test_what_the_company_vouches_for_ends_and_comes_back_with_its_log_in(scene, seconds):
    binding = RoleBinding.objects.get(user=scene.aram)
    MappedRole.objects.create(user=scene.aram, binding=binding, value="eu-approvers")
    assert "comes back with the next log-in at the company" in what_waits(
        scene.aram, by=scene.ada, now=now()
    )
    sets_password(scene.aram, scene.ada)
    assert held(scene.aram) == set()
    assert not waiting(scene.aram)


def test_a_released_log_in_is_gone_with_its_sessions_and_once(
    scene, django_capture_on_commit_callbacks
):
    with pytest.raises(NotAllowed, match="Another administrator has to release your own"):
        releases(scene.ada, scene.ada)
    with django_capture_on_commit_callbacks(execute=True):
        releases(scene.olga, scene.ada)
    assert not SocialAccount.objects.filter(user=scene.olga).exists()
    assert Event.objects.get(kind="sso_released").payload["subjects"] == [str(scene.olga.pk)]
    assert WHY in mail.outbox[0].body
    with pytest.raises(NotBound):
        release_log_in(user_id=scene.olga.pk, reason=WHY, by=scene.ada, now=now(), via="page")
    with pytest.raises(BadInput):
        release_log_in(user_id=scene.olga.pk, reason=" ", by=scene.ada, now=now(), via="page")


def test_it_is_released_on_the_machine(scene, capsys):
    SocialAccount.objects.create(user=scene.aram, provider="company", uid="aram")
    call_command("release_log_in", "aram@example.org", "--reason", WHY)
    assert "with aram@example.org is bound" in capsys.readouterr().out
    assert held(scene.aram) == {("approval", "system_admin")}


def test_nothing_of_an_old_address_leads_in(scene, seconds):
    EmailAddress.objects.create(user=scene.aram, email="ada2@example.org", verified=True)
    SocialAccount.objects.create(user=scene.aram, provider="company", uid="ada2")
    changes_email(scene.aram, scene.ada)
    assert not EmailAddress.objects.filter(user=scene.aram).exists()
    assert not SocialAccount.objects.filter(user=scene.aram).exists()
    assert Event.objects.get(kind="person_email_changed").payload["company_log_in_unbound"]


@pytest.mark.parametrize(
    ("email", "problem"),
    [
        ("aram", "is no e-mail address"),
        ("ARAM@example.org", "has this address already"),
        ("Olga@example.org", "somebody else has"),
    ],
)
def test_an_address_that_cannot_be_is_refused(scene, seconds, email, problem):
    with pytest.raises(BadInput, match=problem):
        change_email(
            user_id=scene.aram.pk, email=email, reason="", by=scene.ada, now=now(), via="page"
        )
    assert held(scene.aram) == {("approval", "system_admin")}


def test_who_does_not_administer_opens_nothing(scene):
    for done in OPENING.values():
        with pytest.raises(NotAllowed):
            done(scene.nils, scene.mara)
    with pytest.raises(BadInput, match="say how you know"):
        set_password(
            user_id=scene.nils.pk, password="x", reason=" ", by=scene.ada, now=now(), via="page"
        )


def test_a_password_that_is_taken_away_opens_nothing(scene):
    set_password(
        user_id=scene.aram.pk, password=None, reason=WHY, by=scene.ada, now=now(), via="page"
    )
    assert not User.objects.get(pk=scene.aram.pk).has_usable_password()
    assert held(scene.aram) == {("approval", "system_admin")}


def test_who_comes_back_brings_nothing_that_approves(scene, seconds):
    let_go(user_id=scene.aram.pk, why="left", by=scene.ada, now=now(), via="page")
    let_in(user_id=scene.aram.pk, by=scene.ada, now=now(), via="page")
    assert held(scene.aram) == set()
    assert not waiting(scene.aram)


def test_whose_roles_wait_enrols_a_factor_first(scene, seconds, settings):
    settings.REQUIRE_MFA = True
    resets(scene.aram, scene.ada)
    assert must_have_factor(scene.aram, at=now())


def test_the_commands_change_and_tell(scene, monkeypatch):
    typed = iter(["a longer secret phrase", "another one altogether"] + ["a longer phrase 77"] * 2)
    monkeypatch.setattr("plans.management.commands.set_password.getpass", lambda _q: next(typed))
    with pytest.raises(CommandError, match="two different"):
        call_command("set_password", "aram@example.org", reason=WHY)
    call_command("set_password", "aram@example.org", reason=WHY)
    call_command("change_email", "aram@example.org", "a@example.org", reason=WHY)
    aram = User.objects.get(email="a@example.org")
    assert aram.check_password("a longer phrase 77")
    assert held(aram) == {("approval", "system_admin")}
    for kind in ("person_password_set", "person_email_changed"):
        assert Event.objects.get(kind=kind).sentence.startswith("The console ")
    with pytest.raises(CommandError, match="already"):
        call_command("change_email", "a@example.org", "a@example.org", reason=WHY)
