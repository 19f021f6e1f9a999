"""Enrolling, and proving oneself before an act: nothing that was typed is lost."""

import base64
import hashlib
import json
import re
import time
from dataclasses import replace

import pytest
import rfc8785
from allauth.mfa.models import Authenticator
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from fido2.utils import websafe_decode

from plans.approvals import approval
from plans.approvals.grant_signing import SealedGrant, opened
from plans.console_keys import public_key
from plans.log_in.one_time_code import code_of, period_at
from plans.log_in.proof_of_content import answers_for
from plans.log_in.step_up import PROVED
from plans.models import Approval, Event, Grant, User
from tests.builders import a_draft
from tests.web.api_scene import Scene, configure, now
from tests.web.factors import App, logged_in
from tests.web.page_scene import submitted, text_of
from tests.web.security_key import SecurityKey

pytestmark = pytest.mark.django_db
STEP_UP = "/accounts/step-up/"


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    cache.clear()
    configure(settings, tmp_path)
    scene = Scene()
    settings.REQUIRE_MFA = True
    return scene


def forget_the_proof(browser: Client) -> None:
    """Let the second factor of the log-in be six minutes old."""
    session = browser.session
    for record in session["account_authentication_methods"]:
        record["at"] -= 360
    session.save()


def fields(page) -> dict[str, str]:
    """Return the hidden fields of a page's form."""
    found = re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page.content.decode())
    return dict(found)


@pytest.fixture
def aram(scene) -> tuple[Client, App]:
    app = App(scene.aram)
    browser = logged_in(scene.aram, app, ahead=-1)
    forget_the_proof(browser)
    return browser, app


def approve(browser: Client, plan, comment="All of it read"):
    digest = plan.approval_requests.get().plan_digest
    where = f"/plans/{plan.pk}/approve/"
    return browser.post(
        where,
        {"digest": digest, "comment": comment},
        headers={"referer": f"http://testserver/plans/{plan.pk}/"},
    )


def test_an_approval_asks_for_the_factor_and_then_goes_on_with_what_was_typed(scene, aram):
    browser, app = aram
    plan = submitted(scene)

    asked = approve(browser, plan, comment='Read <all> of "it" & more')
    assert asked["Location"].startswith(STEP_UP)
    assert not Approval.objects.exists()
    page = browser.get(asked["Location"])
    assert "What you sent waits here" in text_of(page)
    going_on = browser.post(STEP_UP, {**fields(page), "code": app.code()})
    resumed = browser.get(going_on["Location"])
    assert f'action="/plans/{plan.pk}/approve/"' in resumed.content.decode()
    form = resumed.context["waiting"]
    browser.post(form.path, dict(form.fields))

    given = Approval.objects.get()
    assert given.user == scene.aram
    assert given.comment == 'Read <all> of "it" & more'
    assert Event.objects.filter(kind="stepped_up").count() == 1


def test_a_code_that_was_given_for_nothing_approves_nothing(scene, aram):
    browser, app = aram
    browser.post(STEP_UP, {"code": app.code(), "next": "/approvals/"})

    answer = approve(browser, submitted(scene))

    assert answer["Location"].startswith(STEP_UP)
    assert not Approval.objects.exists()


def test_a_code_that_was_given_for_one_plan_approves_no_other(scene, aram):
    browser, app = aram
    one = submitted(scene)
    other = approval.submit(
        plan_id=a_draft(scene, external_id="pay-8").pk, by=scene.mara, now=now(), via="page"
    )
    page = browser.get(approve(browser, one)["Location"])
    assert f"start, plan {one.external_id or one.pk}, content" in text_of(page)
    browser.post(STEP_UP, {**fields(page), "code": app.code()})

    assert approve(browser, other)["Location"].startswith(STEP_UP)
    assert not Approval.objects.exists()
    assert approve(browser, one)["Location"] == f"/plans/{one.pk}/"
    grant = Grant.objects.get()
    assert (grant.plan, grant.methods) == (one, ["totp"])
    told = Event.objects.get(kind="stepped_up")
    assert told.payload["for_grant"] == str(grant.jti)
    assert one.approval_requests.get().plan_digest[:12] in told.sentence


def test_an_approval_in_the_admin_is_bound_too(scene, aram):
    browser, app = aram
    plan = submitted(scene)
    User.objects.filter(pk=scene.aram.pk).update(is_staff=True)
    where = reverse("admin:plans_plan_changelist")
    chosen = {"action": "approve", "_selected_action": [str(plan.pk)], "confirmed": "approve"}
    page = browser.get(browser.post(where, chosen)["Location"])
    assert "It counts for this alone" in text_of(page)
    going_on = browser.post(STEP_UP, {**fields(page), "code": app.code()})
    form = browser.get(going_on["Location"]).context["waiting"]
    browser.post(form.path, dict(form.fields))
    assert Approval.objects.get().user == scene.aram


def test_a_proof_that_is_six_minutes_old_is_asked_for_again(scene, aram):
    browser, app = aram
    plan = submitted(scene)
    page = browser.get(approve(browser, plan)["Location"])
    browser.post(STEP_UP, {**fields(page), "code": app.code()})
    session = browser.session
    for proof in session[PROVED]:
        proof["at"] -= 301
    session.save()

    assert approve(browser, plan)["Location"].startswith(STEP_UP)


def test_a_security_key_signs_what_is_approved_and_its_answer_is_kept(scene, aram):
    browser, _app = aram
    key, plan = SecurityKey(scene.aram), submitted(scene)
    page = browser.get(approve(browser, plan)["Location"])
    asked = page.context["key_options"]["request_options"]["publicKey"]["challenge"]
    answer = key.answer(websafe_decode(asked))
    browser.post(STEP_UP, {**fields(page), "credential": json.dumps(answer)})
    assert approve(browser, plan)["Location"] == f"/plans/{plan.pk}/"

    grant = Grant.objects.get()
    kept = grant.answer or {}
    claims = opened(SealedGrant(**grant.to_json()), public_key)
    assert claims.amr == ("webauthn",)
    assert answers_for(claims, kept)
    # An auditor with the payload alone finds the very challenge.
    content = {name: getattr(claims, name) for name in
               ("aud", "action", "plan_id", "plan_digest", "tenants_digest", "policy_digest",
                "artifact_sha256", "batch", "subject")}  # fmt: skip
    signed = hashlib.sha256(rfc8785.dumps({"jti": claims.jti, **content})).digest()
    assert websafe_decode(asked) == signed
    assert not answers_for(replace(claims, plan_digest="0" * 64), kept)
    assert not answers_for(replace(claims, jti=str(plan.pk)), kept)
    listed = scene.client(scene.rita).get(f"/api/v1/plans/{plan.pk}/grants").json()
    assert listed[0]["answer"]["response"]["clientDataJSON"]


def test_a_key_s_answer_to_another_question_is_refused(scene, aram):
    browser, _app = aram
    key, plan = SecurityKey(scene.aram), submitted(scene)
    page = browser.get(approve(browser, plan)["Location"])
    plain = browser.get(STEP_UP).context["key_options"]["request_options"]["publicKey"]
    answer = json.dumps(key.answer(websafe_decode(plain["challenge"])))

    refused = browser.post(STEP_UP, {**fields(page), "credential": answer})

    assert "answered for something else" in text_of(refused)
    assert approve(browser, plan)["Location"].startswith(STEP_UP)


def test_a_wrong_code_and_a_used_one_are_refused(scene, aram):
    browser, app = aram
    used = app.code(ahead=-1)

    for code in ("000000", used, ""):
        page = browser.post(STEP_UP, {"code": code, "next": "/"})
        assert page.status_code == 200
        assert page.context["form"].errors["code"]
    assert approve(browser, submitted(scene))["Location"].startswith(STEP_UP)
    failed = Event.objects.get(kind="login_failed")
    assert failed.payload["user"] == str(scene.aram.pk)


def test_a_form_that_waits_is_not_sent_by_another_step_up(scene, aram):
    browser, app = aram
    approve(browser, submitted(scene))

    answer = browser.post(STEP_UP, {"code": app.code(), "next": "/tenants/"})

    assert answer["Location"] == "/tenants/"
    assert browser.get("/accounts/step-up/resume/?form=guessed")["Location"] == "/"


def test_a_form_that_was_offered_once_waits_for_a_click(scene, aram):
    browser, app = aram
    asked = approve(browser, submitted(scene))
    page = browser.get(asked["Location"])
    going_on = browser.post(STEP_UP, {**fields(page), "code": app.code()})["Location"]

    first, second = browser.get(going_on).content.decode(), browser.get(going_on).content.decode()

    assert "data-resume" in first
    assert "data-resume" not in second


def test_it_leads_nowhere_else(scene, aram):
    browser, app = aram

    answer = browser.post(STEP_UP, {"code": app.code(), "next": "https://evil.example/"})

    assert answer["Location"] == "/"


def test_a_script_is_told_where_to_go(scene, aram):
    browser, _app = aram
    plan = submitted(scene)

    digest = plan.approval_requests.get().plan_digest
    answer = browser.post(
        f"/plans/{plan.pk}/approve/", {"digest": digest}, headers={"accept": "application/json"}
    )

    assert answer.status_code == 403
    assert answer.json()["code"] == "step_up_required"
    assert answer.json()["go_to"].startswith(STEP_UP)


def test_looking_at_the_page_proves_nothing(scene, aram):
    browser, app = aram
    browser.get(f"{STEP_UP}?code={app.code()}")

    assert approve(browser, submitted(scene))["Location"].startswith(STEP_UP)


def test_who_has_no_factor_is_led_to_enrol(scene):
    browser = logged_in(scene.aram)

    answer = browser.get(f"{STEP_UP}?next=/approvals/")

    assert answer["Location"] == "/accounts/enrol/?next=%2Fapprovals%2F"


def test_nobody_steps_up_without_logging_in(scene):
    for page in (STEP_UP, "/accounts/enrol/", "/accounts/step-up/resume/"):
        assert Client().get(page)["Location"].startswith("/accounts/login/")
        assert Client().post(page).status_code in {302, 405}


# ---- enrolling


@pytest.mark.django_db(transaction=True)
def test_an_app_is_enrolled_and_told(scene):
    browser = logged_in(scene.aram)
    page = browser.get("/accounts/2fa/totp/activate/")
    secret = base64.b32decode(page.context["form"].secret)
    code = code_of(secret, period_at(time.time()))
    answer = browser.post("/accounts/2fa/totp/activate/", {"code": code})

    assert answer["Location"] == "/accounts/2fa/recovery-codes/"
    codes = browser.get(answer["Location"])
    assert len(codes.context["unused_codes"]) == 10
    assert browser.get("/approvals/").status_code == 200
    assert Event.objects.get(kind="factor_enrolled").actor == scene.aram
    assert any(one.to == [scene.aram.email] for one in mail.outbox)
    # What proved the enrolment is used up, and is no step-up.
    assert approve(browser, submitted(scene))["Location"].startswith(STEP_UP)
    again = browser.post(STEP_UP, {"code": code, "next": "/"})
    assert again.context["form"].errors["code"]


def test_an_app_is_removed_and_told(scene, aram, django_capture_on_commit_callbacks):
    browser, app = aram
    browser.post(STEP_UP, {"code": app.code(), "next": "/"})

    with django_capture_on_commit_callbacks(execute=True):
        browser.post("/accounts/2fa/totp/deactivate/")

    assert not Authenticator.objects.filter(user=scene.aram).exists()
    assert Event.objects.get(kind="factor_removed").actor == scene.aram
    assert any("removed" in one.subject for one in mail.outbox)


def test_new_recovery_codes_are_told(scene, aram, django_capture_on_commit_callbacks):
    browser, app = aram
    old = app.recovery.get_unused_codes()
    browser.post(STEP_UP, {"code": app.code(), "next": "/"})

    with django_capture_on_commit_callbacks(execute=True):
        browser.post("/accounts/2fa/recovery-codes/generate/")

    page = browser.get("/accounts/2fa/recovery-codes/")
    assert set(page.context["unused_codes"]).isdisjoint(old)
    assert Event.objects.filter(kind="recovery_codes_renewed").count() == 1


@pytest.mark.parametrize(
    "page",
    [
        "/accounts/2fa/",
        "/accounts/2fa/totp/deactivate/",
        "/accounts/2fa/webauthn/",
        "/accounts/2fa/webauthn/add/",
        "/accounts/2fa/recovery-codes/",
        "/accounts/2fa/recovery-codes/generate/",
        "/accounts/sessions/",
        STEP_UP,
    ],
)
def test_the_pages_of_an_account_hold_no_inline_script(scene, page):
    browser = logged_in(scene.aram, App(scene.aram))

    answer = browser.get(page)

    assert answer.status_code == 200
    for tag in re.findall(r"<script[^>]*>", answer.content.decode()):
        assert "src=" in tag or 'type="application/json"' in tag
    assert "style=" not in answer.content.decode()
