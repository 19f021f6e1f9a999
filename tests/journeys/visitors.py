"""People at their browsers: who they are, what they open, what their browser complains about."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

# What a browser does of itself (updates, other protocols) disturbs a measurement.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 15_000


@contextmanager
def browsing() -> Iterator[Browser]:
    """Run a browser: the system's Chromium, or else the one that Playwright has installed."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=ARGUMENTS
        )
        expect.set_options(timeout=PATIENCE_MS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class People:
    """The demo's people, each with a browser profile that stays logged in."""

    browser: Browser
    url: str
    logins: Path
    complaints: list[str] = field(default_factory=list)
    _profiles: dict[tuple[str, str], BrowserContext] = field(default_factory=dict)

    def page_of(self, name: str, **options: Any) -> Page:
        """Return a new page of a person; `options` make a browser profile of its own kind."""
        key = (name, repr(sorted(options.items())))
        if key not in self._profiles:
            self._profiles[key] = self._log_in(name, options)
        page = self._profiles[key].new_page()
        self._listen(page)
        return page

    def anonymous_page(self, **options: Any) -> Page:
        """Return a page of somebody who is not logged in."""
        page = self.browser.new_context(**options).new_page()
        self._listen(page)
        return page

    def close_pages(self) -> None:
        """Close what is open; everybody stays logged in."""
        for profile in self._profiles.values():
            for page in profile.pages:
                page.close()

    def end(self) -> None:
        """Close all profiles."""
        for profile in self._profiles.values():
            profile.close()
        self._profiles.clear()

    def _log_in(self, name: str, options: dict[str, Any]) -> BrowserContext:
        if any(person == name for person, _options in self._profiles):
            # Nobody logs in again for another size of window.
            first = next(kept for (person, _o), kept in self._profiles.items() if person == name)
            options = {**options, "storage_state": first.storage_state()}
        settings = {"viewport": {"width": 1280, "height": 900}, "timezone_id": "UTC", **options}
        profile = self.browser.new_context(**settings)
        profile.set_default_timeout(PATIENCE_MS)
        if "storage_state" in options:
            return profile
        page = profile.new_page()
        page.goto(f"{self.url}/accounts/login/")
        email, password = self.login_of(name)
        page.get_by_label("Email").fill(email)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("navigation", name="Main")).to_be_visible()
        page.close()
        return profile

    def login_of(self, name: str) -> tuple[str, str]:
        """Return the e-mail and the password that the demonstration has given a person."""
        for line in self.logins.read_text("utf-8").splitlines():
            *_title, email, password = line.split()
            if email.startswith(f"{name}@"):
                return email, password
        raise AssertionError(f"{name} has no log-in")

    def _listen(self, page: Page) -> None:
        def hear(message: ConsoleMessage) -> None:
            if message.type in {"error", "warning"}:
                self.complaints.append(f"{page.url}: {message.type}: {message.text}")

        page.on("console", hear)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))


@dataclass(frozen=True)
class ReadReport:
    """A report as somebody reads it: its text in reading order, without line breaks."""

    text: str

    def __contains__(self, sentence: str) -> bool:
        """Say whether the report says so, wherever its lines break."""
        return " ".join(sentence.split()) in self.text

    def after(self, label: str, pattern: str = r"[\d.]+") -> str:
        """Return what stands right after a label."""
        found = re.search(rf"{re.escape(label)}\s+({pattern})", self.text)
        assert found, f"{label} is not in the report; what is: {self._near(label)}"
        return found[1]

    def _near(self, label: str) -> list[str]:
        """Return what stands where the label's first words do, for the message of a failed test."""
        words = re.escape(" ".join(label.split()[:2]))
        return [self.text[found.start() :][:300] for found in re.finditer(words, self.text)]


def read_pdf(path: Path) -> ReadReport:
    """Read a PDF with poppler, which shares nothing with what made it."""
    done = subprocess.run(
        ["pdftotext", "-raw", str(path), "-"],  # noqa: S607 - on the path of every Linux
        capture_output=True,
        text=True,
        check=True,
    )
    return ReadReport(" ".join(done.stdout.split()))
