"""Roles: given, confirmed by a second administrator, ended, never edited; people who leave."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command

from plans.approvals import approval
from plans.models import ApiToken, Event, RoleBinding, RoleRequest, User
from plans.people.leavers import let_go, let_in
from plans.people.machine_access import make_token
from plans.people.permissions import approval_roles, may
from plans.people.role_confirming import (
    AskerGone,
    DecidedAlready,
    NoSecondPerson,
    confirm_role,
    open_requests_for,
    refuse_role,
)
from plans.people.role_giving import HasEnded, LastAdministrator, end_role, give_role
from plans.people.role_records import HoldsItAlready
from plans.refusal import BadInput, NotAllowed, NotFound, Refused
from plans.trail.events import check_chain
from tests.builders import a_draft
from tests.web.api_scene import Scene, now, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def bela(scene) -> User:
    """Somebody else who administers, since yesterday."""
    with time_machine.travel(now() - timedelta(days=1), tick=False):
        return person("Bela", console="administrator")


def given(scene: Scene, user: User, role: str = "operator", **more: Any) -> RoleBinding:
    wanted: dict[str, Any] = {
        "kind": "console", "by": scene.ada, "now": now(), "via": "page", **more,
    }  # fmt: skip
    made = give_role(user=user, role=role, **wanted)
    assert isinstance(made, RoleBinding)
    return made


def asked(scene: Scene, **more: Any) -> RoleRequest:
    wanted: dict[str, Any] = {
        "user": scene.ada, "kind": "approval", "role": "system_admin", "by": scene.ada,
        "now": now(), "via": "page", "why": "Aram is on leave", **more,
    }  # fmt: skip
    made = give_role(**wanted)
    assert isinstance(made, RoleRequest)
    return made


def last_event() -> Event:
    return Event.objects.told_of(None).order_by("-seq")[0]


def test_a_role_counts_at_once_and_the_trail_says_who_gave_it_and_why(scene):
    binding = given(scene, scene.nils, why="joins the shift", selector={"region": "eu"})
    assert may(scene.nils, "pause")
    assert (binding.given_by, binding.why) == (scene.ada, "joins the shift")
    told = last_event()
    assert (told.kind, told.actor) == ("role_given", scene.ada)
    assert told.sentence == "Ada made Nils operator (console role) for region=eu: joins the shift."
    assert check_chain("system").intact


def test_all_that_is_wrong_with_a_role_is_told_at_once(scene):
    scene.nils.is_active = False
    with pytest.raises(BadInput) as refusal:
        given(
            scene, scene.nils, "king", selector={"region": 5}, expires_at=now() - timedelta(days=1)
        )
    assert len(refusal.value.problems) == 4
    assert not RoleBinding.objects.filter(user=scene.nils).exists()


def test_only_who_administers_all_gives_roles(scene):
    RoleBinding.objects.filter(user=scene.ada).update(selector={"region": "eu"})
    with pytest.raises(NotAllowed, match="over all tenants"):
        given(scene, scene.nils)
    with pytest.raises(NotAllowed):
        given(scene, scene.nils, by=scene.mara)


def test_the_same_role_is_given_once_for_other_tenants_beside_it(scene):
    given(scene, scene.nils, selector={"region": "eu"})
    given(scene, scene.nils, selector={"region": "us"})
    with pytest.raises(HoldsItAlready):
        given(scene, scene.nils, selector={"region": "us"})


def test_a_role_that_has_run_out_is_given_again_and_both_stay(scene):
    given(scene, scene.nils, expires_at=now() + timedelta(hours=1))
    with time_machine.travel(now() + timedelta(hours=2), tick=False):
        assert not may(scene.nils, "pause")
        given(scene, scene.nils)
        assert may(scene.nils, "pause")
    assert RoleBinding.objects.filter(user=scene.nils).count() == 2


def test_an_own_approval_role_waits_for_a_second_administrator(scene, bela):
    request = asked(scene)
    assert approval_roles(scene.ada, at=now()) == set()
    assert open_requests_for(bela, now=now()) == [(request, True)]
    assert open_requests_for(scene.ada, now=now()) == [(request, False)]
    with pytest.raises(NotAllowed, match="another administrator"):
        confirm_role(request_id=request.pk, by=scene.ada, now=now(), via="page")
    binding = confirm_role(request_id=request.pk, by=bela, now=now(), via="page")
    assert approval_roles(scene.ada, at=now()) == {"system_admin"}
    assert (binding.given_by, binding.confirmed_by) == (scene.ada, bela)
    assert "confirmed by Bela: Aram is on leave" in last_event().sentence
    with pytest.raises(DecidedAlready):
        confirm_role(request_id=request.pk, by=bela, now=now(), via="page")


def test_who_became_an_administrator_after_the_request_is_not_the_second(scene, bela):
    """Else whoever asks would make the second person, too."""
    request = asked(scene)
    given(scene, scene.nils, "administrator", by=None)
    with pytest.raises(NotAllowed, match="after this was asked"):
        confirm_role(request_id=request.pk, by=scene.nils, now=now(), via="page")
    assert approval_roles(scene.ada, at=now()) == set()


def test_who_administers_some_tenants_only_is_not_the_second(scene, bela):
    request = asked(scene)
    RoleBinding.objects.filter(user=bela).update(selector={"region": "eu"})
    with pytest.raises(NotAllowed):
        confirm_role(request_id=request.pk, by=bela, now=now(), via="page")


def test_a_request_is_refused_with_a_reason_or_taken_back(scene, bela):
    request = asked(scene)
    with pytest.raises(BadInput, match="say why"):
        refuse_role(request_id=request.pk, why=" ", by=bela, now=now(), via="page")
    refuse_role(request_id=request.pk, why="Sona can", by=bela, now=now(), via="page")
    assert "Bela refused Ada's request to be system_admin: Sona can." in last_event().sentence
    again = asked(scene)
    refuse_role(request_id=again.pk, why="", by=scene.ada, now=now(), via="page")
    assert RoleRequest.objects.get(pk=again.pk).outcome == "withdrawn"
    assert approval_roles(scene.ada, at=now()) == set()


def test_the_same_request_is_made_once(scene, bela):
    asked(scene)
    with pytest.raises(HoldsItAlready):
        asked(scene)


OF_TWO = [
    ("approval", "system_admin"), ("console", "break_glass"), ("console", "administrator"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "role"), OF_TWO)
def test_nobody_alone_lets_somebody_else_approve_either(scene, bela, kind, role):
    """Two accounts of one person would be one person who acts alone."""
    request = asked(scene, user=scene.nils, kind=kind, role=role, selector={"region": "eu"})
    assert not RoleBinding.objects.filter(user=scene.nils).exists()
    assert "Ada asked that Nils becomes" in last_event().sentence
    for alone in (scene.ada, person("Cora", console="administrator")):
        with pytest.raises(NotAllowed):
            confirm_role(request_id=request.pk, by=alone, now=now(), via="page")
    binding = confirm_role(request_id=request.pk, by=bela, now=now(), via="page")
    assert (binding.user, binding.kind, binding.role) == (scene.nils, kind, role)
    assert (binding.selector, binding.given_by) == ({"region": "eu"}, scene.ada)
    assert check_chain("system").intact


def test_who_is_to_hold_a_role_does_not_confirm_it(scene, bela):
    cora = person("Cora", console="administrator")
    request = asked(scene, user=bela)
    with pytest.raises(NotAllowed, match="is for you"):
        confirm_role(request_id=request.pk, by=bela, now=now(), via="page")
    confirm_role(request_id=request.pk, by=cora, now=now(), via="page")
    assert approval_roles(bela, at=now()) == {"system_admin"}


@pytest.mark.parametrize(("kind", "role"), OF_TWO)
def test_without_a_second_administrator_the_machine_gives_it_and_the_trail_tells(scene, kind, role):
    with pytest.raises(NoSecondPerson) as refused:
        asked(scene, user=scene.nils, kind=kind, role=role, selector={"region": "eu"})
    assert not RoleRequest.objects.exists()
    command = refused.value.sentence.partition("./console manage ")[2].split()
    call_command(*command, stdout=StringIO())
    held = RoleBinding.objects.get(user=scene.nils)
    assert (held.kind, held.role, held.selector) == (kind, role, {"region": "eu"})
    told = last_event()
    assert (told.kind, told.actor, told.via) == ("role_given", None, "command")


def test_who_asked_and_administers_no_more_is_not_half_of_two(scene, bela):
    request = asked(scene, user=scene.nils)
    end_role(
        binding_id=RoleBinding.objects.get(user=scene.ada).pk, why="moved", by=bela, now=now(),
        via="page",
    )  # fmt: skip
    with pytest.raises(AskerGone, match="Ada, who asked for this, administers no more"):
        confirm_role(request_id=request.pk, by=bela, now=now(), via="page")


def test_what_a_leaver_asked_for_others_waits_no_more(scene, bela):
    request = asked(scene, user=scene.nils)
    let_go(user_id=scene.ada.pk, why="left", by=bela, now=now(), via="page")
    assert RoleRequest.objects.get(pk=request.pk).outcome == "withdrawn"


def test_what_the_machine_gave_meanwhile_is_not_confirmed_again(scene, bela):
    request = asked(scene, user=scene.nils)
    given(scene, scene.nils, "system_admin", kind="approval", by=None)
    with pytest.raises(HoldsItAlready):
        confirm_role(request_id=request.pk, by=bela, now=now(), via="page")
    assert RoleRequest.objects.get(pk=request.pk).outcome == ""


def test_an_administrator_as_such_approves_nothing(scene):
    plan = a_draft(scene)
    approval.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")
    with pytest.raises(approval.HoldsNoRole):
        approval.approve(plan_id=plan.pk, approver=scene.ada, now=now(), via="page")


def test_an_ended_role_gives_nothing_and_stays_to_be_read(scene):
    binding = RoleBinding.objects.get(user=scene.olga)
    before = now()
    end_role(binding_id=binding.pk, why="changed teams", by=scene.ada, now=now(), via="page")
    assert not may(scene.olga, "pause")
    kept = RoleBinding.objects.get(pk=binding.pk)
    assert (kept.ended_by, kept.ended_why) == (scene.ada, "changed teams")
    assert RoleBinding.objects.held_on(before).filter(pk=binding.pk).exists()
    assert not RoleBinding.objects.held_on(now()).filter(pk=binding.pk).exists()
    with pytest.raises(HasEnded):
        end_role(binding_id=binding.pk, why="again", by=scene.ada, now=now(), via="page")


def test_a_role_ends_with_a_reason_and_by_who_may(scene):
    binding = RoleBinding.objects.get(user=scene.olga)
    with pytest.raises(BadInput):
        end_role(binding_id=binding.pk, why="", by=scene.ada, now=now(), via="page")
    with pytest.raises(NotAllowed):
        end_role(binding_id=binding.pk, why="x", by=scene.olga, now=now(), via="page")
    with pytest.raises(NotFound):
        end_role(binding_id=scene.ada.pk, why="x", by=scene.ada, now=now(), via="page")


def test_the_last_administrator_stays(scene, bela):
    mine = RoleBinding.objects.get(user=scene.ada)
    end_role(
        binding_id=RoleBinding.objects.get(user=bela).pk, why="x", by=scene.ada, now=now(),
        via="page",
    )  # fmt: skip
    with pytest.raises(LastAdministrator):
        end_role(binding_id=mine.pk, why="x", by=scene.ada, now=now(), via="page")
    # One whose role ends next week is nobody to rely on.
    given(scene, scene.nils, "administrator", by=None, expires_at=now() + timedelta(days=7))
    with pytest.raises(LastAdministrator):
        let_go(user_id=scene.ada.pk, why="x", by=scene.ada, now=now(), via="page")
    given(scene, scene.olga, "administrator", by=None)
    end_role(binding_id=mine.pk, why="x", by=scene.ada, now=now(), via="page")
    assert not may(scene.ada, "administer")


def test_who_leaves_loses_account_roles_and_tokens_at_once(scene):
    made = make_token(user=scene.olga, name="x", days=9, by=None, now=now(), via="command")
    let_go(user_id=scene.olga.pk, why="left the company", by=scene.ada, now=now(), via="page")
    olga = User.objects.get(pk=scene.olga.pk)
    assert not olga.is_active
    assert not RoleBinding.objects.in_force(now()).filter(user=olga).exists()
    assert ApiToken.objects.get(pk=made.token.pk).revoked_by == scene.ada
    assert last_event().sentence == (
        "Ada let Olga in no more: 1 role and 1 token ended: left the company."
    )
    with pytest.raises(Refused, match="not active already"):
        let_go(user_id=olga.pk, why="x", by=scene.ada, now=now(), via="page")


def test_who_comes_back_has_no_role(scene):
    let_go(user_id=scene.olga.pk, why="leave", by=scene.ada, now=now(), via="page")
    olga = let_in(user_id=scene.olga.pk, by=scene.ada, now=now(), via="page")
    assert olga.is_active
    assert not may(olga, "view")
    with pytest.raises(Refused, match="active already"):
        let_in(user_id=olga.pk, by=scene.ada, now=now(), via="page")


def test_only_who_administers_lets_people_go(scene):
    with pytest.raises(NotAllowed):
        let_go(user_id=scene.olga.pk, why="x", by=scene.mara, now=now(), via="page")
    with pytest.raises(NotAllowed):
        let_in(user_id=scene.olga.pk, by=scene.mara, now=now(), via="page")


def test_the_superuser_bit_gives_nothing_and_its_maker_a_binding(scene):
    User.objects.filter(pk=scene.nils.pk).update(is_superuser=True)
    assert not may(User.objects.get(pk=scene.nils.pk), "administer")
    assert may(User.objects.create_superuser("eva@example.org", name="Eva"), "administer")


@pytest.mark.parametrize(
    ("password", "name", "says"),
    [
        ("short", "Eva", "at least 12"),
        ("password1234", "Eva", "too common"),
        ("Correct-Horse-9-Battery", "", "--name"),
    ],
)
def test_a_script_makes_the_first_account_with_a_name_and_a_good_password(
    scene, monkeypatch, password, name, says
):
    def make() -> None:
        call_command("createsuperuser", interactive=False, email="eva@example.org", stdout=out)

    out = StringIO()
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", password)
    if name:
        monkeypatch.setenv("DJANGO_SUPERUSER_NAME", name)
    with pytest.raises(CommandError, match=says):
        make()
    assert not User.objects.filter(email="eva@example.org").exists()

    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "Correct-Horse-9-Battery")
    monkeypatch.setenv("DJANGO_SUPERUSER_NAME", "Eva")
    make()
    assert may(User.objects.get(email="eva@example.org"), "administer")


def test_the_machine_gives_a_role_when_nobody_can(scene):
    call_command("give_role", "nils@example.org", "administrator", stdout=StringIO())
    assert may(scene.nils, "administer")
    assert last_event().actor is None
    for wrong in (["nobody@example.org", "viewer"], ["nils@example.org", "king"]):
        with pytest.raises(CommandError):
            call_command("give_role", *wrong, stdout=StringIO())
