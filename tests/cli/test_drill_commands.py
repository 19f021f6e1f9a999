"""`powerx drill` against a real HTTP server on the loopback that answers as the console does."""

import json
from typing import Any

import pytest

from tests.cli.stub_console import AT, PLAN
from upgradeconsole.cli import drills
from upgradeconsole.cli.main import run

DRILL = "5a3f7c1e-6f3e-4b44-9a3c-7f4a3a1f2a11"
START = "start --plugin pay --to 1.5.0 --deployer fleet --tenants labels:ring=drill"


def a_drill(**more: Any) -> dict[str, Any]:
    return {
        "drill": DRILL,
        "kind": "rehearsal",
        "plan": PLAN,
        "external_id": "drill-1",
        "plugin": "pay",
        "deployer": "fleet",
        "tenants": ["acorn", "birch"],
        "inject": "hung_hook",
        "schedule": None,
        "started_at": AT,
        "ended_at": None,
        "seconds": None,
        "quote_seconds": 42.0,
        "limit_seconds": 180.0,
        "outcome": "",
        "sentence": "",
    } | more


@pytest.fixture
def drill(console, monkeypatch):
    monkeypatch.setattr(drills, "POLL_SECONDS", 0.01)
    return lambda line: run(["drill", *line.split()])


def test_a_rehearsal_is_handed_in(console, drill, capsys):
    console.will("/api/v1/drills/", (201, a_drill()))
    assert drill(f"{START} --inject hung_hook") == 0
    assert console.bodies("/api/v1/drills/") == [
        {
            "plugin": "pay",
            "to_version": "1.5.0",
            "deployer": "fleet",
            "tenants": {"labels": {"ring": "drill"}},
            "inject": "hung_hook",
        }
    ]
    assert f"Drill {DRILL} (plan drill-1): goes on" in capsys.readouterr().out


def test_a_lost_answer_is_never_asked_for_again(console, drill, capsys):
    console.will("/api/v1/drills/", (502, b"the proxy says no"))
    assert drill(START) == 3
    assert len(console.bodies("/api/v1/drills/")) == 1
    assert "powerx drill list" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("outcome", "state", "code"),
    [
        ("passed", "rolled_back", 0),
        ("failed", "rolled_back", 1),
        ("failed", "needs_hand", 2),
        ("cut_short", "cancelled", 1),
    ],
)
def test_waiting_tells_how_it_ended(console, drill, capsys, outcome, state, code):
    ended = a_drill(outcome=outcome, seconds=3.25, sentence="All is told.")
    console.will("/api/v1/drills/", (201, a_drill()))
    console.will(f"/api/v1/drills/{DRILL}", (200, a_drill()), (200, ended))
    console.will(f"/api/v1/plans/{PLAN}/", (200, {"state": state}))
    assert drill(f"{START} --watch") == code
    told = capsys.readouterr().out
    assert outcome.replace("_", " ") in told
    assert "back in 3.2 s, quoted 42.0 s" in told
    assert "All is told." in told


def test_waiting_ends_when_the_time_is_over(console, drill, capsys):
    console.will(f"/api/v1/drills/{DRILL}", (200, a_drill()))
    assert drill(f"status {DRILL} --watch --timeout 0.05") == 3
    assert "it goes on" in capsys.readouterr().err


def test_a_name_that_is_no_drill_asks_nobody(console, drill):
    assert drill("status pay-7") == 5
    assert console.asked == []


def test_drills_are_listed_for_people_and_for_machines(console, drill, capsys):
    rows = [a_drill(outcome="passed", seconds=3.25), a_drill()]
    console.will("/api/v1/drills/", (200, {"count": 2, "results": rows}))
    assert drill("list --limit 2") == 0
    assert console.asked[0][1] == "/api/v1/drills/?limit=2"
    shown = capsys.readouterr().out
    assert "passed" in shown
    assert "goes on" in shown
    assert drill("list -o json") == 0
    assert json.loads(capsys.readouterr().out) == rows


def test_schedules_say_what_they_wait_for(console, drill, capsys):
    row = {
        "name": "nightly", "plugin": "pay", "to_version": "1.5.0", "deployer": "fleet",
        "injects": ["none"], "days": ["mon"], "at": "03:00:00", "timezone": "UTC",
        "enabled": True, "next_at": AT, "problem": "", "waits_for": ["system_admin"],
    }  # fmt: skip
    console.will("/api/v1/drill-schedules/", (200, [row, row | {"waits_for": []}]))
    assert drill("schedules") == 0
    shown = capsys.readouterr().out
    assert "waits for system_admin" in shown
    assert "mon 03:00 UTC" in shown


def test_who_may_not_drill_is_told(console, drill):
    console.will("/api/v1/drills/", (403, {"detail": "You may not draft plans."}))
    assert drill(START) == 4


SCHEDULE = "7b1d2c3e-6f3e-4b44-9a3c-7f4a3a1f2a22"
ONE = f"/api/v1/drill-schedules/{SCHEDULE}"


@pytest.fixture
def nightly(console):
    """Have one schedule that nobody has agreed to."""
    row = {
        "schedule": SCHEDULE,
        "name": "nightly",
        "waits_for": ["system_admin"],
        "enabled": True,
        "problem": "",
    }
    console.will("/api/v1/drill-schedules/", (200, [row]))
    return row


@pytest.mark.parametrize(
    ("line", "path", "body", "told"),
    [
        ("agree nightly --comment weekly", "approve", {"comment": "weekly"}, "nightly: on"),
        (f"switch {SCHEDULE} off", "switch", {"on": False}, "nightly: off"),
        ("switch nightly on", "switch", {"on": True}, "nightly: on"),
    ],
)
def test_a_schedule_is_agreed_to_and_switched(
    console, drill, nightly, capsys, line, path, body, told
):
    after = nightly | {"waits_for": [], "enabled": body.get("on", True)}
    console.will(f"{ONE}/{path}", (200, after))
    assert drill(line) == 0
    assert console.bodies(f"{ONE}/{path}") == [body]
    assert told in capsys.readouterr().out


def test_a_schedule_is_run_once_and_a_lost_answer_is_not_asked_for_again(
    console, drill, nightly, capsys
):
    console.will(f"{ONE}/run", (201, a_drill(schedule="nightly")))
    assert drill("run nightly") == 0
    assert f"Drill {DRILL}" in capsys.readouterr().out
    console.will("/api/v1/drill-schedules/", (200, [nightly]))
    console.will(f"{ONE}/run", (502, b"the proxy says no"))
    assert drill("run nightly") == 3
    assert "powerx drill list tells whether it began" in capsys.readouterr().err


def test_a_name_that_is_no_schedule_is_bad_use(console, drill, nightly, capsys):
    assert drill("run weekly") == 5
    assert "there are: nightly" in capsys.readouterr().err


def test_a_schedule_that_waits_for_somebody_does_not_run(console, drill, nightly):
    refused = {"detail": "It waits for system_admin to agree.", "code": "not_approved"}
    console.will(f"{ONE}/run", (409, refused))
    assert drill("run nightly") == 4
