"""The admin pages: rows of others' tenants do not exist there, and few see people."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.db import models
from django.test import Client
from django.urls import reverse

from plans.models import Event, RoleBinding, RoleRequest, User
from plans.people.permissions import may
from plans.people.visible_rows import visible_rows, ways_to_tenants
from tests.web.access_scene import EU, OTHER, OWN, TwoSides
from tests.web.api_scene import configure, person
from tests.web.page_scene import browser, said

pytestmark = pytest.mark.django_db
PEOPLE = ("plans_user", "plans_rolebinding", "plans_rolerequest", "plans_apitoken")
PEOPLES = {*PEOPLE, "mfa_authenticator", "auditlog_logentry"}


def registered() -> list[type[models.Model]]:
    return sorted(admin.site._registry, key=lambda model: model._meta.label)


def list_of(model: type[models.Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def change_of(row: Any) -> str:
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])


@pytest.fixture
def scene(settings, tmp_path) -> TwoSides:
    configure(settings, tmp_path)
    return TwoSides()


@pytest.fixture
def carl(scene) -> User:
    """Staff who look at eu."""
    user = person("Carl", console="viewer", is_staff=True)
    RoleBinding.objects.filter(user=user).update(selector=EU)
    return user


def test_staff_see_the_rows_of_their_tenants(scene, carl):
    """All tables in one test: what is looked at is not changed, and to build it takes long."""
    client, wrong = browser(carl), []
    for model in registered():
        wrong += [f"{model._meta.label}: {told}" for told in wrong_rows(model, client, carl)]
    assert not wrong, "\n".join(wrong)


def wrong_rows(model: type[models.Model], client: Client, who: User) -> Iterator[str]:
    """Yield what the person is shown, or not, against their tenants."""
    answer = client.get(list_of(model))
    if f"{model._meta.app_label}_{model._meta.model_name}" in PEOPLES:
        if answer.status_code != 403:
            yield f"the list answers {answer.status_code}"
        return
    if answer.status_code != 200:
        yield f"the list answers {answer.status_code}"
        return
    shown = {row.pk for row in answer.context["cl"].result_list}
    theirs = {row.pk for row in visible_rows(model._default_manager.all(), who)}
    yield from (f"{pk} is in the list" for pk in shown - theirs)
    for row in model._default_manager.exclude(pk__in=theirs)[:3]:
        if (status := client.get(change_of(row)).status_code) != 404:
            yield f"{row} answers {status}"


def test_nobody_but_staff_gets_in(scene):
    administrator, stranger = browser(scene.people["administrator"]), Client()
    wrong = []
    for model in registered():
        answers = (
            administrator.get(list_of(model)).status_code,
            stranger.get(list_of(model)).status_code,
        )
        if answers[0] not in (302, 403) or answers[1] != 302:
            wrong.append(f"{model._meta.label}: {answers}")
    assert not wrong, "\n".join(wrong)


def test_what_belongs_to_a_plan_is_seen_with_it(scene, carl):
    for side, seen in ((OWN, True), (OTHER, False)):
        plan = scene.plans[side]
        rows = [plan, plan.batches.first(), plan.tenant_upgrades.first()]
        rows += [scene.reports[side], scene.drills[side]]
        for row in rows:
            got = browser(carl).get(change_of(row)).status_code
            assert got == (200 if seen else 404), row
    ways = {model._meta.label: ways_to_tenants(model) for model in registered()}
    assert set(ways["reports.Delivery"]) == {"announcement__alert__plan"}
    assert set(ways["batches.TenantUpgrade"]) == {"plan", "tenant"}
    assert not ways["plans.Release"]


def test_staff_see_the_events_of_their_plans_and_no_system_trail(scene, carl):
    shown = browser(carl).get(list_of(Event)).context["cl"].queryset
    streams = set(shown.values_list("stream__key", flat=True))
    assert streams == {scene.plans[OWN].stream_key, scene.waiting[OWN].stream_key}
    rita = scene.rita
    User.objects.filter(pk=rita.pk).update(is_staff=True)
    everything = browser(User.objects.get(pk=rita.pk)).get(list_of(Event))
    keys = set(everything.context["cl"].queryset.values_list("stream__key", flat=True))
    assert {"system", scene.plans[OTHER].stream_key} <= keys


def test_a_tenant_is_changed_by_who_manages_it(scene):
    mia = person("Mia", console="release_manager", is_staff=True)
    RoleBinding.objects.filter(user=mia).update(selector=EU)
    client = browser(mia)
    acorn = scene.plans[OWN].plan_tenants.get(tenant__key="acorn").tenant
    given = {"name": "Acorn", "labels": '{"region": "eu"}'}
    assert client.post(change_of(acorn), given).status_code == 302
    assert client.post(change_of(acorn), given | {"labels": "{}"}).status_code == 403
    acorn.refresh_from_db()
    assert (acorn.name, acorn.labels) == ("Acorn", EU)


def test_a_second_administrator_confirms_in_the_admin(scene):
    bela = User.objects.get(pk=scene.holder("administrator", {}).pk)
    User.objects.filter(pk=bela.pk).update(is_staff=True)
    where = reverse("admin:plans_rolerequest_changelist")
    chosen = {
        "action": "confirm", "_selected_action": [str(scene.request.pk)], "confirmed": "confirm",
    }  # fmt: skip
    refused = browser(scene.ada).post(where, chosen, follow=True)
    assert "another administrator confirms it" in said(refused)
    browser(User.objects.get(pk=bela.pk)).post(where, chosen)
    assert RoleRequest.objects.get().outcome == "confirmed"
    assert RoleBinding.objects.get(user=scene.ada, kind="approval").confirmed_by == bela


def test_people_are_let_go_and_in_again_in_the_admin(scene):
    where = reverse("admin:plans_user_changelist")
    chosen = {"_selected_action": [str(scene.olga.pk)]}
    client = browser(scene.ada)
    client.post(where, chosen | {"action": "let_go", "confirmed": "let_go", "reason": "left"})
    assert not User.objects.get(pk=scene.olga.pk).is_active
    client.post(where, chosen | {"action": "let_in", "confirmed": "let_in"})
    olga = User.objects.get(pk=scene.olga.pk)
    assert olga.is_active
    assert not may(olga, "view")
