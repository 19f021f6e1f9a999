"""A pipeline and two people with `powerx` alone, and who is told of what went bad."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.stack import (
    BAD,
    GOOD,
    HOST,
    OLD,
    PLUGIN,
    Stack,
    ask,
    assert_nothing_doubled,
    at,
    clean_environ,
    running,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

POWERX = Path(sys.executable).with_name("powerx")
POLICIES = """
policies:
  guarded:
    description: "Two steps, errors watched each second."
    batches:
      - {name: canary, percentage: 25, soak_minutes: 0.15, metrics: [error_rate]}
      - {name: rest, percentage: 75, soak_minutes: 0.05}
    rollback_thresholds: {error_rate: 2}
    limits: {look_seconds: 1}
approvals:
  default: {required_roles: [system_admin, role_admin], max_pending_minutes: 60}
"""


@dataclass
class Receiver:
    """A machine that wants to hear of alerts."""

    url: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)
    types: set[str] = field(default_factory=set)

    def of_plan(self, plan: str) -> list[dict[str, Any]]:
        """Return the events about one plan."""
        return [event for event in self.events if event["subject"] == f"plan/{plan}"]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    heard = Receiver()

    class Hear(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.types.add(self.headers["Content-Type"])
            heard.events.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((HOST, 0), Hear)
    heard.url = f"http://{HOST}:{server.server_address[1]}/alerts"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield heard
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Stack]:
    environ = {"UPGRADECONSOLE_ALERT_URLS": receiver.url}
    with running(tmp_path_factory.mktemp("cli"), policies=POLICIES, environ=environ) as stack:
        # So few requests are judged that chance alone could break the limit.
        stack.turn(latency_seconds=0.05, jitter_seconds=0, error_rates={GOOD: 0.0})
        yield stack


def environ_of(stack: Stack, who: str) -> dict[str, str]:
    """Return what a person's shell holds."""
    token = stack.tokens.get(who, who)
    return clean_environ(POWERX_URL=stack.url, POWERX_TOKEN=token, COLUMNS="200")


def powerx(stack: Stack, *words: str, by: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command in a person's name."""
    return subprocess.run(
        [POWERX, "plugin", *words],
        env=environ_of(stack, by),
        cwd=stack.data,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


class Rollout:
    """A `powerx plugin upgrade --watch` that runs in Mara's terminal."""

    def __init__(self, stack: Stack, name: str, version: str, tenants: list[str]) -> None:
        self.stack, self.name = stack, name
        self.output = stack.data / f"{name}.txt"
        with self.output.open("wb") as out:
            self._process = subprocess.Popen(
                [
                    *(POWERX, "plugin", "upgrade", "--strategy", "policy", "--plugin", PLUGIN),
                    *("--to", version, "--policy", "guarded", "--tenants", ",".join(tenants)),
                    *("--external-id", name, "--watch", "--timeout", "120"),
                ],
                env=environ_of(stack, "mara"),
                stdout=out,
                stderr=out,
            )
        wait_until(lambda: "approval" in self.said(), 30, "the plan waits for approval")

    def said(self) -> str:
        """Return what stands in the terminal."""
        return self.output.read_text(encoding="utf-8")

    def approve(self) -> None:
        """Let both approvers agree in their own terminals."""
        for who in ("aram", "sona"):
            done = powerx(self.stack, "approve", self.name, "--comment", "Seen.", by=who)
            assert done.returncode == 0, done.stderr

    def end(self) -> int:
        """Return the exit code."""
        return self._process.wait(120)

    def plan(self) -> str:
        """Return the plan's id."""
        done = powerx(self.stack, "status", self.name, "-o", "json", by="mara")
        plan: str = json.loads(done.stdout)["plan"]
        return plan


def test_the_bad_release_ends_with_1_and_everybody_concerned_is_told(stack, receiver):
    tenants = stack.take_tenants(24)
    rollout = Rollout(stack, "cli-bad", BAD, tenants)
    rollout.approve()

    assert rollout.end() == 1, rollout.said()

    plan = rollout.plan()
    assert set(stack.versions(tenants).values()) == {OLD}
    touched = sorted(call["tenant"] for call in stack.calls(plan, "install"))
    assert len(touched) == 6
    assert_nothing_doubled(stack, plan)
    assert "rolled back" in rollout.said().lower()
    assert "error_rate" in rollout.said()
    _assert_machines_were_told(receiver, plan, touched)
    _assert_owners_were_told(stack, plan, touched)
    _assert_metrics_tell(stack)


def _assert_machines_were_told(receiver: Receiver, plan: str, touched: list[str]) -> None:
    def breach() -> list[dict[str, Any]]:
        return [
            event
            for event in receiver.of_plan(plan)
            if event["data"]["kind"] == "breach:error_rate" or event["data"]["kind"] == "breach"
        ]

    wait_until(lambda: len(breach()) == 2, 30, f"the alert and its end: {receiver.events}")
    firing, resolved = sorted(breach(), key=lambda event: event["data"]["status"])
    assert (firing["data"]["status"], resolved["data"]["status"]) == ("firing", "resolved")
    assert firing["type"] == "plugin.version.gray.alert"
    assert firing["specversion"] == "1.0"
    assert firing["id"] != resolved["id"]
    data = firing["data"]
    assert (data["plugin"], data["from"], data["to"]) == (PLUGIN, OLD, BAD)
    assert (data["kpi"], data["threshold"], data["unit"]) == ("error_rate", 2, "%")
    assert 2 < data["value"] < 20
    assert data["batch"] == "canary"
    assert data["owner"] == "mara@example.org"
    assert data["tenants"] == touched
    assert at(data["deadline"]) > at(firing["time"])
    assert plan in data["url"]
    assert all(kind.startswith("application/cloudevents+json") for kind in receiver.types)


def _assert_owners_were_told(stack: Stack, plan: str, touched: list[str]) -> None:
    owners = {
        row["owner_email"]
        for row in stack.rows("SELECT key, owner_email FROM plans_tenant")
        if row["key"] in touched
    }

    def told() -> set[str]:
        return {
            str(mail["To"]) for mail in _mails(stack) if BAD in _text(mail) and plan in _text(mail)
        }

    wait_until(lambda: told() >= {"mara@example.org", *owners}, 30, f"{owners} have mail: {told()}")
    assert told() == {"mara@example.org", *owners}


def _mails(stack: Stack) -> list[EmailMessage]:
    found = []
    for file in (stack.data / "mail").glob("*"):
        # The embedded backend ends each mail of a file with a line of dashes.
        for raw in file.read_bytes().split(b"-" * 79):
            if raw.strip():
                mail = message_from_bytes(raw.strip(), policy=policy.default)
                assert isinstance(mail, EmailMessage)
                found.append(mail)
    return found


def _text(mail: EmailMessage) -> str:
    body = mail.get_body(("plain",))
    return body.get_content() if body is not None else ""


def _assert_metrics_tell(stack: Stack) -> None:
    _status, text = ask("GET", f"{stack.url}/metrics")
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    alerts = [name for name in lines if name.startswith("version_upgrade_alert_total{")]
    assert any('kind="breach' in name for name in alerts), alerts
    counted = f'version_rollback_duration_ms_count{{plugin="{PLUGIN}",trigger="breach"}}'
    within = (
        f'version_rollback_duration_ms_bucket{{le="180000",plugin="{PLUGIN}",trigger="breach"}}'
    )
    assert float(lines[counted]) >= 1
    assert lines[within] == lines[counted]


def test_the_good_release_ends_with_0(stack):
    tenants = stack.take_tenants(12)
    rollout = Rollout(stack, "cli-good", GOOD, tenants)
    rollout.approve()

    assert rollout.end() == 0, rollout.said()

    assert set(stack.versions(tenants).values()) == {GOOD}
    assert len(stack.calls(rollout.plan())) == len(tenants)
    report = powerx(stack, "report", "cli-good", "-O", "good.pdf", by="mara")
    assert report.returncode == 0, report.stderr
    assert (stack.data / "good.pdf").read_bytes().startswith(b"%PDF")


def test_a_rollback_that_a_person_asks_for_ends_both_terminals_with_1(stack):
    tenants = stack.take_tenants(8)
    rollout = Rollout(stack, "cli-back", GOOD, tenants)
    rollout.approve()
    wait_until(lambda: stack.calls(rollout.plan(), "install"), 30, "the first calls have arrived")

    taken_back = powerx(stack, "rollback", "cli-back", "--reason", "No.", "--watch", by="olga")

    assert taken_back.returncode == 1, taken_back.stderr
    assert rollout.end() == 1, rollout.said()
    assert set(stack.versions(tenants).values()) == {OLD}


@pytest.mark.parametrize("who", ["olga", "aram", "rita"])
def test_whoever_may_not_draft_is_told_so_with_4(stack, who):
    upgrade = ["--plugin", PLUGIN, "--to", GOOD, "--policy", "guarded", "--external-id", "cli-no"]

    done = powerx(stack, "upgrade", *upgrade, by=who)

    assert done.returncode == 4, done.stdout
    assert done.stderr.strip()
    assert stack.rows("SELECT 1 FROM plans_plan WHERE external_id = 'cli-no'") == []


def test_an_unknown_token_ends_with_4(stack):
    done = powerx(stack, "status", "demo-2-goes-well", by="upc_of_nobody")

    assert done.returncode == 4
    assert "Traceback" not in done.stderr


def test_an_author_cannot_approve_the_own_plan(stack):
    tenants = stack.take_tenants(2)
    plan = stack.hand_in(tenants, policy="guarded")

    done = powerx(stack, "approve", plan, by="mara")

    assert done.returncode == 4, done.stdout
    assert stack.state(plan) == "awaiting_approval"


def test_bad_input_ends_with_5_and_names_all_that_is_wrong(stack):
    done = powerx(
        stack,
        *("upgrade", "--plugin", PLUGIN, "--to", "9.9.9"),
        *("--policy", "unheard-of", "--tenants", "acorn,nowhere"),
        by="mara",
    )

    assert done.returncode == 5, done.stdout
    for wrong in ("9.9.9", "unheard-of", "nowhere"):
        assert wrong in done.stderr


def test_a_console_that_is_away_ends_with_3(stack):
    environ = environ_of(stack, "mara") | {"POWERX_URL": f"http://{HOST}:1"}

    done = subprocess.run(
        [POWERX, "plugin", "status", "demo-2-goes-well"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert done.returncode == 3
    assert "Traceback" not in done.stderr


def test_the_command_that_is_tested_is_the_installed_one():
    assert os.access(POWERX, os.X_OK), "./console puts powerx beside its Python"
