"""What people do with the console in their browsers, from the first click to the report.

The fleet's own log is the judge of what happened, and the report is read as a PDF.
"""

import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from tests.journeys.stack import GOOD, OLD, PLUGIN, Stack, at, running
from tests.journeys.visitors import People, ReadReport, browsing, read_pdf
from upgradeconsole.demo.tenants import demo_tenants

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(200)]

SLOW = "1.6.0"
# What the console measures begins and ends with a look at the tenants; on a busy machine it waits.
TOLERANCE_SECONDS = 2.0
# What a busy machine may add to the seconds that the page promises.
SLACK_SECONDS = 6
# What follows the words says how the tenants are doing afterwards.
TAKEN_BACK = re.compile(r"^Rolled back\b")
POLICIES = """
policies:
  short-soaks:
    description: "Two batches that are watched for a few seconds each."
    batches:
      - {name: canary, percentage: 40, soak_minutes: 0.05, metrics: [error_rate, latency_ms]}
      - {name: rest, percentage: 60, soak_minutes: 0.05}
    rollback_thresholds: {error_rate: 10, latency_ms: 200}
    limits: {look_seconds: 1}
  long-soak:
    description: "One batch that is watched for longer than any story looks at it."
    batches:
      - {name: all, percentage: 100, soak_minutes: 5}
    rollback_thresholds: {error_rate: 10, latency_ms: 200}
    limits: {look_seconds: 1}
    rollback: {on_manual_pause: {rollback_after_seconds: 8}}
approvals:
  default: {required_roles: [system_admin, role_admin], max_pending_minutes: 60}
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("stories")
    # The one that begins with nothing, as a person does who tries the console.
    with running(folder, policies=POLICIES, first_start=True) as started:
        yield started


@pytest.fixture(scope="module")
def everybody(stack: Stack) -> Iterator[People]:
    with browsing() as browser:
        people = People(browser, stack.url, stack.data / "demo-logins.txt")
        yield people
        people.end()


@pytest.fixture
def people(everybody: People, stack: Stack) -> Iterator[People]:
    """Return the people; at the end no browser of theirs has complained."""
    everybody.complaints.clear()
    yield everybody
    everybody.close_pages()
    # The demonstration is over all tenants: it would wait for what still runs.
    for row in stack.rows("SELECT id FROM plans_plan WHERE state IN ('running', 'paused')"):
        plan = str(UUID(row["id"]))
        stack.act(plan, "rollback", reason="The story is over")
        stack.wait_for(plan, "rolled_back")
    assert everybody.complaints == []


# ---------------------------------------------------------------- the stories


def test_a_good_release_goes_from_the_form_to_the_report(stack, people, tmp_path):
    tenants = stack.take_tenants(5)
    mara = people.page_of("mara")
    fill_the_form(mara, stack, tenants, policy="short-soaks", to=GOOD, name="story-good")

    preview = mara.get_by_role("region", name="What would happen")
    expect(preview.get_by_role("row", name="canary")).to_contain_text("2 tenants (40.0 %)")
    expect(preview.get_by_role("row", name="rest")).to_contain_text("3 tenants (60.0 %)")
    expect(preview).to_contain_text("error_rate above 10 %: the whole plan is taken back")
    expect(preview).to_contain_text("latency_ms above 200 ms for more than 5 % of the requests")
    quoted = re.search(r"All back within\s+(\d+) s\s+of (\d+) s", preview.inner_text())
    assert quoted is not None
    assert int(quoted[1]) <= int(quoted[2]) <= 120
    mara.get_by_role("button", name="Save and submit").click()
    expect(mara.get_by_role("heading", name="story-good")).to_be_visible()
    expect(state_on(mara)).to_have_text("Awaiting approval")
    assert stack.calls(plan_on(mara)) == []

    approve_in_the_inbox(people, stack, "story-good")

    expect(state_on(mara)).to_have_text("Completed", timeout=40_000)
    expect(mara.get_by_role("button", name=f"{len(tenants)} upgraded")).to_be_visible()
    plan = plan_on(mara)
    report = download_report(mara, tmp_path)
    installs = stack.calls(plan, "install")
    assert sorted(call["tenant"] for call in installs) == sorted(tenants)
    assert set(stack.versions(tenants).values()) == {GOOD}
    assert stack.calls(plan, "restore") == []
    n = len(installs)
    assert f"Of {n} planned tenants, {n} were touched: {n} upgraded." in report
    assert "No rollback happened." in report
    assert "Aram Hovsepian <aram@example.org>" in report
    assert "Sona Marchetti <sona@example.org>" in report
    installs.sort(key=lambda call: call["started"])
    for name, calls in (("1 canary 2", installs[:2]), ("2 rest 3", installs[2:])):
        took = report.after(f"{name} passed: {len(calls)} upgraded", r"[\d-]+ [\d:]+ [\d.]+ s")
        assert float(took.split()[-2]) == pytest.approx(span_of(calls), abs=TOLERANCE_SECONDS)


def test_the_demonstration_takes_itself_back_as_the_readme_tells(stack, people, tmp_path):
    before = stack.versions([tenant["tenant"] for tenant in demo_tenants(120)])
    olga = people.page_of("olga")
    olga.goto(stack.url)
    olga.get_by_role("link", name="demo-1-takes-itself-back").click()
    expect(state_on(olga)).to_have_text("Awaiting approval")

    approve_in_the_inbox(people, stack, "demo-1-takes-itself-back")

    expect(state_on(olga)).to_have_text("Running", timeout=30_000)
    promise = olga.locator(".planbar-promise")
    expect(promise).to_contain_text("Everything back within")
    expect(state_on(olga)).to_have_text(TAKEN_BACK, timeout=90_000)
    told = olga.get_by_role("region", name="Rollback")
    expect(told).to_contain_text("The console rolled back the plan: error_rate")
    found = re.search(
        r"error_rate ([\d.]+) % in the upgraded tenants .* limit of 2 %.*quoted (\d+) s",
        told.inner_text(),
        re.DOTALL,
    )
    assert found, told.inner_text()
    assert float(found[1]) > 2
    expect(promise).to_contain_text(re.compile(r"Kept: back in [\d.]+ s"))
    rails = olga.locator("[data-part=guardrails]").get_by_role("listitem")
    expect(rails.filter(has_text="error_rate")).to_contain_text("Breached")

    plan = plan_on(olga)
    report = download_report(olga, tmp_path)
    installed = {call["tenant"] for call in stack.calls(plan, "install")}
    restored = {call["tenant"] for call in stack.calls(plan, "restore")}
    assert len(installed) == 6
    assert restored == installed
    assert stack.versions(list(before)) == before
    assert "Of 120 planned tenants, 6 were touched: 6 rolled back." in report
    assert f"error_rate {found[1]} % in the upgraded tenants" in report
    assert abs(float(report.after("Quoted before")) - int(found[2])) <= 0.5
    assert_measured_right(stack, plan, report)


def test_a_pause_that_nobody_resumes_takes_everything_back(stack, people, tmp_path):
    tenants = stack.take_tenants(4)
    olga = begin(people, stack, tenants, policy="long-soak", to=GOOD)
    expect(olga.get_by_role("button", name="4 upgraded")).to_be_visible()
    answered = olga.get_by_role("list", name="Deployer's answers").get_by_role("listitem")
    expect(answered).to_have_count(4)

    olga.get_by_role("button", name="Pause").click()
    paused = datetime.now(UTC)

    expect(state_on(olga)).to_have_text("Paused")
    expect(olga.get_by_role("region", name="Paused")).to_contain_text("Unless somebody resumes by")
    clock = olga.locator(".promise-clock")
    expect(clock).to_have_text(re.compile(r"00:0[0-8]"))
    expect(state_on(olga)).to_have_text(TAKEN_BACK, timeout=60_000)
    plan = plan_on(olga)
    restores = stack.calls(plan, "restore")
    assert sorted(call["tenant"] for call in restores) == sorted(tenants)
    last = max(at(call["ended"]) for call in restores)
    assert 7 < (last - paused).total_seconds() < 180
    assert set(stack.versions(tenants).values()) == {OLD}
    report = download_report(olga, tmp_path)
    assert "Olga Brandt paused the plan" in report
    assert_measured_right(stack, plan, report)


def test_a_pause_that_somebody_resumes_goes_on_to_the_end(stack, people, tmp_path):
    tenants = stack.take_tenants(5)
    olga = begin(people, stack, tenants, policy="short-soaks", to=GOOD)
    expect(olga.get_by_role("button", name="2 upgraded")).to_be_visible()

    # A slow press: what the page renders anew meanwhile must not swallow the click.
    olga.get_by_role("button", name="Pause").click(delay=1500)
    expect(state_on(olga)).to_have_text("Paused")
    reached = len(stack.calls(plan_on(olga), "install"))
    # Longer than the soak that was left.
    olga.wait_for_timeout(5000)
    assert len(stack.calls(plan_on(olga), "install")) == reached
    olga.get_by_role("button", name="Resume").click()

    expect(state_on(olga)).to_have_text("Completed", timeout=40_000)
    plan = plan_on(olga)
    assert set(stack.versions(tenants).values()) == {GOOD}
    assert stack.calls(plan, "restore") == []
    report = download_report(olga, tmp_path)
    assert "Olga Brandt paused the plan" in report
    assert "Olga Brandt resumed the plan" in report
    assert "No rollback happened." in report


def test_a_release_that_is_only_slower_is_taken_back_for_its_latency(stack, people, tmp_path):
    tenants = stack.take_tenants(4)
    olga = begin(people, stack, tenants, policy="long-soak", to=SLOW)

    expect(state_on(olga)).to_have_text(TAKEN_BACK, timeout=60_000)

    told = olga.get_by_role("region", name="Rollback")
    expect(told).to_contain_text(re.compile(r"latency_ms.* slower than 200 ms, allowed 5 %"))
    plan = plan_on(olga)
    assert len(stack.calls(plan, "restore")) == len(stack.calls(plan, "install")) == len(tenants)
    assert set(stack.versions(tenants).values()) == {OLD}
    report = download_report(olga, tmp_path)
    assert "slower than 200 ms, allowed 5 %" in report
    assert_measured_right(stack, plan, report)


def test_a_completed_plan_is_taken_back_by_the_dialog(stack, people, tmp_path):
    tenants = stack.take_tenants(5)
    olga = begin(people, stack, tenants, policy="short-soaks", to=GOOD)
    expect(state_on(olga)).to_have_text("Completed", timeout=40_000)

    olga.get_by_role("button", name="Roll back…").click()
    dialog = olga.get_by_role("dialog", name="Roll back?")
    expect(dialog).to_contain_text(f"5 of 5 tenants go back to {OLD}")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    dialog.get_by_label("Reason").fill("The customers of acorn complain.")
    dialog.get_by_role("button", name="Roll back now").click()

    expect(dialog).to_be_hidden()
    expect(state_on(olga)).to_have_text(TAKEN_BACK, timeout=60_000)
    plan = plan_on(olga)
    assert {call["tenant"] for call in stack.calls(plan, "restore")} == set(tenants)
    assert set(stack.versions(tenants).values()) == {OLD}
    report = download_report(olga, tmp_path)
    assert "The customers of acorn complain." in report
    assert_measured_right(stack, plan, report)


def test_fault_22_without_sockets_the_page_is_right_by_polling(stack, people):
    tenants = stack.take_tenants(5)
    olga = people.page_of("olga")
    tried: list[str] = []

    def refuse(socket: WebSocketRoute) -> None:
        tried.append(socket.url)
        socket.close()

    olga.route_web_socket(re.compile(r"/ws/"), refuse)
    begin(people, stack, tenants, policy="short-soaks", to=GOOD, watching=olga)

    expect(fresh_on(olga)).to_contain_text("polling")
    expect(state_on(olga)).to_have_text("Completed", timeout=60_000)
    expect(olga.get_by_role("button", name="5 upgraded")).to_be_visible()
    expect(olga.get_by_role("log")).to_contain_text("Batch 2 (rest): 3 of 3 tenants run the new")
    rows = olga.get_by_role("table", name="Tenants, worst first")
    for tenant, version in stack.versions(tenants).items():
        expect(rows.get_by_role("row", name=tenant)).to_contain_text(version)
    expect(fresh_on(olga)).to_have_class(re.compile("is-live"))
    assert tried


def test_fault_22_a_watch_that_stands_still_is_seen_on_the_page(stack, people):
    tenants = stack.take_tenants(2)
    olga = begin(people, stack, tenants, policy="long-soak", to=GOOD)
    expect(fresh_on(olga)).to_have_class(re.compile("is-live"))

    stack.freeze("watch")
    frozen = time.monotonic()
    try:
        expect(fresh_on(olga)).to_have_class(
            re.compile("is-old"), timeout=(10 + SLACK_SECONDS) * 1000
        )
        expect(fresh_on(olga)).to_contain_text("watch silent")
        assert time.monotonic() - frozen > 8
        expect(fresh_on(olga)).to_have_class(
            re.compile("is-dead"), timeout=(20 + SLACK_SECONDS) * 1000
        )
        expect(fresh_on(olga)).to_contain_text("watch is silent")
        assert 28 < time.monotonic() - frozen < 30 + SLACK_SECONDS
    finally:
        stack.wake("watch")

    expect(fresh_on(olga)).to_have_class(re.compile("is-live"))
    expect(state_on(olga)).to_have_text("Running")
    assert set(stack.versions(tenants).values()) == {GOOD}


def test_fault_19_a_double_click_on_roll_back_makes_one_rollback(stack, people):
    tenants = stack.take_tenants(4)
    olga = begin(people, stack, tenants, policy="long-soak", to=GOOD)
    expect(olga.get_by_role("button", name="4 upgraded")).to_be_visible()
    posted: list[str] = []
    olga.on(
        "request",
        lambda request: posted.append(request.url) if request.method == "POST" else None,
    )

    olga.get_by_role("button", name="Roll back…").dblclick()
    olga.get_by_role("button", name="Roll back now").dblclick()

    expect(state_on(olga)).to_have_text(TAKEN_BACK, timeout=60_000)
    plan = plan_on(olga)
    assert len(posted) == 1
    assert stack.rollback(plan)["trigger"] == "person"
    assert len(stack.calls(plan, "restore")) == len(tenants)
    assert set(stack.versions(tenants).values()) == {OLD}


# ---------------------------------------------------------------- what people do


def fill_the_form(
    page: Page, stack: Stack, tenants: Sequence[str], *, policy: str, to: str, name: str
) -> None:
    """Open the form of a new plan and fill it in."""
    page.goto(stack.url)
    page.get_by_role("link", name="New plan").click()
    page.get_by_label("Plugin and release").select_option(f"{PLUGIN}@{to}")
    page.get_by_label("Policy").select_option(policy)
    page.get_by_label("These tenants").check()
    page.get_by_label("Tenant keys").fill(", ".join(tenants))
    page.get_by_label("Name", exact=False).last.fill(name)


def approve_in_the_inbox(people: People, stack: Stack, name: str) -> None:
    """Let Aram and Sona find the plan among their approvals and say yes."""
    for who in ("aram", "sona"):
        page = people.page_of(who)
        page.goto(stack.url)
        page.get_by_role("navigation", name="Main").get_by_role("link", name="Approvals").click()
        request = page.get_by_role("article").filter(has_text=name)
        request.get_by_role("link", name="Look and decide").click()
        expect(page.get_by_role("heading", name=name)).to_be_visible()
        page.get_by_role("button", name="Approve", exact=True).click()
        expect(page.get_by_role("log")).to_contain_text(
            re.compile(f"{who}.* approved as", re.IGNORECASE)
        )
        page.close()


def begin(
    people: People,
    stack: Stack,
    tenants: Sequence[str],
    *,
    policy: str,
    to: str,
    watching: Page | None = None,
) -> Page:
    """Have a plan made and approved, and return Olga's page of it once it runs."""
    olga = watching or people.page_of("olga")
    plan = stack.hand_in(tenants, policy=policy, to=to)
    olga.goto(f"{stack.url}/plans/{plan}/")
    expect(state_on(olga)).to_have_text("Awaiting approval")
    stack.approve(plan)
    # The page of a plan that waits turns into that of a running one by itself.
    expect(olga.get_by_role("heading", name="Metrics")).to_be_visible(timeout=30_000)
    return olga


def download_report(page: Page, folder: Path) -> ReadReport:
    """Take the report from the plan's page by one click, and read it."""
    # Its making takes seconds; until then the page that the link opens asks again by itself.
    with page.expect_download(timeout=60_000) as started:
        page.get_by_role("link", name="Report (PDF)").click()
    path = folder / "report.pdf"
    started.value.save_as(path)
    return read_pdf(path)


# ---------------------------------------------------------------- what they see


def state_on(page: Page) -> Locator:
    """Return the plan's state as the page shows it."""
    return page.locator(".planbar-title .state")


def fresh_on(page: Page) -> Locator:
    """Return the badge that says how live the page is."""
    return page.locator("[data-fresh]")


def plan_on(page: Page) -> str:
    """Return the id of the plan whose page this is."""
    found = re.search(r"/plans/([0-9a-f-]{36})/", page.url)
    assert found, page.url
    return found[1]


def span_of(calls: Sequence[dict[str, Any]]) -> float:
    """Return the seconds from the first call's beginning to the last one's end."""
    first = min(at(call["started"]) for call in calls)
    return (max(at(call["ended"]) for call in calls) - first).total_seconds()


def assert_measured_right(stack: Stack, plan: str, report: ReadReport) -> None:
    """Hold the report's times of a rollback against the fleet's."""
    restores = stack.calls(plan, "restore")
    stamp = r"[\d-]{10} [\d:.]{12}"
    clock, first, last = (
        datetime.fromisoformat(report.after(label, stamp)).replace(tzinfo=UTC)
        for label in ("Clock started", "First call", "Last tenant read back")
    )
    began = min(at(call["started"]) for call in restores)
    ended = max(at(call["ended"]) for call in restores)
    assert abs((first - began).total_seconds()) < TOLERANCE_SECONDS
    assert abs((last - ended).total_seconds()) < TOLERANCE_SECONDS
    measured = float(report.after("Measured", r"[\d.]+ s of 180 s").split()[0])
    assert measured == pytest.approx((ended - clock).total_seconds(), abs=TOLERANCE_SECONDS)
    quoted = float(report.after("Quoted before"))
    assert measured <= quoted + (first - clock).total_seconds()
