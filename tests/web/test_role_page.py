"""Access, Give a role: the page asks, the use case decides, and what is wrong stands beside it."""

from typing import Any

import pytest
from django.urls import reverse

from plans.models import Event, RoleBinding, RoleRequest
from plans.people.role_giving import give_role
from plans.policies.keeping import save_policy_text
from tests.builders import policy_text
from tests.web.api_scene import Scene, now, person
from tests.web.page_scene import browser, said, text_of

pytestmark = pytest.mark.django_db
PAGE = "/access/give/"
GIVEN = {"person": "nils@example.org", "console_role": "operator", "why": "on call from May on"}


@pytest.fixture
def scene() -> Scene:
    return Scene()


def given(scene: Scene, **changes: Any):
    wanted = {name: value for name, value in {**GIVEN, **changes}.items() if value is not None}
    return browser(scene.ada).post(PAGE, wanted, follow=True)


def test_a_role_is_given_with_its_reach_its_end_and_its_reason(scene):
    assert f'href="{PAGE}"' in text_of(browser(scene.ada).get(reverse("access-review")))
    answer = given(scene, labels="region=eu, tier=gold", expires_at="2036-05-01T00:00")
    assert said(answer) == "Nils is operator now."
    held = RoleBinding.objects.get(user=scene.nils)
    assert (held.kind, held.role, held.given_by) == ("console", "operator", scene.ada)
    assert held.selector == {"region": "eu", "tier": "gold"}
    assert (held.expires_at.year, held.why) == (2036, "on call from May on")
    assert Event.objects.get(kind="role_given").via == "page"


def test_what_takes_two_waits_on_the_same_page(scene):
    bela = person("Bela", console="administrator")
    answer = given(scene, console_role=None, approval_role="system_admin")
    assert "another administrator has to confirm it" in said(answer)
    asked = RoleRequest.objects.get(user=scene.nils)
    assert (asked.kind, asked.role) == ("approval", "system_admin")
    assert "Nils" in text_of(browser(bela).get(reverse("access-review")))
    assert not RoleBinding.objects.filter(user=scene.nils).exists()


@pytest.mark.parametrize(
    ("changes", "field", "told"),
    [
        ({"person": "nobody@example.org"}, "person", "Nobody has this address"),
        ({"console_role": None}, "console_role", "Choose a console role or write"),
        ({"approval_role": "compliance"}, "console_role", "Choose a console role or write"),
        ({"console_role": "emperor"}, "console_role", "Select a valid choice"),
        ({"labels": "eu"}, "labels", "like region=eu"),
        ({"labels": "region=eu, region=us"}, "labels", "once"),
        ({"expires_at": "2020-01-01T00:00"}, "expires_at", "This time has passed"),
        ({"why": " "}, "why", "This field is required"),
    ],
)
def test_what_is_wrong_stands_beside_its_field(scene, changes, field, told):
    errors = given(scene, **changes).context["form"].errors
    assert list(errors) == [field]
    assert told.lower() in errors[field][0].lower()
    assert not RoleBinding.objects.filter(user=scene.nils).exists()


def test_what_cannot_be_given_is_told_with_what_helps(scene):
    given(scene)
    assert "is operator for all tenants already" in text_of(given(scene))
    # Ada alone administers here.
    alone = text_of(given(scene, console_role="break_glass"))
    assert "./console manage give_role nils@example.org break_glass" in alone
    assert RoleBinding.objects.filter(user=scene.nils).count() == 1


def test_the_page_offers_people_and_the_approval_roles_that_policies_ask_for(scene):
    save_policy_text(text=policy_text(), source="page", by=None, now=now(), via="page")
    give_role(user=scene.nils, kind="approval", role="works_council", by=None, now=now(), via="x")
    page = text_of(browser(scene.ada).get(f"{PAGE}?person=nils@example.org"))
    for offered in ("olga@example.org", "system_admin", "works_council"):
        assert f'<option value="{offered}">' in page
    assert 'value="nils@example.org"' in page
    assert "Administrator (another administrator has to confirm it)" in page


@pytest.mark.parametrize("who", ["mara", "olga", "rita", "nils"])
def test_only_administrators_see_it(scene, who):
    client = browser(getattr(scene, who))
    assert client.get(PAGE).status_code == 403
    assert client.post(PAGE, GIVEN).status_code == 403
    assert not RoleBinding.objects.filter(user=scene.nils).exists()
