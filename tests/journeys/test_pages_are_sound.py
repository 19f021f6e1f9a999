"""Every page in light and dark, wide and narrow, empty and busy: nothing breaks or shuts out.

Axe judges whether a page can be used by everybody; what it finds is named with its place.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect

from batches.pages import plan_form_urls
from batches.pages import urls as batch_urls
from plans.pages import urls as plan_urls
from reports import urls as report_urls
from tests.journeys.stack import (
    GOOD,
    ROOT,
    Stack,
    clean_environ,
    running,
)
from tests.journeys.visitors import People, browsing
from tests.journeys.web_alone import web_alone

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(180)]

AXE_OPTIONS = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]},
    # What passed is most of a page, and nobody reads it.
    "resultTypes": ["violations"],
}
WIDE: ViewportSize = {"width": 1280, "height": 900}
NARROW: ViewportSize = {"width": 360, "height": 740}
ONE_LINE_PX = 60
POLICIES = """
policies:
  at-once:
    description: "Everybody at once, and watched for a moment."
    batches:
      - {name: all, percentage: 100, soak_minutes: 0.03}
    rollback_thresholds: {error_rate: 50}
    limits: {look_seconds: 1}
  gated:
    description: "A long look, then a person lets the rest begin."
    batches:
      - {name: canary, percentage: 40, soak_minutes: 30, metrics: [latency_ms]}
      - {name: rest, percentage: 60, soak_minutes: 30, advance: manual}
    rollback_thresholds: {error_rate: 50, latency_ms: 200}
    limits: {look_seconds: 1, call_timeout_seconds: 5}
    rollback: {on_manual_pause: {rollback_after_seconds: 120}}
  weighed:
    description: "The evidence test may take everything back."
    batches:
      - {name: canary, percentage: 40, soak_minutes: 0.1}
      - {name: rest, percentage: 60, soak_minutes: 0.1}
    limits: {look_seconds: 1}
    evidence: {kpis: [error_rate], action: rollback, max_false_rollback_risk: 1, detect: 60}
approvals:
  default: {required_roles: [system_admin, role_admin], max_pending_minutes: 60}
"""
UNUSED = "1.6.0"
# Who opens which page. {running} and the like stand for the plan of that state.
PAGES = {
    "home": ("mara", "/"),
    "plan-list": ("mara", "/plans/"),
    "plan-list none fits": ("mara", "/plans/?q=nothing-has-this-name"),
    "plan-new": ("mara", "/plans/new/"),
    "plan-new again": ("mara", "/plans/new/?from={completed}"),
    "plan-edit": ("mara", "/plans/{waiting}/edit/"),
    "plan-adjust": ("mara", "/plans/{running}/adjust/"),
    "plan-replay": ("rita", "/plans/{completed}/replay/"),
    "plan-replay weighed": ("rita", "/plans/{completed}/replay/?kpis=error_rate&ratio=1.1"),
    "plan-replay to the last digit": ("rita", "/plans/{weighed}/replay/?policy="),
    "plan-replay tighter": ("rita", "/plans/{completed}/replay/?limit_0=0&everywhere=on"),
    "approval-inbox": ("aram", "/approvals/"),
    "live-plan waiting": ("aram", "/plans/{waiting}/"),
    "live-plan whose evidence may take it back": ("aram", "/plans/{weighed_waiting}/"),
    "live-plan running": ("olga", "/plans/{running}/"),
    "live-plan paused": ("olga", "/plans/{paused}/"),
    "live-plan completed": ("olga", "/plans/{completed}/"),
    "live-plan needs a hand": ("olga", "/plans/{needs_hand}/"),
    "live-plan broken": ("rita", "/plans/{broken}/"),
    "break-glass": ("olga", "/plans/{waiting}/break-glass/?act=start"),
    "break-glass not now": ("olga", "/plans/{completed}/break-glass/?act=start"),
    "break-glass-list": ("rita", "/break-glass/"),
    "plan-grants": ("rita", "/plans/{completed}/grants/"),
    "approval-inbox with a review": ("rita", "/approvals/"),
    "live-plan-ask stop": ("olga", "/plans/{running}/ask/stop/"),
    "live-plan auditor": ("rita", "/plans/{completed}/"),
    "plan-trail": ("rita", "/plans/{completed}/trail/"),
    "tenant-list": ("mara", "/tenants/"),
    "tenant-new": ("mara", "/tenants/new/"),
    "tenant-import": ("mara", "/tenants/import/"),
    "tenant": ("mara", "/tenants/acorn/"),
    "release-list": ("mara", "/releases/"),
    "release-register": ("mara", "/releases/register/"),
    "release": ("olga", "/releases/{release}/"),
    "release in quarantine": ("ada", "/releases/{leaky}/"),
    "key-list": ("ada", "/releases/keys/"),
    "key-new": ("ada", "/releases/keys/new/"),
    "key": ("ada", "/releases/keys/{key}/"),
    "freeze-list": ("mara", "/freezes/"),
    "freeze-new": ("mara", "/freezes/new/"),
    "policy-list": ("mara", "/policies/"),
    "policy-check": ("ada", "/policies/check/"),
    "policy": ("mara", "/policies/gated/"),
    "kpi-list": ("mara", "/kpis/"),
    "kpi": ("mara", "/kpis/error_rate/"),
    "policy weighed": ("mara", "/policies/weighed/"),
    "policy-placebo weighed": ("mara", "/policies/weighed/placebo/"),
    "policy-placebo": ("mara", "/policies/gated/placebo/"),
    "access-review": ("ada", "/access/"),
    "role-give": ("ada", "/access/give/"),
    "access-review past": ("rita", "/access/?at=2020-01-01"),
    "access-review wrong": ("rita", "/access/?at=soon"),
    "token-list": ("mara", "/tokens/"),
    "token-new": ("mara", "/tokens/new/"),
    "trail": ("rita", "/trail/"),
    "drill-list": ("mara", "/drills/"),
    "drill-new": ("mara", "/drills/new/"),
    "drill-schedule-new": ("mara", "/drills/schedules/new/"),
    "reports": ("rita", "/reports/"),
    "source-list": ("rita", "/sources/"),
    "calibration": ("rita", "/calibration/"),
    "plan-report not ready": ("rita", "/plans/{waiting}/report.pdf"),
    "api-docs": ("mara", "/api/docs/"),
    "not found": ("mara", "/no/such/page/"),
    "forbidden": ("rita", "/plans/new/"),
    "log-out": ("mara", "/accounts/logout/"),
    "password": ("mara", "/accounts/password/change/"),
    "two factors": ("mara", "/accounts/2fa/"),
    "sessions": ("mara", "/accounts/sessions/"),
    "enrol": ("mara", "/accounts/enrol/"),
}
EMPTY_PAGES = (
    "/",
    "/plans/new/",
    "/approvals/",
    "/break-glass/",
    "/tenants/",
    "/releases/",
    "/freezes/",
    "/policies/",
    "/kpis/",
    "/trail/",
    "/access/",
    "/tokens/",
    "/drills/",
    "/reports/",
    "/sources/",
    "/calibration/",
)
# What is no page: acts, fragments, data and downloads.
NO_PAGES = {
    "plan-preview",
    "plan-adjust-preview",
    "policy-placebo-panel",
    "plan-submit",
    "plan-approve",
    "plan-reject",
    "plan-cancel",
    "plan-archive",
    "plan-grants-json",
    "break-glass-review",
    "plan-trail-csv",
    "plan-trail-jsonl",
    "release-verify",
    "release-quarantine",
    "release-lift",
    "key-retire",
    "key-revoke",
    "kpi-probe",
    "kpi-probe-all",
    "trail-csv",
    "access-review-csv",
    "access-review-pdf",
    "role-confirm",
    "role-refuse",
    "token-revoke",
    "trail-jsonl",
    "trail-everything-jsonl",
    "trail-verifier",
    "live-plan-parts",
    "live-plan-tenants",
    "live-plan-events",
    "live-plan-snapshot",
    "live-plan-charts",
    "live-plan-start",
    "live-plan-pause",
    "live-plan-resume",
    "live-plan-promote",
    "live-plan-release-hold",
    "live-plan-rollback",
    "live-plan-stop",
    "live-plan-override-freeze",
    "freeze-lift",
    "live-plan-settle",
    "live-plan-do",
    "live-plan-retry",
    "drill-schedule-approve",
    "drill-schedule-switch",
    "drill-schedule-run",
    "report",
    "api-plan-report",
    "metrics",
    # Pages, but only of people with a second factor: test_second_factors.py looks at them.
    "step-up",
    "step-up-resume",
}
_MAKE_ADMINISTRATOR = """
import django
django.setup()
from plans.models import User
User.objects.create_superuser("ada@example.org", "Correct-Horse-9-Battery", name="Ada Lindqvist")
"""


@dataclass
class Busy:
    """A console on which something of everything has happened."""

    stack: Stack
    people: People
    plans: dict[str, str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as running_browser:
        yield running_browser


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Busy]:
    with running(tmp_path_factory.mktemp("pages"), policies=POLICIES) as stack:
        people = People(browser, stack.url, stack.data / "demo-logins.txt")
        yield Busy(stack, people, make_plans(stack))
        people.end()


def make_plans(stack: Stack) -> dict[str, str]:
    """Let one plan come into each state that has a face of its own; return their ids."""
    stuck = stack.take_tenants(4)
    stack.turn(refuse=[f"{tenant}:restore" for tenant in stuck[:2]])
    plans = {
        "completed": stack.begin(stack.take_tenants(5), policy="at-once"),
        "needs_hand": stack.begin(stuck, policy="at-once"),
        "running": stack.begin(stack.take_tenants(5), policy="gated"),
        "paused": stack.begin(stack.take_tenants(5), policy="gated"),
        "waiting": stack.hand_in(stack.take_tenants(5), policy="gated"),
        "broken": stack.hand_in(stack.take_tenants(2), policy="gated"),
        "weighed": stack.begin(stack.take_tenants(5), policy="weighed"),
        "weighed_waiting": stack.hand_in(stack.take_tenants(5), policy="weighed"),
    }
    given = {"act": "start", "reason": "The hole is being used right now."}
    status, answer = stack.rest(
        "POST", f"/api/v1/plans/{plans['broken']}/break-glass", given, by="olga"
    )
    assert status == 201, answer
    for state in ("completed", "needs_hand", "weighed"):
        stack.wait_for(plans[state], "completed")
    stack.act(plans["needs_hand"], "rollback", reason="Olga has seen enough")
    stack.wait_for(plans["needs_hand"], "needs_hand")
    for state in ("running", "paused"):
        stack.wait_for_calls(plans[state], "install", 2)
    return plans | releases_and_keys(stack)


def releases_and_keys(stack: Stack) -> dict[str, str]:
    """Put a release that nobody needs into quarantine; return the ids of what has a page."""
    _status, page = stack.rest("GET", "/api/v1/releases/", by="olga")
    by_version = {row["version"]: row for row in page["results"]}
    good, leaky = by_version[GOOD], by_version[UNUSED]
    where = f"/api/v1/releases/{leaky['release']}/quarantine"
    assert stack.rest("POST", where, {"reason": "It leaks."}, by="olga")[0] == 200
    return {"release": good["release"], "leaky": leaky["release"], "key": good["signed_by"]}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[People]:
    """Yield the one person of a console that holds nothing yet."""
    data = tmp_path_factory.mktemp("empty")
    (data / "static").mkdir()
    environ = clean_environ(UPGRADECONSOLE_DATA=str(data), UPGRADECONSOLE_REQUIRE_MFA="0")
    for argv in (["manage.py", "prepare", "--no-demo"], ["-c", _MAKE_ADMINISTRATOR]):
        subprocess.run([sys.executable, *argv], cwd=ROOT, env=environ, check=True)
    logins = data / "logins.txt"
    logins.write_text("administrator ada@example.org Correct-Horse-9-Battery\n", encoding="utf-8")
    with web_alone(data, environ) as url:
        people = People(browser, url, logins)
        yield people
        people.end()


# ---------------------------------------------------------------- the pages


def test_every_route_is_looked_at_or_is_no_page():
    routes = [plan_form_urls, plan_urls, batch_urls, report_urls]
    names = {one.name for routed in routes for one in routed.urlpatterns}

    assert names - NO_PAGES == {name.split()[0] for name in PAGES} & names


@pytest.mark.parametrize("name", PAGES)
def test_a_page_with_much_on_it_is_sound(busy, name):
    who, path = PAGES[name]
    page = busy.people.page_of(who, reduced_motion="reduce")
    if name == "live-plan paused":
        # Now, since it is taken back when nobody resumes it.
        busy.stack.act(busy.plans["paused"], "pause", reason="Olga looks at something")

    problems = look_at(page, busy.people, path.format(**busy.plans))

    page.close()
    assert problems == []


@pytest.mark.parametrize("path", EMPTY_PAGES)
def test_a_page_with_nothing_on_it_is_sound(empty, path):
    page = empty.page_of("ada", reduced_motion="reduce")

    problems = look_at(page, empty, path)

    page.close()
    assert problems == []


def test_the_log_in_is_sound(busy):
    page = busy.people.anonymous_page(reduced_motion="reduce")

    problems = look_at(page, busy.people, "/accounts/login/")

    page.context.close()
    assert problems == []


def test_the_demonstration_says_that_passwords_are_enough(busy):
    page = busy.people.page_of("mara")

    for path in ("/accounts/sessions/", "/plans/", "/tenants/"):
        page.goto(f"{busy.stack.url}{path}")
        expect(page.get_by_text("Second factors are not required here")).to_be_visible()


def look_at(page: Page, people: People, path: str) -> list[str]:
    """Look at a page in four ways; return everything that is wrong with it."""
    people.complaints.clear()
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="light")
    page.goto(f"{people.url}{path}")
    wait_until_it_is_whole(page)
    problems: list[str] = []
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            expect(page.locator("html")).to_have_attribute("data-bs-theme", scheme)
            found = Axe().run(page, options=AXE_OPTIONS)
            where = f"{scheme}, {size['width']} px"
            problems += [f"{where}: {line}" for line in violations(found.response)]
        problems += too_wide(page) + in_two_lines(page)
    # The answer to a page that is not there or not allowed is an error on purpose.
    return problems + [line for line in people.complaints if "the server responded" not in line]


def wait_until_it_is_whole(page: Page) -> None:
    """Wait for what comes after the page itself: charts, the preview, the feed."""
    page.wait_for_load_state()
    if page.locator("[data-charts-box]").count():
        expect(page.locator("[data-charts-box] .main-svg").first).to_be_visible()
    if page.locator("[data-live]").count():
        expect(page.locator("[data-fresh]")).to_have_class(re.compile("is-live"))
    if page.locator("#plan-preview").count():
        expect(page.locator("#plan-preview .htmx-request")).to_have_count(0)


def violations(answer: dict[str, Any]) -> list[str]:
    """Return what Axe objects to, each with its place."""
    return [
        f"{found['id']}: {' '.join(node['target'])}: {node['failureSummary']}"
        for found in answer["violations"]
        for node in found["nodes"]
    ]


def too_wide(page: Page) -> list[str]:
    """Return how much of the page one has to scroll sideways for."""
    over = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    width = page.evaluate("window.innerWidth")
    return [f"{width} px: {over} px too wide: {widest(page)}"] if over > 0 else []


def in_two_lines(page: Page) -> list[str]:
    """Return that the bar at the top has grown: its places have no room beside each other."""
    height = page.locator(".topbar").evaluate("bar => bar.offsetHeight")
    return [f"the bar at the top is {height} px high"] if height > ONE_LINE_PX else []


def widest(page: Page) -> str:
    """Return what reaches furthest to the right."""
    return str(
        page.evaluate(
            """() => Array.from(document.querySelectorAll("main *, header *, footer *"))
            .map((node) => [node.getBoundingClientRect().right, node.outerHTML.slice(0, 120)])
            .sort((a, b) => b[0] - a[0])[0]"""
        )
    )


# ---------------------------------------------------------------- the keyboard


def test_a_plan_is_paused_and_its_dialog_opened_with_the_keyboard(busy):
    plan = busy.stack.begin(busy.stack.take_tenants(3), policy="gated")
    busy.stack.wait_for_calls(plan, "install", 1)
    page = busy.people.page_of("olga")
    page.goto(f"{busy.stack.url}/plans/{plan}/")
    expect(page.locator("[data-fresh]")).to_have_class(re.compile("is-live"))

    page.keyboard.press("Shift+R")
    dialog = page.get_by_role("dialog", name="Roll back?")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.get_by_role("button", name="Roll back…")).to_be_focused()
    page.keyboard.press("p")

    expect(page.locator(".planbar-title .state")).to_have_text("Paused")
    assert busy.stack.state(plan) == "paused"
    assert busy.stack.calls(plan, "restore") == []


def test_a_letter_that_is_typed_into_a_field_is_no_command(busy):
    page = busy.people.page_of("olga")
    page.goto(f"{busy.stack.url}/plans/{busy.plans['running']}/")
    expect(page.locator("[data-fresh]")).to_have_class(re.compile("is-live"))

    page.keyboard.press("/")
    search = page.get_by_placeholder("Search tenants")
    expect(search).to_be_focused()
    page.keyboard.type("pR")

    expect(search).to_have_value("pR")
    expect(page.get_by_role("dialog", name="Roll back?")).to_be_hidden()
    assert busy.stack.state(busy.plans["running"]) == "running"


# ---------------------------------------------------------------- the navigation


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_what_is_under_more_is_sound_and_leads_on(empty, size):
    page = empty.page_of("ada", reduced_motion="reduce")
    page.set_viewport_size(size)
    page.goto(f"{empty.url}/plans/")
    if size is NARROW:
        page.get_by_role("button", name="Navigation").click()
    nav = page.get_by_role("navigation", name="Main")
    nav.get_by_text("More").click()

    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert violations(Axe().run(page, options=AXE_OPTIONS).response) == []
    assert too_wide(page) == []
    nav.get_by_role("link", name="Trail").click()
    expect(page.get_by_role("heading", name="Trail of the system")).to_be_visible()
    page.close()


def test_the_navigation_needs_no_script(empty):
    page = empty.page_of("ada", java_script_enabled=False)
    page.set_viewport_size(NARROW)
    page.goto(f"{empty.url}/plans/")
    nav = page.get_by_role("navigation", name="Main")
    expect(page.get_by_role("button", name="Navigation")).to_be_hidden()
    nav.get_by_text("More").click()
    nav.get_by_role("link", name="Sources").click()
    expect(page.get_by_role("heading", name="Sources", exact=True)).to_be_visible()
    page.close()


def test_a_plan_is_rolled_back_without_scripts(busy):
    plan = busy.stack.begin(busy.stack.take_tenants(2), policy="gated")
    busy.stack.wait_for_calls(plan, "install", 1)
    page = busy.people.page_of("olga", java_script_enabled=False)
    page.goto(f"{busy.stack.url}/plans/{plan}/")

    page.get_by_role("link", name="roll back", exact=True).click()
    page.get_by_role("button", name="Roll back now").click()

    busy.stack.wait_for(plan, "rolled_back")
    page.close()
