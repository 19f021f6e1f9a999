"""Every page in light and dark, wide and narrow, empty and busy: nothing breaks, nobody is shut out.

Axe judges whether a page can be used by everybody; what it finds is named with its place.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import URLPattern
from playwright.sync_api import Page, expect

from batches import plan_form_urls
from batches import urls as batch_urls
from plans import urls as plan_urls
from reports import urls as report_urls
from tests.journeys.stack import (
    GOOD,
    HOST,
    ROOT,
    Stack,
    ask,
    clean_environ,
    ends_with_us,
    free_port,
    running,
    wait_until,
)
from tests.journeys.visitors import People, browsing

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(180)]

AXE_OPTIONS = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]}}
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
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
    limits: {look_seconds: 1}
approvals:
  default: {required_roles: [system_admin, role_admin], max_pending_minutes: 60}
"""
# Who opens which page. {running} and the like stand for the plan of that state.
PAGES = {
    "home": ("mara", "/"),
    "plan-list": ("mara", "/plans/"),
    "plan-list none fits": ("mara", "/plans/?q=nothing-has-this-name"),
    "plan-new": ("mara", "/plans/new/"),
    "plan-new again": ("mara", "/plans/new/?from={completed}"),
    "plan-edit": ("mara", "/plans/{waiting}/edit/"),
    "approval-inbox": ("aram", "/approvals/"),
    "live-plan waiting": ("aram", "/plans/{waiting}/"),
    "live-plan running": ("olga", "/plans/{running}/"),
    "live-plan paused": ("olga", "/plans/{paused}/"),
    "live-plan completed": ("olga", "/plans/{completed}/"),
    "live-plan needs a hand": ("olga", "/plans/{needs_hand}/"),
    "live-plan auditor": ("rita", "/plans/{completed}/"),
    "plan-trail": ("rita", "/plans/{completed}/trail/"),
    "tenant-list": ("mara", "/tenants/"),
    "tenant-new": ("mara", "/tenants/new/"),
    "tenant-import": ("mara", "/tenants/import/"),
    "tenant": ("mara", "/tenants/acorn/"),
    "release-list": ("mara", "/releases/"),
    "release-register": ("mara", "/releases/register/"),
    "policy-list": ("mara", "/policies/"),
    "policy-check": ("ada", "/policies/check/"),
    "policy": ("mara", "/policies/gated/"),
    "trail": ("rita", "/trail/"),
    "reports": ("rita", "/reports/"),
    "plan-report not ready": ("rita", "/plans/{waiting}/report.pdf"),
    "api-docs": ("mara", "/api/docs/"),
    "not found": ("mara", "/no/such/page/"),
    "forbidden": ("rita", "/plans/new/"),
    "log-out": ("mara", "/accounts/logout/"),
    "password": ("mara", "/accounts/password/change/"),
    "two factors": ("mara", "/accounts/2fa/"),
}
EMPTY_PAGES = (
    "/",
    "/plans/new/",
    "/approvals/",
    "/tenants/",
    "/releases/",
    "/policies/",
    "/trail/",
    "/reports/",
)
# What is no page: acts, fragments, data and downloads.
NO_PAGES = {
    "plan-preview",
    "plan-submit",
    "plan-approve",
    "plan-reject",
    "plan-cancel",
    "plan-archive",
    "plan-trail-csv",
    "release-verify",
    "trail-csv",
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
    "live-plan-settle",
    "live-plan-retry",
    "report",
    "api-plan-report",
    "metrics",
}
_MAKE_ADMINISTRATOR = """
import django
django.setup()
from plans.models import User
User.objects.create_superuser("ada@example.org", "correct horse battery", name="Ada Lindqvist")
"""


@dataclass
class Busy:
    """A console on which something of everything has happened."""

    stack: Stack
    people: People
    plans: dict[str, str]


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Busy]:
    with (
        running(tmp_path_factory.mktemp("pages"), policies=POLICIES) as stack,
        browsing() as browser,
    ):
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
    }
    for state in ("completed", "needs_hand"):
        stack.wait_for(plans[state], "completed")
    stack.act(plans["needs_hand"], "rollback", reason="Olga has seen enough")
    stack.wait_for(plans["needs_hand"], "needs_hand")
    for state in ("running", "paused"):
        stack.wait_for_calls(plans[state], "install", 2)
    return plans


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """Yield the one person of a console that holds nothing yet."""
    data, port = tmp_path_factory.mktemp("empty"), free_port()
    (data / "static").mkdir()
    url = f"http://{HOST}:{port}"
    environ = clean_environ(UPGRADECONSOLE_DATA=str(data), UPGRADECONSOLE_URL=url)
    for argv in (["manage.py", "prepare", "--no-demo"], ["-c", _MAKE_ADMINISTRATOR]):
        subprocess.run([sys.executable, *argv], cwd=ROOT, env=environ, check=True)
    logins = data / "logins.txt"
    logins.write_text("administrator ada@example.org correct horse battery\n", encoding="utf-8")
    daphne = [sys.executable, "-m", "daphne", "-v", "0", "-b", HOST, "-p", str(port)]
    with (data / "web.txt").open("wb") as out:
        web = subprocess.Popen(
            [*daphne, "upgradeconsole.asgi:application"],
            cwd=ROOT,
            env=environ,
            stdout=out,
            stderr=out,
            preexec_fn=ends_with_us,
        )
    try:
        wait_until(lambda: answers(url), 60, f"web answers; see {data}")
        with browsing() as browser:
            people = People(browser, url, logins)
            yield people
            people.end()
    finally:
        web.terminate()
        web.wait(20)


def answers(url: str) -> bool:
    """Say whether a console answers there."""
    try:
        return ask("GET", f"{url}/livez")[0] == 200
    except OSError:
        return False
