"""Critical acts take a second factor of the last five minutes: on pages, in the admin, over REST.

Named here with what they change; what takes something back, ends or holds asks for none.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from plans import flags
from plans.models import ApiToken, Event, Flag, Release, RoleBinding, RoleRequest, TrustKey, User
from plans.people.role_giving import give_role
from plans.releases.signature import new_key
from plans.releases.standing import quarantine_release
from tests.web.api_scene import Scene, configure, now, person, post
from tests.web.factors import App, logged_in
from tests.web.page_scene import said, text_of

pytestmark = pytest.mark.django_db
STEP_UP = "/accounts/step-up/"
Posted = tuple[str, dict[str, Any]]


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    """A release in quarantine, and a role for Nils that waits for Ada."""
    cache.clear()
    configure(settings, tmp_path)
    scene = Scene()
    bela = person("Bela", console="administrator")
    RoleBinding.objects.filter(user=scene.ada).update(created_at=now() - timedelta(days=1))
    quarantine_release(
        release_id=scene.release.pk, reason="looks odd", by=scene.ada, now=now(), via="page"
    )
    give_role(user=scene.nils, kind="console", role="break_glass", by=bela, now=now(), via="page")
    settings.REQUIRE_MFA = True
    return scene


@pytest.fixture
def app(scene) -> App:
    return App(scene.ada)


def seen(scene: Scene) -> dict[str, Any]:
    """Return all that one of the acts could have changed."""
    return {
        "keys": sorted(TrustKey.objects.values_list("key_id", "not_after", "revoked_at")),
        "releases": list(Release.objects.values_list("state", flat=True)),
        "roles": RoleBinding.objects.count(),
        "requests": sorted(RoleRequest.objects.values_list("role", "outcome")),
        "tokens": ApiToken.objects.exclude(name="test").count(),
        "switches": sorted(Flag.objects.values_list("name", "enabled")),
    }


def public_key() -> str:
    return new_key().public_pem


def waiting() -> Any:
    return RoleRequest.objects.get().pk


def chosen(action: str, row: Any, **more: str) -> dict[str, Any]:
    return {"action": action, "confirmed": action, "_selected_action": [str(row)], **more}


PAGES: dict[str, Callable[[Scene], Posted]] = {
    "trust a key": lambda s: (reverse("key-new"), {"name": "b", "public_key": public_key()}),
    "let a key end": lambda s: (
        reverse("key-retire", args=[s.key.key_id]),
        {"not_after": f"{now() + timedelta(days=1):%Y-%m-%dT%H:%M}"},
    ),
    "revoke a key": lambda s: (reverse("key-revoke", args=[s.key.key_id]), {"reason": "lost"}),
    "lift a quarantine": lambda s: (
        reverse("release-lift", args=[s.release.pk]), {"reason": "looked at"},
    ),
    "make a token": lambda s: (reverse("token-new"), {"name": "pipeline", "days": 9}),
    "confirm a role": lambda s: (reverse("role-confirm", args=[waiting()]), {}),
    "give a role": lambda s: (
        reverse("role-give"),
        {"person": "nils@example.org", "console_role": "viewer", "why": "new here"},
    ),
    "give a role in the admin": lambda s: (
        reverse("admin:plans_rolebinding_add"),
        {"user": s.nils.pk, "kind": "console", "role": "viewer", "selector": "{}"},
    ),
    "confirm a role in the admin": lambda s: (
        reverse("admin:plans_rolerequest_changelist"), chosen("confirm", waiting()),
    ),
    "make a machine's token in the admin": lambda s: (
        reverse("admin:plans_apitoken_add"),
        {"user": s.nils.pk, "name": "m", "days": 3, "selector": "{}"},
    ),
    "trust a key in the admin": lambda s: (
        reverse("admin:plans_trustkey_add"),
        {"key_id": "k9", "name": "b", "public_key": public_key(), "not_before_0": "2026-01-01",
         "not_before_1": "00:00", "not_after_0": "2036-01-01", "not_after_1": "00:00"},
    ),
    "revoke a key in the admin": lambda s: (
        reverse("admin:plans_trustkey_changelist"),
        chosen("revoke", TrustKey.objects.get().pk, reason="x"),
    ),
    "let only people roll back": lambda s: (
        reverse("admin:plans_flag_add"), {"name": flags.ROLLBACK, "reason": "x"},
    ),
}  # fmt: skip
REST: dict[str, Callable[[Scene], Posted]] = {
    "trust a key": lambda s: (
        "/api/v1/keys/",
        {"name": "b", "public_key": public_key(), "not_after": "2036-01-01T00:00:00Z"},
    ),
    "let a key end": lambda s: (
        f"/api/v1/keys/{s.key.key_id}/retire",
        {"not_after": (now() + timedelta(days=1)).isoformat()},
    ),
    "revoke a key": lambda s: (f"/api/v1/keys/{s.key.key_id}/revoke", {"reason": "lost"}),
    "lift a quarantine": lambda s: (
        f"/api/v1/releases/{s.release.pk}/lift", {"reason": "looked at"},
    ),
    "give a role": lambda s: (
        "/api/v1/roles/",
        {"person": "nils@example.org", "kind": "console", "role": "viewer"},
    ),
    "confirm a role": lambda s: (f"/api/v1/role-requests/{waiting()}/confirm", {}),
}  # fmt: skip


def prove(browser: Client, app: App) -> None:
    browser.post(STEP_UP, {"code": app.code(), "next": "/"})


@pytest.mark.parametrize("act", PAGES)
def test_a_page_asks_for_the_factor_keeps_what_was_typed_and_then_does_it(scene, app, act):
    browser = logged_in(scene.ada, app, ahead=-1)
    session = browser.session
    for record in session["account_authentication_methods"]:
        record["at"] -= 360
    session.save()
    before = seen(scene)
    where, given = PAGES[act](scene)

    asked = browser.post(where, given)

    assert asked["Location"].startswith(STEP_UP), asked.content
    assert seen(scene) == before
    prove(browser, app)
    done = browser.post(where, given)
    assert not done.get("Location", "").startswith(STEP_UP)
    assert seen(scene) != before, done.content.decode()[:2000]


@pytest.mark.parametrize("act", REST)
def test_rest_takes_a_code(scene, app, act):
    client = scene.client(scene.ada)
    before = seen(scene)
    where, given = REST[act](scene)

    for code in ({}, {"code": ""}, {"code": "000000"}):
        refused = post(client, where, given | code)
        assert refused.status_code == 403, refused.json()
        assert refused.json()["code"] in {"step_up_required", "wrong_code"}
        assert seen(scene) == before
    done = post(client, where, given | {"code": app.code()})
    assert done.status_code in {200, 201}, done.json()
    assert seen(scene) != before


@pytest.mark.parametrize("act", REST)
def test_who_may_not_is_told_so_and_keeps_the_code(scene, act):
    mara = App(scene.mara)
    where, given = REST[act](scene)
    client, code = scene.client(scene.mara), mara.code()
    refused = post(client, where, given | {"code": code})
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    assert not Event.objects.filter(kind="stepped_up").exists()


def test_what_is_refused_anyway_asks_for_no_factor(scene, app):
    """One's own request, and a role that is held already: no code is used up, no page asks."""
    own = give_role(
        user=scene.mara, kind="console", role="break_glass", by=scene.ada, now=now(), via="page"
    )
    client, code = scene.client(scene.ada), app.code()
    confirmed = post(client, f"/api/v1/role-requests/{own.pk}/confirm", {"code": code})
    held = {"person": "olga@example.org", "kind": "console", "role": "operator"}
    given = post(client, "/api/v1/roles/", held | {"code": code})
    browser = logged_in(scene.ada, app, ahead=-1)
    session = browser.session
    for record in session["account_authentication_methods"]:
        record["at"] -= 360
    session.save()
    page = browser.post(reverse("role-confirm", args=[own.pk]))
    listed = browser.post(
        reverse("admin:plans_rolerequest_changelist"), chosen("confirm", own.pk), follow=True
    )

    assert (confirmed.status_code, given.status_code, page.status_code) == (403, 409, 403)
    assert given.json()["code"] == "holds_it_already"
    for refused in (confirmed.json()["detail"], said(listed), text_of(page)):
        assert "You asked for this role yourself" in refused
    assert not Event.objects.filter(kind="stepped_up").exists()


def test_a_token_makes_its_successor_by_itself(scene):
    """It opens nothing that was not open: no wider, no longer."""
    client = scene.client(scene.olga)
    ApiToken.objects.filter(user=scene.olga).update(expires_at=now() + timedelta(days=9))
    made = post(client, "/api/v1/tokens/", {"name": "next", "days": 8})
    assert made.status_code == 201, made.json()
    wider = post(client, "/api/v1/tokens/", {"name": "longer", "days": 30})
    assert wider.status_code == 403


def test_what_holds_or_ends_asks_for_nothing(scene, app):
    browser = logged_in(scene.ada, app, ahead=-1)
    session = browser.session
    for record in session["account_authentication_methods"]:
        record["at"] -= 360
    session.save()
    stop = {"name": flags.ORCHESTRATOR, "reason": "stop for the holidays"}
    browser.post(reverse("admin:plans_flag_add"), stop)
    assert not flags.is_on(flags.ORCHESTRATOR)
    olga = RoleBinding.objects.get(user=scene.olga)
    browser.post(
        reverse("admin:plans_rolebinding_changelist"), chosen("end", olga.pk, reason="left")
    )
    assert RoleBinding.objects.get(pk=olga.pk).ended_at is not None
    browser.post(
        reverse("admin:plans_user_changelist"), chosen("let_go", scene.mara.pk, reason="left")
    )
    assert not User.objects.get(pk=scene.mara.pk).is_active


def test_a_switch_is_turned_back_only_with_the_factor():
    on, off = True, False
    assert flags.lets_more_happen(flags.ROLLBACK, on=off)
    assert not flags.lets_more_happen(flags.ROLLBACK, on=on)
    for name in (flags.ORCHESTRATOR, flags.POLICY):
        assert flags.lets_more_happen(name, on=on)
        assert not flags.lets_more_happen(name, on=off)


def test_a_password_for_somebody_takes_the_factor_and_waits_in_no_session(scene, app):
    browser = logged_in(scene.ada, app, ahead=-1)
    session = browser.session
    for record in session["account_authentication_methods"]:
        record["at"] -= 360
    session.save()
    where = reverse("admin:auth_user_password_change", args=[scene.nils.pk])
    given = {"usable_password": "true", "password1": "correct horse 9", "password2": "x"}
    asked = browser.post(where, given)
    assert asked["Location"].startswith(STEP_UP)
    assert "correct horse" not in str(dict(browser.session))
