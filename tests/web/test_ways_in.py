"""The doors through which administrators open an account: they say before what waits then."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib import admin
from django.core.cache import cache
from django.test import Client, RequestFactory
from django.urls import reverse

from plans.admin.people import PersonAdmin
from plans.log_in.second_factors import has_factor
from plans.models import Event, RoleBinding, RoleRequest, User
from plans.people.account_changes import change_person, set_password
from plans.people.leavers import let_go
from plans.people.permissions import approval_roles
from plans.refusal import BadInput, NotAllowed
from tests.web.api_scene import Scene, configure, handed_in, now, person, post, url
from tests.web.factors import App, give_password, logged_in
from tests.web.page_scene import browser, said, text_of

pytestmark = pytest.mark.django_db
WHY = {"reason": "Lost the phone; rang back"}
NEW = {"password1": "a longer secret phrase", "password2": "a longer secret phrase"}
WAITS = "roles, the approval role system_admin for all tenants waits until another administrator"


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    cache.clear()
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture
def bela(scene) -> User:
    """Somebody else who administers, since yesterday."""
    made = person("Bela", console="administrator", is_staff=True)
    RoleBinding.objects.filter(user=made).update(created_at=now() - timedelta(days=1))
    return made


def password_of(user: User) -> str:
    return reverse("admin:auth_user_password_change", args=[user.pk])


def person_of(user: User) -> str:
    return reverse("admin:plans_user_change", args=[user.pk])


def written(user: User, **changes: Any) -> dict[str, Any]:
    return {"email": user.email, "name": user.name, **changes}


def test_what_others_write_meanwhile_stays(scene, bela):
    """Ada's page was read before Bela let Aram in no more and wrote another password."""
    stale = User.objects.get(pk=scene.aram.pk)
    set_password(
        user_id=scene.aram.pk, password="x", reason="rang back", by=bela, now=now(), via="page"
    )
    let_go(user_id=scene.aram.pk, why="left", by=bela, now=now(), via="page")
    request = RequestFactory().post(person_of(scene.aram))
    request.user = scene.ada
    stale.name = "Aram II"

    form: Any = SimpleNamespace(changed_data=["name"])
    PersonAdmin(User, admin.site).save_model(request, stale, form, change=True)

    kept = User.objects.get(pk=scene.aram.pk)
    assert (kept.name, kept.is_active, kept.check_password("x")) == ("Aram II", False, True)
    told = Event.objects.get(kind="user_changed")
    assert told.sentence == "Ada changed the person Aram II <aram@example.org> (name)."


def test_a_name_is_written_by_the_page_and_only_by_administrators(scene):
    ada = logged_in(scene.ada, App(scene.ada))
    ada.post(person_of(scene.aram), written(scene.aram, name="Aram II"))
    assert User.objects.get(pk=scene.aram.pk).name == "Aram II"
    for changes in ({"is_active": False}, {"name": " "}):
        with pytest.raises(BadInput):
            change_person(
                user_id=scene.aram.pk, changes=changes, by=scene.ada, now=now(), via="admin"
            )
    with pytest.raises(NotAllowed):
        change_person(
            user_id=scene.aram.pk, changes={"name": "A"}, by=scene.mara, now=now(), via="admin"
        )


def post_json(client: Client, where: str, given: dict[str, Any]) -> Any:
    return client.post(where, given, content_type="application/json")


def aged(client: Client) -> Client:
    """Let what the session has proved be over five minutes ago."""
    session = client.session
    for record in session["account_authentication_methods"]:
        record["at"] -= 360
    session.save()
    return client


def test_nobody_approves_in_the_name_of_whose_factors_they_reset(scene, bela, settings):
    """Ada resets, comes in as Aram and enrols; Bela confirms what he may, once she knows."""
    plan = handed_in(scene)
    settings.REQUIRE_MFA = True
    RoleBinding.objects.create(user=scene.aram, kind="console", role="viewer")
    App(scene.aram)
    adas, belas = App(scene.ada), App(bela)
    where = "/api/v1/people/aram@example.org/reset-factors"
    done = post(scene.client(scene.ada), where, {**WHY, "code": adas.code()})
    assert done.status_code == 200, done.json()
    [waits] = done.json()["waiting"]
    assert (waits["role"], waits["asked_by"]) == ("system_admin", "ada@example.org")
    assert waits["warning"].startswith("Ada has opened a way into Aram's account.")

    as_aram = logged_in(scene.aram)
    assert "Of your roles, the approval role system_admin" in text_of(as_aram.get(reverse("enrol")))
    stolen = App(scene.aram)
    as_aram = logged_in(scene.aram, stolen, ahead=-1)
    assert as_aram.get("/api/v1/me/").json()["waiting_roles"] == ["system_admin"]
    approve = url("approve", str(plan.pk))
    refused = post_json(as_aram, approve, {"code": stolen.code()})
    assert (refused.status_code, refused.json()["code"]) == (403, "holds_no_role")

    confirm = f"/api/v1/role-requests/{waits['request_id']}/confirm"
    own = post(scene.client(scene.ada), confirm, {"code": adas.code(ahead=1)})
    assert (own.status_code, own.json()["code"]) == (403, "not_allowed")
    assert post(scene.client(bela), confirm, {"code": belas.code()}).status_code == 200
    agreed = post_json(as_aram, approve, {"code": stolen.code(ahead=1)})
    assert agreed.status_code == 200, agreed.json()


def test_rest_says_what_to_type_where_nobody_could_confirm(scene):
    App(scene.aram)
    where = "/api/v1/people/aram@example.org/reset-factors"
    refused = post(scene.client(scene.ada), where, WHY)
    assert (refused.status_code, refused.json()["code"]) == (409, "no_second_person")
    assert "manage reset_mfa aram@example.org" in refused.json()["detail"]
    assert has_factor(scene.aram)


def test_the_page_of_the_reset_says_before_what_waits(scene, bela):
    App(scene.aram)
    App(scene.olga)
    asked = {"action": "reset_factors", "_selected_action": [scene.aram.pk, scene.olga.pk]}
    page = text_of(browser(scene.ada).post(reverse("admin:plans_user_changelist"), asked))
    assert WAITS in page
    assert "Of Olga" not in page
    assert has_factor(scene.aram)


def test_a_password_is_set_with_a_reason_after_saying_what_waits(scene, bela):
    client, where = browser(scene.ada), password_of(scene.aram)
    assert WAITS in text_of(client.get(where))
    assert "This field is required" in text_of(client.post(where, NEW))
    wrong = client.post(where, {**NEW, **WHY, "password2": "something else 99"})
    assert "match" in text_of(wrong)
    assert approval_roles(scene.aram, at=now()) == {"system_admin"}

    answer = client.post(where, {**NEW, **WHY}, follow=True)

    assert "has been told by mail" in said(answer)
    assert User.objects.get(pk=scene.aram.pk).check_password(NEW["password1"])
    assert approval_roles(scene.aram, at=now()) == set()
    assert "secret phrase" not in str(list(Event.objects.values_list("sentence", "payload")))
    people = text_of(client.get(reverse("admin:plans_user_changelist")))
    assert "system_admin" in people


def test_a_password_is_taken_away(scene, bela):
    scene.aram.set_password("a longer secret phrase")
    scene.aram.save()
    given = {"usable_password": "false", **WHY}
    browser(scene.ada).post(password_of(scene.aram), given)
    assert not User.objects.get(pk=scene.aram.pk).has_usable_password()
    assert approval_roles(scene.aram, at=now()) == {"system_admin"}


def test_ones_own_password_leaves_one_logged_in(scene):
    client = browser(scene.ada)
    client.post(password_of(scene.ada), {**NEW, **WHY})
    assert give_password(Client(), scene.ada, NEW["password1"]).status_code == 302
    assert not RoleRequest.objects.exists()


def test_no_password_waits_in_a_session(scene, bela, settings):
    settings.REQUIRE_MFA = True
    client = aged(logged_in(scene.ada, App(scene.ada), ahead=-1))
    for answer in (
        client.get(password_of(scene.aram)),
        client.post(password_of(scene.aram), {**NEW, **WHY}),
    ):
        assert answer["Location"].startswith("/accounts/step-up/")
    assert "secret phrase" not in str(dict(client.session))
    assert approval_roles(scene.aram, at=now()) == {"system_admin"}


def test_another_address_takes_ones_factor_and_says_before_what_waits(scene, bela, settings):
    settings.REQUIRE_MFA = True
    app = App(scene.ada)
    client, where = aged(logged_in(scene.ada, app, ahead=-1)), person_of(scene.aram)
    assert WAITS in text_of(client.get(where))
    given = written(scene.aram, email="aram2@example.org")
    assert client.post(where, given)["Location"].startswith("/accounts/step-up/")
    assert approval_roles(scene.aram, at=now()) == {"system_admin"}
    client.post("/accounts/step-up/", {"code": app.code(), "next": "/"})
    assert client.post(where, given).status_code == 302
    assert User.objects.get(pk=scene.aram.pk).email == "aram2@example.org"
    assert approval_roles(scene.aram, at=now()) == set()


def test_another_name_opens_nothing(scene, bela):
    browser(scene.ada).post(person_of(scene.aram), written(scene.aram, name="Aram B."))
    assert User.objects.get(pk=scene.aram.pk).name == "Aram B."
    assert approval_roles(scene.aram, at=now()) == {"system_admin"}
    assert not Event.objects.filter(kind="person_email_changed").exists()


def test_without_anybody_to_confirm_the_address_stays(scene):
    given = written(scene.aram, email="aram2@example.org")
    answer = browser(scene.ada).post(person_of(scene.aram), given, follow=True)
    assert "manage change_email aram@example.org" in said(answer)
    assert User.objects.get(pk=scene.aram.pk).email == "aram@example.org"


@pytest.mark.parametrize("where", [password_of, person_of])
def test_who_does_not_administer_gets_no_form(scene, where):
    User.objects.filter(pk=scene.rita.pk).update(is_staff=True)
    rita = browser(User.objects.get(pk=scene.rita.pk))
    rita.post(where(scene.aram), {**NEW, **WHY, **written(scene.aram, email="x@example.org")})
    kept = User.objects.get(pk=scene.aram.pk)
    assert kept.email == "aram@example.org"
    assert not kept.check_password(NEW["password1"])
    nils = browser(scene.nils)
    assert nils.get(where(scene.aram)).status_code in (302, 403)


def test_the_second_one_reads_what_to_make_sure_of(scene, bela):
    App(scene.aram)
    post(scene.client(scene.ada), "/api/v1/people/aram@example.org/reset-factors", WHY)
    page = text_of(browser(bela).get(reverse("access-review")))
    assert "Ada has opened a way into Aram&#x27;s account. Speak with Aram first" in page
    assert "Ada reset the second factors: Lost the phone; rang back" in page
    review = scene.client(scene.rita).get("/api/v1/access-review").json()["held"]
    [asked] = [line for line in review if line["kind"] == "asked"]
    assert asked["why"] == "Ada reset the second factors: Lost the phone; rang back"
