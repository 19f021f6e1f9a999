"""Signed approvals on pages and over REST: what is signed, by what it was proved, what used it."""

import json

import pytest
from django.urls import reverse

from plans.approvals import approval
from plans.drafting.drafting import TenantChoice
from plans.models import Grant, Plan
from plans.policies.keeping import save_policy_text
from tests.builders import a_draft, a_started, an_approved, policy_text
from tests.use_cases.adjusted import change
from tests.web.api_scene import Scene, approved, configure, handed_in, now, post, url
from tests.web.factors import App
from tests.web.page_scene import browser, state_of, submitted, text_of
from tests.web.test_approval_pages import revise

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


def shown(user, plan: Plan) -> str:
    return text_of(browser(user).get(reverse("live-plan", args=[plan.pk])))


def test_whoever_approves_sees_what_exactly_they_sign(scene):
    plan = submitted(scene)
    page = shown(scene.aram, plan)
    assert "You sign" in page
    request = plan.approval_requests.get()
    assert request.plan_digest[:12] in page
    assert plan.release.digest[:12] in page
    assert "Counts until" in page
    assert "You sign" not in shown(scene.olga, plan)


def test_what_was_signed_says_how_it_was_proved(scene):
    plan = submitted(scene)
    digest = plan.approval_requests.get().plan_digest
    browser(scene.aram).post(reverse("plan-approve", args=[plan.pk]), {"digest": digest})
    assert "signed, proved by pwd" in shown(scene.olga, plan)


def test_what_changed_since_the_last_approval_is_shown_with_batches_and_windows(scene):
    plan = a_draft(scene, policy=policy_text("quick"))
    approval.submit(plan_id=plan.pk, by=scene.mara, now=now(), via="page")
    more = 'windows: [{kind: allow, from: "03:00", to: "04:00", timezone: UTC}]'

    save_policy_text(
        text=policy_text("quick", more=more), source="test", by=None, now=now(), via="command"
    )
    revise(
        scene,
        plan,
        policy="quick",
        external_id=plan.external_id,
        tenants=TenantChoice(keys=("acorn",)),
    )
    page = shown(scene.aram, plan)
    assert "Windows" in page
    assert "03:00" in page
    assert "Batches" in page
    assert "canary 1" in page


def test_whoever_decides_about_a_loosening_sees_what_they_sign(scene):
    plan = a_started(scene, policy=policy_text())
    change(scene, plan, limits={"failure_rate": 20})
    assert 'You sign</dt><dd><span class="strong">loosen' in shown(scene.aram, plan)


def test_the_page_of_signed_approvals_lists_and_checks_each(scene):
    plan = an_approved(scene)
    page = reverse("plan-grants", args=[plan.pk])
    assert page in shown(scene.rita, plan)
    listed = text_of(browser(scene.rita).get(page))
    assert "Aram" in listed
    assert "1 of 2" in listed
    first = Grant.objects.filter(plan=plan).first()
    Grant.objects.filter(pk=first.pk).update(sig=Grant.objects.exclude(pk=first.pk).get().sig)
    assert "not genuine" in text_of(browser(scene.rita).get(page))
    assert browser(scene.nils).get(page).status_code == 404
    assert browser(scene.rita).post(page).status_code == 405


def test_signed_approvals_are_downloaded_as_the_verifier_takes_them(scene):
    plan = an_approved(scene)
    page = reverse("plan-grants-json", args=[plan.pk])
    answer = browser(scene.rita).get(page)
    assert "attachment" in answer["Content-Disposition"]
    assert [set(one) for one in json.loads(answer.content)] == [{"payload", "sig", "kid"}] * 2
    assert browser(scene.nils).get(page).status_code == 404


def test_rest_lists_signed_approvals_of_plans_that_one_may_see(scene):
    approved(scene)
    listed = scene.client(scene.rita).get(url("grants")).json()
    assert [one["approver"] for one in listed] == ["Aram", "Sona"]
    assert {one["op"] for one in listed} == {""}
    assert set(listed[0]["grant"]) == {"payload", "sig", "kid"}
    assert scene.client(scene.nils).get(url("grants")).status_code == 404
    assert post(scene.client(scene.rita), url("grants")).status_code == 405


def test_a_page_approves_nothing_without_a_second_factor_where_one_is_required(scene, settings):
    plan = submitted(scene)
    digest = plan.approval_requests.get().plan_digest
    settings.REQUIRE_MFA = True
    where = reverse("plan-approve", args=[plan.pk])
    assert browser(scene.aram).post(where, {"digest": digest}).status_code == 403
    assert not Grant.objects.exists()
    assert state_of(plan) == "awaiting_approval"


@pytest.mark.parametrize("given", [{}, {"code": ""}, {"code": "000000"}])
def test_rest_approves_nothing_without_a_right_code_where_one_is_required(scene, settings, given):
    handed_in(scene)
    settings.REQUIRE_MFA = True
    answer = post(scene.client(scene.aram), url("approve"), given)
    assert answer.status_code == 403
    assert answer.json()["code"] in {"step_up_required", "wrong_code"}
    assert not Grant.objects.exists()


def test_a_code_that_is_right_stands_in_the_grant(scene, settings):
    handed_in(scene)
    settings.REQUIRE_MFA = True
    code = App(scene.aram).code()
    answer = post(scene.client(scene.aram), url("approve"), {"code": code})
    assert answer.status_code == 200, answer.json()
    assert Grant.objects.get().methods == ["totp"]


@pytest.mark.parametrize(
    ("act", "body"),
    [
        ("promote", {}),
        ("retry", {}),
        ("override-freeze", {"freeze": "0b0f7c1e-6f3e-4b44-9a3c-7f4a3a1f2a11", "reason": "x"}),
    ],
)
def test_acts_of_one_person_take_a_code_too(scene, act, body):
    approved(scene)
    answer = post(scene.client(scene.olga), url(act), body | {"code": "123456"})
    assert answer.status_code in {403, 404, 409}, answer.json()
    assert "code" not in str(answer.json().get("errors", ""))


def test_rest_approves_the_content_alone_that_was_looked_at(scene):
    plan = handed_in(scene)
    client = scene.client(scene.aram)
    old = post(client, url("approve"), {"digest": "0" * 64})
    assert (old.status_code, old.json()["code"]) == (409, "plan_changed")
    assert not Grant.objects.exists()
    digest = plan.approval_requests.get().plan_digest
    assert post(client, url("approve"), {"digest": digest, "comment": "ok"}).status_code == 200
