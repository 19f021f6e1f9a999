"""Second factors in a real browser: an app, a passkey, and an approval that waits for one.

The console runs as `./console up` starts it, with second factors required, and trusts a small
identity provider.
"""

import base64
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page, expect

from plans.log_in.one_time_code import code_of, period_at
from tests.journeys.stack import Stack, running
from tests.journeys.test_pages_are_sound import POLICIES, look_at
from tests.journeys.visitors import People, browsing
from tests.web.identity_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    IdentityProvider,
    identity_provider,
)

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(240)]


@dataclass
class Guarded:
    """A console that requires second factors, and its people."""

    stack: Stack
    people: People
    idp: IdentityProvider

    def log_in(self, page: Page, name: str) -> None:
        """Give name and password, and nothing else yet."""
        email, password = self.people.login_of(name)
        page.goto(f"{self.people.url}/accounts/login/")
        page.get_by_label("Email").fill(email)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in", exact=True).click()

    def log_out(self, page: Page) -> None:
        page.goto(f"{self.people.url}/accounts/logout/")
        page.get_by_role("main").get_by_role("button", name="Log out").click()

    def system_trail(self) -> list[str]:
        rows = self.stack.rows(
            "SELECT e.kind FROM plans_event e JOIN plans_stream s ON s.id = e.stream_id"
            " WHERE s.key = 'system' ORDER BY e.seq"
        )
        return [row["kind"] for row in rows]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as running_browser:
        yield running_browser


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Guarded]:
    data = tmp_path_factory.mktemp("guarded")
    required = {"UPGRADECONSOLE_REQUIRE_MFA": "1"}
    with (
        identity_provider() as idp,
        running(data, policies=POLICIES, environ=required | trusting(idp)) as stack,
    ):
        # Browsers know no passkeys for a bare address of the network.
        url = f"http://localhost:{stack.port}"
        people = People(browser, url, stack.data / "demo-logins.txt")
        yield Guarded(stack, people, idp)
        people.end()


def trusting(idp: IdentityProvider) -> dict[str, str]:
    """Return the environment of a console that trusts the provider."""
    return {
        "UPGRADECONSOLE_OIDC_ISSUER": idp.url,
        "UPGRADECONSOLE_OIDC_CLIENT_ID": CLIENT_ID,
        "UPGRADECONSOLE_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "UPGRADECONSOLE_OIDC_NAME": "Example Works",
    }


@pytest.fixture
def page(guarded: Guarded) -> Iterator[Page]:
    page = guarded.people.anonymous_page(reduced_motion="reduce")
    page.set_default_timeout(15_000)
    yield page
    page.context.close()


def enrol_app(page: Page) -> bytes:
    """Enrol an app from the page that explains it; return its secret."""
    page.get_by_role("link", name="Authenticator app").click()
    secret = base64.b32decode(page.locator("#totp-secret").text_content() or "")
    page.get_by_label("Authenticator code").fill(code_now(secret))
    page.get_by_role("button", name="Enrol").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    expect(page.locator(".codes li")).to_have_count(10)
    return secret


def code_now(secret: bytes, *, ahead: int = 0) -> str:
    """Return what the app shows; one period ahead is right too, and not used up."""
    return code_of(secret, period_at(time.time()) + ahead)


def test_an_app_is_enrolled_and_an_approval_waits_for_its_code(guarded, page):
    plan = guarded.stack.hand_in(guarded.stack.take_tenants(3), policy="gated")
    guarded.log_in(page, "aram")
    expect(page.get_by_role("heading", name="Enrol a second factor")).to_be_visible()
    secret = enrol_app(page)

    page.goto(f"{guarded.people.url}/plans/{plan}/")
    page.get_by_label("Comment").fill("Read, and agreed")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    expect(page.get_by_text("What you sent waits here")).to_be_visible()
    page.get_by_label("One-time code").fill(code_now(secret, ahead=1))
    page.get_by_role("button", name="Confirm").click()

    expect(page.get_by_text("Your approval counts.")).to_be_visible()
    given = [one for one in guarded.stack.events(plan) if one["kind"] == "approval_given"]
    assert "Read, and agreed" in given[0]["sentence"]
    assert guarded.system_trail()[-3:] == ["logged_in", "factor_enrolled", "stepped_up"]


def test_one_logs_in_with_the_app(guarded, page):
    guarded.log_in(page, "sona")
    secret = enrol_app(page)
    guarded.log_out(page)

    guarded.log_in(page, "sona")
    expect(page.get_by_role("heading", name="Your second factor")).to_be_visible()
    assert look_at(page, guarded.people, "/accounts/2fa/authenticate/") == []
    page.get_by_label("One-time code").fill(code_now(secret, ahead=1))
    page.get_by_role("main").get_by_role("button", name="Log in").first.click()

    expect(page.get_by_role("heading", name="Plans")).to_be_visible()
    problems = {
        where: look_at(page, guarded.people, where)
        for where in (
            *("/accounts/2fa/", "/accounts/2fa/recovery-codes/", "/accounts/sessions/"),
            *("/accounts/2fa/totp/deactivate/", "/accounts/2fa/recovery-codes/generate/"),
            *("/accounts/step-up/", "/accounts/2fa/webauthn/"),
        )
    }
    assert {where: found for where, found in problems.items() if found} == {}


def test_a_passkey_is_enrolled_and_logs_in(guarded, page):
    devices = page.context.new_cdp_session(page)
    devices.send("WebAuthn.enable")
    key = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    devices.send("WebAuthn.addVirtualAuthenticator", {"options": key})
    guarded.log_in(page, "mara")
    assert look_at(page, guarded.people, "/accounts/enrol/") == []
    assert look_at(page, guarded.people, "/accounts/2fa/totp/activate/") == []
    assert look_at(page, guarded.people, "/accounts/2fa/webauthn/add/") == []
    page.get_by_label("Name").fill("Work laptop")
    page.get_by_role("button", name="Enrol the key").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    guarded.log_out(page)

    guarded.log_in(page, "mara")
    page.get_by_role("button", name="Use a passkey or security key").click()

    expect(page.get_by_role("heading", name="Plans")).to_be_visible()
    page.goto(f"{guarded.people.url}/accounts/2fa/webauthn/")
    expect(page.get_by_role("rowheader", name="Work laptop")).to_be_visible()
    assert look_at(page, guarded.people, "/accounts/2fa/webauthn/") == []
    logged_in = [kind for kind in guarded.system_trail() if kind == "logged_in"]
    assert len(logged_in) >= 2


def test_a_key_that_says_nothing_is_told_and_can_be_tried_again(guarded, page):
    guarded.log_in(page, "ada")
    page.goto(f"{guarded.people.url}/accounts/2fa/webauthn/add/")
    page.evaluate(
        """() => {
            const refusal = new DOMException("", "NotAllowedError");
            navigator.credentials.create = async () => { throw refusal; };
        }"""
    )

    page.get_by_role("button", name="Enrol the key").click()

    expect(page.get_by_text("Nothing was confirmed")).to_be_visible()
    expect(page.get_by_role("button", name="Enrol the key")).to_be_enabled()


APPROVED = """
import sys
import django
django.setup()
from django.utils import timezone
from plans.approvals import approval
from plans.models import User
from plans.log_in.step_up import StepUp
for name in ("aram", "sona"):
    who, now = User.objects.get(email=f"{name}@example.org"), timezone.now()
    approval.approve(plan_id=sys.argv[1], approver=who, now=now, via="command",
                     step_up=StepUp(("totp",), now))
"""


def test_who_has_not_enrolled_still_pauses(guarded, page):
    plan = guarded.stack.hand_in(guarded.stack.take_tenants(3), policy="gated")
    # Approving takes a second factor, which is not what this is about.
    done = guarded.stack.beside("-c", APPROVED, plan)
    assert done.returncode == 0, done.stderr
    guarded.stack.wait_for_calls(plan, "install", 1)
    guarded.log_in(page, "olga")
    page.get_by_role("link", name="Not now").click()
    page.goto(f"{guarded.people.url}/plans/{plan}/")
    expect(page.get_by_text("You have no second factor yet")).to_be_visible()
    expect(page.locator("[data-fresh]")).to_have_class(re.compile("is-live"))

    page.keyboard.press("p")

    expect(page.locator(".planbar-title .state")).to_have_text("Paused")
    assert guarded.stack.state(plan) == "paused"
    answer = page.evaluate(
        """async (where) => (await fetch(where, {method: "POST", headers: {
            "Content-Type": "application/json",
            "X-CSRFToken": JSON.parse(document.body.getAttribute("hx-headers"))["X-CSRFToken"],
        }, body: "{}"})).text()""",
        f"/api/v1/plans/{plan}/resume",
    )
    assert json.loads(answer)["code"] == "enrol_factor"


def test_the_company_s_log_in_brings_one_to_the_page_that_was_asked_for(guarded, page):
    guarded.idp.claims |= {"email": "rita@example.org", "sub": "rita"}
    assert look_at(page, guarded.people, "/accounts/login/") == []
    page.goto(f"{guarded.people.url}/reports/")

    page.get_by_role("button", name="Log in with Example Works").click()

    expect(page.get_by_role("heading", name="Reports")).to_be_visible()
    assert guarded.people.complaints == []
    assert "sso_connected" in guarded.system_trail()
