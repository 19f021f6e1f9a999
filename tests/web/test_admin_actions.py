"""The admin pages: administrators only, the same use cases as everywhere."""

from datetime import timedelta

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from plans import flags
from plans.models import ApiToken, Event, Flag, Policy, Release, RoleBinding, Tenant, TrustKey, User
from tests.web.api_scene import POLICY_TEXT, Scene, now, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def ada(scene: Scene) -> Client:
    return logged_in(scene.ada)


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def lists() -> list[str]:
    own = [m for m in admin.site._registry if m._meta.app_label in ("plans", "batches")]
    return [f"admin:{m._meta.app_label}_{m._meta.model_name}_changelist" for m in own]


def said(response) -> str:
    return " ".join(str(message) for message in response.context["messages"])


@pytest.mark.parametrize("name", lists())
def test_an_administrator_sees_every_list(ada, name):
    assert ada.get(reverse(name)).status_code == 200


@pytest.mark.parametrize("name", lists())
def test_nobody_else_sees_any_list(scene, name):
    assert logged_in(scene.olga).get(reverse(name)).status_code in (302, 403)
    to_login = Client().get(reverse(name))
    assert to_login.status_code == 302


def test_the_log_in_of_the_admin_is_the_one_with_the_second_factor():
    answer = Client().get("/admin/login/?next=/admin/")
    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("account_login"))


def test_staff_without_the_administrators_role_look_but_do_not_touch(scene):
    clerk = logged_in(person("Carl", is_staff=True))
    assert clerk.get(reverse("admin:plans_tenant_changelist")).status_code == 200
    assert clerk.get(reverse("admin:plans_tenant_add")).status_code == 403
    assert clerk.get(reverse("admin:plans_apitoken_add")).status_code == 403


@pytest.mark.parametrize(
    "model", ["event", "release", "policy", "trustkey", "installation", "apitoken"]
)
def test_what_happened_is_neither_changed_nor_deleted(ada, model):
    row = {"event": Event, "release": Release, "policy": Policy, "trustkey": TrustKey}.get(model)
    if row is None:
        return
    pk = row.objects.first().pk
    change = reverse(f"admin:plans_{model}_change", args=[pk])
    assert ada.get(change).status_code == 200
    assert ada.post(change, {}).status_code == 403
    assert ada.post(reverse(f"admin:plans_{model}_delete", args=[pk])).status_code == 403
    assert row.objects.filter(pk=pk).exists()


def test_a_token_is_shown_once_and_then_never(ada, scene):
    given = {"user": scene.olga.pk, "name": "pager", "days": 7, "scopes": ["read", "operate"]}
    made = ada.post(reverse("admin:plans_apitoken_add"), given)
    secret = made.context["secret"]
    token = ApiToken.objects.get()
    assert secret in made.content.decode()
    assert "no-store" in made["Cache-Control"]
    assert token.scopes == ["read", "operate"]
    later = ada.get(reverse("admin:plans_apitoken_change", args=[token.pk])).content.decode()
    assert "pager" in later
    assert secret not in later
    assert token.token_hash not in later


def test_a_token_is_revoked_after_a_page_that_asks(ada, scene):
    scene.client(scene.olga)
    token = ApiToken.objects.get()
    where = reverse("admin:plans_apitoken_changelist")
    chosen = {"action": "revoke", "_selected_action": [str(token.pk)]}
    asked = ada.post(where, chosen)
    assert "cannot be undone" in asked.content.decode()
    assert ApiToken.objects.get().revoked_at is None
    answer = ada.post(where, chosen | {"confirmed": "revoke"}, follow=True)
    assert "done (Revoke)" in said(answer)
    assert ApiToken.objects.get().revoked_at is not None
    again = ada.post(where, chosen | {"confirmed": "revoke"}, follow=True)
    assert "revoked already" in said(again)


def test_a_key_is_revoked_only_with_a_reason(ada, scene):
    where = reverse("admin:plans_trustkey_changelist")
    key = TrustKey.objects.get()
    chosen = {"action": "revoke", "_selected_action": [str(key.pk)], "confirmed": "revoke"}
    assert "Say why" in ada.post(where, chosen).content.decode()
    assert TrustKey.objects.get().revoked_at is None
    ada.post(where, chosen | {"reason": "lost laptop"})
    assert TrustKey.objects.get().revoked_at is not None
    assert Event.objects.filter(kind="key_revoked", sentence__contains="lost laptop").exists()


def test_a_release_comes_in_by_its_envelope_only(ada, scene):
    where = reverse("admin:plans_release_add")
    ada.post(where, {"envelope": scene.envelope("pay", "2.0.0")})
    assert Release.objects.filter(version="2.0.0", registered_by=scene.ada).exists()
    back = {"HTTP_REFERER": f"http://testserver{where}"}
    refused = ada.post(where, {"envelope": "{}"}, follow=True, **back)
    assert "not a signed release" in said(refused)
    assert Release.objects.count() == 2


def test_a_key_is_trusted_and_a_policy_saved_by_their_use_cases(ada, scene):
    fresh = scene.key._replace(key_id="second")
    dates = {
        "not_before_0": "2026-01-01", "not_before_1": "00:00",
        "not_after_0": "2030-01-01", "not_after_1": "00:00",
    }  # fmt: skip
    given = {"key_id": fresh.key_id, "name": "spare", "public_key": fresh.public_pem,
             "plugins": "pay, mail"}  # fmt: skip
    ada.post(reverse("admin:plans_trustkey_add"), given | dates)
    assert TrustKey.objects.get(key_id="second").plugins == ["pay", "mail"]
    changed = POLICY_TEXT.replace("error_rate: 5", "error_rate: 4")
    ada.post(reverse("admin:plans_policy_add"), {"text": changed})
    assert Policy.objects.filter(name="safe-rollout").count() == 2


def test_a_changed_tenant_is_told_in_the_trail_and_keeps_its_key(ada):
    acorn = Tenant.objects.get(key="acorn")
    where = reverse("admin:plans_tenant_change", args=[acorn.pk])
    ada.post(where, {"key": "oak", "name": "Acorn Ltd", "labels": "{}"})
    acorn.refresh_from_db()
    assert (acorn.key, acorn.name) == ("acorn", "Acorn Ltd")
    event = Event.objects.get(kind="tenant_changed")
    assert "Ada changed the tenant acorn" in event.sentence
    assert "name" in event.payload["fields"]
    history = ada.get(reverse("admin:plans_tenant_auditlog", args=[acorn.pk]))
    assert "Acorn Ltd" in history.content.decode()


def test_a_person_is_made_and_the_trail_never_holds_the_password(ada):
    given = {"email": "Tess@Example.org", "name": "Tess", "usable_password": "true",
             "password1": "correct horse 9", "password2": "correct horse 9"}  # fmt: skip
    ada.post(reverse("admin:plans_user_add"), given)
    tess = User.objects.get(email="tess@example.org")
    assert tess.check_password("correct horse 9")
    event = Event.objects.get(kind="user_added")
    assert "Tess" in event.sentence
    assert "horse" not in str(event.payload)


def test_nobody_gives_an_approval_role_to_oneself(ada, scene):
    where = reverse("admin:plans_rolebinding_add")
    given = {"user": scene.ada.pk, "kind": "approval", "role": "system_admin", "selector": "{}"}
    assert "Another administrator" in ada.post(where, given).content.decode()
    assert not RoleBinding.objects.filter(user=scene.ada, kind="approval").exists()
    ada.post(where, given | {"user": scene.nils.pk})
    assert RoleBinding.objects.filter(user=scene.nils, role="system_admin").exists()


def test_a_role_is_taken_away_and_that_is_told(ada, scene):
    binding = RoleBinding.objects.get(user=scene.olga)
    ada.post(reverse("admin:plans_rolebinding_delete", args=[binding.pk]), {"post": "yes"})
    assert not RoleBinding.objects.filter(pk=binding.pk).exists()
    assert Event.objects.filter(kind="rolebinding_removed").exists()


def test_a_switch_is_turned_by_its_use_case(ada):
    where = reverse("admin:plans_flag_add")
    ada.post(where, {"name": flags.ORCHESTRATOR, "reason": "stop for the holidays"})
    assert not flags.is_on(flags.ORCHESTRATOR)
    change = reverse("admin:plans_flag_change", args=[flags.ORCHESTRATOR])
    ada.post(change, {"enabled": "on", "reason": "back to work"})
    assert Flag.objects.get().enabled
    assert Event.objects.filter(kind="flag_turned").count() == 2


def test_an_expired_role_gives_nothing(scene):
    RoleBinding.objects.filter(user=scene.ada).update(expires_at=now() - timedelta(days=1))
    User.objects.filter(pk=scene.ada.pk).update(is_superuser=False)
    former = logged_in(User.objects.get(pk=scene.ada.pk))
    assert former.get(reverse("admin:plans_tenant_add")).status_code == 403
