"""Behind the log-in: who may act does it with a second factor, and takes back without one."""

import pytest
from django.core.cache import cache
from django.test import Client

from plans.models import RoleBinding
from tests.builders import a_started
from tests.web.api_scene import Scene, configure, now, post
from tests.web.factors import App, logged_in
from tests.web.page_scene import text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    cache.clear()
    configure(settings, tmp_path)
    scene = Scene()
    settings.REQUIRE_MFA = True
    return scene


def test_who_may_act_is_led_to_enrol_after_log_in(scene):
    browser = logged_in(scene.mara)

    for page in ("/plans/new/", "/approvals/", "/tenants/", "/admin/", "/trail/"):
        answer = browser.get(page)
        assert answer.status_code == 302, page
        assert answer["Location"].startswith("/accounts/enrol/?next=")
    assert "Authenticator app" in text_of(browser.get("/accounts/enrol/"))


def test_after_log_in_the_first_page_is_the_one_to_enrol(scene):
    browser = Client()
    from tests.web.factors import give_password, with_password

    answer = give_password(browser, with_password(scene.olga))

    assert answer["Location"] == "/accounts/enrol/"


def test_who_only_looks_is_not_asked(scene):
    assert logged_in(scene.rita).get("/trail/").status_code == 200


def test_until_then_one_looks_at_plans_and_is_told_why(scene):
    plan = a_started(scene)
    page = logged_in(scene.olga).get(f"/plans/{plan.pk}/")

    assert page.status_code == 200
    assert "You have no second factor yet" in text_of(page)


@pytest.mark.parametrize("act", ["pause", "rollback"])
def test_pausing_and_rolling_back_never_take_one(scene, act):
    plan = a_started(scene)
    browser = logged_in(scene.olga)

    browser.post(f"/plans/{plan.pk}/{act}/", {"reason": "it smells"})

    plan = type(plan).objects.get(pk=plan.pk)
    assert str(plan.state) in {"paused", "rolling_back", "rolled_back"}


@pytest.mark.parametrize("where", ["/api/v1/plans/pay-7/pause", "/api/v1/plans/pay-7/rollback"])
def test_nor_do_they_by_rest_in_a_session(scene, where):
    a_started(scene)
    browser = logged_in(scene.olga)

    answer = browser.post(where, {"reason": "it smells"}, content_type="application/json")

    assert answer.status_code in {200, 202}, answer.content


def test_pausing_takes_none_in_a_session_from_before_one_enrolled(scene):
    plan = a_started(scene)
    browser = logged_in(scene.olga)
    App(scene.olga)

    assert browser.get("/tenants/")["Location"].startswith("/accounts/step-up/?next=%2Ftenants")
    browser.post(f"/plans/{plan.pk}/pause/", {"reason": "it smells"})

    assert str(type(plan).objects.get(pk=plan.pk).state) == "paused"


def test_every_other_act_is_refused_in_words(scene):
    plan = a_started(scene)
    browser = logged_in(scene.olga)
    browser.post(f"/plans/{plan.pk}/pause/", {"reason": "it smells"})

    page = browser.post(f"/plans/{plan.pk}/resume/")
    answer = browser.post("/api/v1/plans/pay-7/resume", {}, content_type="application/json")

    assert page.status_code == 403
    assert "Enrol a second factor" in text_of(page)
    assert answer.status_code == 403
    assert answer.json()["code"] == "enrol_factor"
    assert str(type(plan).objects.get(pk=plan.pk).state) == "paused"


def test_with_a_code_at_log_in_everything_is_open(scene):
    browser = logged_in(scene.mara, App(scene.mara))

    assert browser.get("/plans/new/").status_code == 200


def test_a_machines_token_is_no_session(scene):
    client = scene.client(scene.olga)
    a_started(scene)

    assert post(client, "/api/v1/plans/pay-7/pause").status_code == 200


def test_a_role_that_was_given_meanwhile_is_asked_for_at_once(scene):
    browser = logged_in(scene.nils)
    assert browser.get("/tenants/").status_code == 403
    RoleBinding.objects.create(user=scene.nils, kind="console", role="operator")

    assert browser.get("/tenants/")["Location"].startswith("/accounts/enrol/")


def test_where_none_is_required_every_page_says_so(scene, settings):
    settings.REQUIRE_MFA = False
    browser = logged_in(scene.mara)

    for page in (
        Client().get("/accounts/login/"),
        browser.get("/plans/"),
        browser.get("/tenants/"),
    ):
        assert "Second factors are not required here" in text_of(page)
    settings.REQUIRE_MFA = True
    assert "not required here" not in text_of(Client().get("/accounts/login/"))


# ---- changing how one logs in


@pytest.mark.parametrize(
    "page",
    [
        "/accounts/2fa/totp/deactivate/",
        "/accounts/2fa/recovery-codes/",
        "/accounts/2fa/recovery-codes/generate/",
        "/accounts/2fa/webauthn/add/",
    ],
)
@pytest.mark.parametrize("required", [True, False])
def test_a_password_alone_changes_no_second_factor(scene, settings, page, required):
    settings.REQUIRE_MFA = required
    browser = logged_in(scene.olga)
    App(scene.olga)

    asked = browser.get(page)
    posted = browser.post(page)

    assert asked["Location"].startswith("/accounts/step-up/?next=")
    assert posted["Location"] == "/accounts/step-up/"


def test_a_first_factor_takes_a_fresh_password(scene):
    browser = logged_in(scene.olga)
    assert browser.get("/accounts/2fa/totp/activate/").status_code == 200
    session = browser.session
    for record in session["account_authentication_methods"]:
        record["at"] = now().timestamp() - 301
    session.save()

    answer = browser.get("/accounts/2fa/totp/activate/")

    assert answer["Location"].startswith("/accounts/reauthenticate/?next=")
    assert "password once more" in text_of(browser.get(answer["Location"]))


@pytest.mark.parametrize("page", ["email/", "signup/", "password/set/", "3rdparty/"])
def test_the_librarys_other_pages_are_closed(scene, page):
    assert logged_in(scene.rita).get(f"/accounts/{page}").status_code == 404
