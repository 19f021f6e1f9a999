"""The admin pages: administrators only, the same use cases as everywhere."""

from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from plans import flags
from plans.models import (
    ApiToken,
    Event,
    Flag,
    Plan,
    Policy,
    Release,
    RoleBinding,
    RoleRequest,
    Tenant,
    TrustKey,
    User,
)
from plans.people.role_giving import end_role
from tests.web.api_scene import POLICY_TEXT, Scene, configure, now, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
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


@pytest.mark.parametrize("model", [Event, Release, Policy, TrustKey])
def test_what_happened_is_neither_changed_nor_deleted(ada, model):
    pk, name = model.objects.first().pk, model._meta.model_name
    change = reverse(f"admin:plans_{name}_change", args=[pk])
    assert ada.get(change).status_code == 200
    assert ada.post(change, {}).status_code == 403
    assert ada.post(reverse(f"admin:plans_{name}_delete", args=[pk])).status_code == 403
    assert model.objects.filter(pk=pk).exists()


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


def test_nobody_alone_gives_an_approval_role(ada, scene):
    bela = person("Bela", console="administrator")
    where = reverse("admin:plans_rolebinding_add")
    given = {"user": scene.ada.pk, "kind": "approval", "role": "system_admin", "selector": "{}"}
    assert "Another administrator has to confirm" in said(ada.post(where, given, follow=True))
    ada.post(where, given | {"user": scene.nils.pk})
    waiting = RoleRequest.objects.order_by("asked_at").values_list("user", "asked_by")
    assert list(waiting) == [(scene.ada.pk, scene.ada.pk), (scene.nils.pk, scene.ada.pk)]
    assert not RoleBinding.objects.filter(user__in=(scene.ada, scene.nils), kind="approval")
    end_role(
        binding_id=bela.role_bindings.get().pk, why="left", by=scene.ada, now=now(), via="page"
    )
    # Alone she is told what to type on the machine, and nothing is kept.
    assert "console manage give_role" in said(
        ada.post(where, given | {"user": scene.olga.pk}, follow=True)
    )


def test_a_role_is_taken_away_and_that_is_told(ada, scene):
    binding = RoleBinding.objects.get(user=scene.olga)
    delete = reverse("admin:plans_rolebinding_delete", args=[binding.pk])
    assert ada.post(delete, {"post": "yes"}).status_code == 403
    where = reverse("admin:plans_rolebinding_changelist")
    chosen = {"action": "end", "_selected_action": [str(binding.pk)], "confirmed": "end"}
    assert "Say why" in ada.post(where, chosen).content.decode()
    ada.post(where, chosen | {"reason": "moved"})
    assert RoleBinding.objects.get(pk=binding.pk).ended_by == scene.ada
    assert Event.objects.filter(kind="role_ended", sentence__contains="moved").exists()


def test_a_lost_second_factor_is_reset_by_another_and_its_secret_never_shown(ada, scene):
    for user in (scene.olga, scene.ada):
        Authenticator.objects.create(user=user, type="totp", data={"secret": "JBSWY3DP"})
    lost = Authenticator.objects.get(user=scene.olga)
    page = ada.get(reverse("admin:mfa_authenticator_change", args=[lost.pk])).content.decode()
    assert "JBSWY3DP" not in page
    delete = reverse("admin:mfa_authenticator_delete", args=[lost.pk])
    assert ada.post(delete, {"post": "yes"}).status_code == 403
    both = {"_selected_action": [scene.olga.pk, scene.ada.pk], "action": "reset_factors"}
    answer = ada.post(
        reverse("admin:plans_user_changelist"),
        {**both, "confirmed": "reset_factors", "reason": "Called back on the office phone"},
        follow=True,
    )
    assert Authenticator.objects.get().user == scene.ada
    assert "Another administrator has to reset your own" in said(answer)
    assert Event.objects.get(kind="factor_reset").payload["user"] == str(scene.olga.pk)


def test_resetting_a_second_factor_takes_ones_own(ada, scene, settings):
    settings.REQUIRE_MFA = True
    Authenticator.objects.create(user=scene.olga, type="totp", data={"secret": "JBSWY3DP"})
    answer = ada.post(
        reverse("admin:plans_user_changelist"),
        {
            "_selected_action": [scene.olga.pk],
            "action": "reset_factors",
            "confirmed": "reset_factors",
        },
    )
    assert answer.status_code in (302, 403)
    assert Authenticator.objects.filter(user=scene.olga).exists()


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
    former = logged_in(User.objects.get(pk=scene.ada.pk))
    assert former.get(reverse("admin:plans_tenant_add")).status_code == 403


# ---- plans


@pytest.fixture
def plan(scene: Scene) -> Plan:
    given = {
        "external_id": "pay-7", "plugin": "pay", "to_version": "1.5.0", "policy": "safe-rollout",
        "deployer": "fleet", "tenants": "all",
    }  # fmt: skip
    answer = scene.client(scene.mara).post("/internal/version/upgrade/plan", given, format="json")
    assert answer.status_code == 201
    return Plan.objects.get()


def act(client: Client, name: str, plan: Plan, **given: str):
    chosen = {"action": name, "_selected_action": [str(plan.pk)], "confirmed": name}
    return client.post(reverse("admin:plans_plan_changelist"), chosen | given, follow=True)


def state_of(plan: Plan) -> str:
    return str(Plan.objects.get(pk=plan.pk).state)


def staff(user: User) -> Client:
    User.objects.filter(pk=user.pk).update(is_staff=True)
    return logged_in(User.objects.get(pk=user.pk))


def test_a_plan_goes_its_way_by_acts_that_ask_first(scene, plan):
    mara, olga = staff(scene.mara), staff(scene.olga)
    where = reverse("admin:plans_plan_changelist")
    asked = mara.post(where, {"action": "submit", "_selected_action": [str(plan.pk)]})
    assert "The approvers are asked" in asked.content.decode()
    assert state_of(plan) == "draft"
    act(mara, "submit", plan)
    assert state_of(plan) == "awaiting_approval"
    for approver in (scene.aram, scene.sona):
        act(staff(approver), "approve", plan)
    assert state_of(plan) == "approved"
    act(olga, "start", plan)
    act(olga, "pause", plan, reason="odd")
    assert state_of(plan) == "paused"
    act(olga, "resume", plan)
    assert state_of(plan) == "running"
    act(olga, "roll_back", plan, reason="errors")
    assert state_of(plan) == "rolling_back"
    doors = Event.objects.filter(stream__key=plan.stream_key).values_list("via", flat=True)
    assert list(doors) == ["api"] + ["admin"] * (len(doors) - 1)


def test_a_rollback_without_a_reason_asks_for_it(scene, plan):
    answer = act(staff(scene.olga), "roll_back", plan)
    assert "Say why" in answer.content.decode()


def test_an_act_that_the_state_or_the_person_does_not_allow_says_so(scene, ada, plan):
    assert "not possible now" in said(act(staff(scene.olga), "pause", plan))
    assert "You may not submit plans" in said(act(ada, "submit", plan))
    act(staff(scene.mara), "submit", plan)
    refused = said(act(staff(scene.mara), "approve", plan))
    assert "somebody else has to decide" in refused
    assert state_of(plan) == "awaiting_approval"


def test_a_plan_and_its_batches_are_shown_but_never_edited(ada, plan):
    where = reverse("admin:plans_plan_change", args=[plan.pk])
    shown = ada.get(where)
    assert shown.status_code == 200
    assert "safe-rollout" in shown.content.decode()
    assert ada.post(where, {"state": "approved"}).status_code == 403
    assert ada.post(reverse("admin:plans_plan_delete", args=[plan.pk])).status_code == 403
    assert ada.get(reverse("admin:plans_plan_add")).status_code == 403
    assert ada.get(reverse("admin:plans_plan_auditlog", args=[plan.pk])).status_code == 200
    assert state_of(plan) == "draft"


def test_the_trail_cannot_be_deleted_in_bulk(ada, plan):
    chosen = {"action": "delete_selected", "_selected_action": [str(Event.objects.first().pk)]}
    count = Event.objects.count()
    ada.post(reverse("admin:plans_event_changelist"), chosen | {"post": "yes"})
    assert Event.objects.count() == count
