"""Hostile text in every field there is, and a real browser that shows it as the text it is.

It asks nobody elsewhere, runs none of it, finds no element in it, and its console is silent, which
the content security policy would break first. tests/web/test_inert_text.py reads the same pages
with a parser, and posts every form of them.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from tests.journeys.stack import HOST, ROOT, clean_environ, ends_with_us
from tests.journeys.visitors import PATIENCE_MS, browsing
from tests.journeys.web_alone import web_alone
from tests.web.api_scene import DEPLOYERS_TEXT, DICTIONARY_TEXT
from tests.web.hostile_text import ELSEWHERE, PIECES, SHORT

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(300)]

NO_PAGES = re.compile(
    r"^api-(?!docs$)|-(csv|jsonl|json|pdf|parts|tenants|events|snapshot|charts|verifier|panel)$"
    r"|^(livez|metrics|report|trail-everything-jsonl)$"
)
"""What a browser is never sent to as a page: downloads, data, and parts of a page."""
SEEN_BY_ALL = "view"
SHOWN_AT_LEAST = 25
ALIVE = f"""() => [...document.querySelectorAll("*")]
    .filter((one) => one.localName === "xss" || one.localName === "iframe"
        || [...one.attributes].some((a) => a.name.startsWith("on"))
        || ["href", "src", "action", "formAction", "xlink:href"].some((name) => {{
            const to = String(one.getAttribute(name) ?? "").trim().toLowerCase();
            return to.startsWith("javascript:") || to.includes("//{ELSEWHERE}");
        }}))
    .map((one) => one.outerHTML.slice(0, 200))
    .concat(window.hit === undefined ? [] : ["the text was run"])"""


@dataclass
class Hostile:
    """A console full of hostile text, the browsers of its people, and what went wrong in them."""

    url: str
    told: dict[str, Any]
    process: "subprocess.Popen[str]"
    browser: Browser
    problems: list[str] = field(default_factory=list)

    def say(self, words: str) -> None:
        """Let an event of the live plan say the words, and hostile text after them."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{words}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "said\n"

    def page_of(self, who: str) -> Page:
        context = self.browser.new_context(reduced_motion="reduce")
        context.set_default_timeout(PATIENCE_MS)
        context.add_cookies(
            [{"name": "sessionid", "value": self.told["sessions"][who], "url": self.url}]
        )
        self.watch(context)
        return context.new_page()

    def watch(self, context: BrowserContext) -> None:
        def asked(request: Request) -> None:
            if not request.url.startswith((self.url, "data:", "blob:")):
                self.problems.append(f"asked {request.url}")

        def said(message: Any) -> None:
            # A page that is not allowed or not there is an error on purpose.
            if message.type == "error" and "the server responded" not in message.text:
                self.problems.append(f"console: {message.text}")

        context.on("request", asked)
        context.on("console", said)
        context.on("weberror", lambda error: self.problems.append(f"error: {error.error}"))
        context.on("dialog", lambda dialog: self.problems.append(f"dialog: {dialog.message}"))

    def look(self, page: Page, name: str) -> int:
        """Note what of the text is alive on the page; return how often it stands there."""
        self.problems += [f"alive: {one}" for one in page.evaluate(ALIVE)]
        self.problems[:] = [one if "\t" in one else f"{name}\t{one}" for one in self.problems]
        return (page.text_content("body") or "").count(SHORT)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    data = tmp_path_factory.mktemp("hostile")
    environ = ready(data)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.journeys.hostile_console"],
        cwd=ROOT,
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=ends_with_us,
    )
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    with web_alone(data, environ) as url, browsing() as browser:
        yield Hostile(url, told, process, browser)
    assert process.stdin is not None
    process.stdin.close()
    process.stdout.close()
    assert process.wait(20) == 0


def ready(data: Path) -> dict[str, str]:
    """Write the files of an installation whose free words are hostile too."""
    (data / "static").mkdir()
    (data / "config").mkdir()
    (data / "config" / "deployers.yaml").write_text(DEPLOYERS_TEXT, encoding="utf-8")
    dictionary = json.loads(DICTIONARY_TEXT)
    dictionary["dashboards"] = [
        {"title": "".join(PIECES), "panels": [{"kpi": "error_rate", "split": "canary_control"}]}
    ]
    (data / "config" / "version_upgrade_dashboards.json").write_text(json.dumps(dictionary))
    return clean_environ(
        UPGRADECONSOLE_DATA=str(data),
        UPGRADECONSOLE_REQUIRE_MFA="0",
        UPGRADECONSOLE_URL=f"http://{HOST}",
    )


def test_no_page_lets_the_text_come_alive(hostile):
    assert hostile.told["left"] == []
    hostile.problems.clear()
    shown = set()
    for who in hostile.told["sessions"]:
        page = hostile.page_of(who)
        for name, where, action in hostile.told["pages"]:
            if NO_PAGES.search(name) or (who != "ada" and action != SEEN_BY_ALL):
                continue
            page.goto(f"{hostile.url}{where}")
            if hostile.look(page, f"{name} as {who}"):
                shown.add(name)
        page.context.close()
    assert hostile.problems == []
    assert len(shown) >= SHOWN_AT_LEAST, sorted(shown)


def test_nor_does_what_comes_by_the_socket_or_into_a_chart(hostile):
    hostile.problems.clear()
    page = hostile.page_of("ada")
    page.route("**/charts.json", charts_that_lie)
    frames: list[str] = []
    page.on("websocket", lambda ws: ws.on("framereceived", lambda one: frames.append(str(one))))
    with page.expect_websocket():
        page.goto(f"{hostile.url}{hostile.told['live']}")
    hostile.say("By the socket: ")

    said = page.get_by_text("By the socket: javascript:").first
    expect(said).to_be_visible()
    expect(said).to_contain_text(SHORT)
    assert any("By the socket: " in frame for frame in frames)
    # The tooltip of a chart.
    plot = page.locator("[data-charts-box] .main-svg").first
    plot.scroll_into_view_if_needed()
    plot.hover()
    expect(page.locator("[data-charts-box] .hoverlayer")).to_contain_text("<b>bold</b>")
    expect(page.locator("[data-charts-box] .hoverlayer")).to_contain_text("%{x}")
    assert page.locator("[data-charts-box] a").count() == 0

    hostile.look(page, "the live page")
    assert hostile.problems == []
    page.context.close()


def charts_that_lie(route: Any) -> None:
    """Answer with charts of which every word is hostile."""
    told = route.fetch().json()
    words = f"<a href=https://{ELSEWHERE}>a</a><b>bold</b>%{{x}}"
    assert told["charts"]
    for chart in told["charts"]:
        chart |= {"title": words, "unit": words}
        chart["limits"] = [one | {"label": words} for one in chart["limits"]]
        chart["lines"] = [one | {"label": words} for one in chart["lines"]]
        line = chart["lines"][0]["name"]
        # A minute's worth, so that there is one below the pointer.
        chart["points"] = [
            {"at": f"2026-11-26T10:00:{second:02}Z", "line": line, "value": 1.0, "said": words}
            for second in range(60)
        ]
    told["marks"] = []
    route.fulfill(json=told)
