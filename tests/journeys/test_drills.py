"""Drills in the whole product: a schedule, a dying worker, a plan's own drill, and what follows."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.journeys.stack import (
    BAD,
    GOOD,
    OLD,
    PLUGIN,
    Stack,
    running,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
POLICIES = """
policies:
  drilled:
    description: "One tenant goes back and forward again before the plan widens."
    batches:
      - {name: canary, percentage: 50, soak_minutes: 0.03}
      - {name: rest, percentage: 50, soak_minutes: 0.03}
    rollback_thresholds: {error_rate: 50}
    limits: {look_seconds: 1, call_timeout_seconds: 4}
    rollback: {drill: true}
  watched:
    description: "A bad release is noticed, taken back, and watched afterwards."
    batches:
      - {name: all, percentage: 100, soak_minutes: 1}
    guardrails:
      - {kpi: error_rate, at_most: 2, window: 10s, min_samples: 5}
    limits: {look_seconds: 1, call_timeout_seconds: 4}
    rollback: {watch_after_minutes: 1}
approvals:
  default: {required_roles: [system_admin, role_admin], max_pending_minutes: 60}
"""
# What a release manager and two approvers do on the page; its time comes at once.
_SCHEDULE = """
import json, sys
from datetime import time
import django
django.setup()
from django.utils import timezone
from batches.drills.schedules import NewSchedule, approve_schedule, make_schedule
from batches.models import DrillSchedule
from plans.drafting.drafting import TenantChoice
from plans.models import User
from plans.log_in.step_up import StepUp
order, now = json.load(sys.stdin), timezone.now()
who = User.objects.in_bulk([f"{n}@example.org" for n in ("mara", "aram", "sona")],
                           field_name="email")
made = make_schedule(given=NewSchedule(
    name="nightly", deployer=order["deployer"], plugin=order["plugin"], to_version=order["to"],
    tenants=TenantChoice(keys=tuple(order["tenants"])), injects=("hung_hook",),
    days=("mon", "tue", "wed", "thu", "fri", "sat", "sun"), at=time(3), timezone="UTC",
), by=who["mara@example.org"], now=now, via="command")
for name in ("aram", "sona"):
    approve_schedule(schedule_id=made.pk, by=who[f"{name}@example.org"], comment="", now=now,
                     via="command", step_up=StepUp(("totp",), now))
DrillSchedule.objects.filter(pk=made.pk).update(next_at=now)
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("drills"), policies=POLICIES) as console:
        yield console


def drills(stack: Stack, **wanted: str) -> list[dict[str, Any]]:
    status, answer = stack.rest("GET", "/api/v1/drills/", by="rita")
    assert status == 200, answer
    return [
        drill
        for drill in answer["results"]
        if all(drill[name] == value for name, value in wanted.items())
    ]


def ended(stack: Stack, seconds: float = 120, **wanted: str) -> dict[str, Any]:
    return wait_until(
        lambda: next((one for one in drills(stack, **wanted) if one["ended_at"]), {}),
        seconds,
        f"the drill {wanted} has ended: {drills(stack)}",
    )


def deployer_of(stack: Stack) -> str:
    (row,) = stack.rows("SELECT DISTINCT deployer FROM plans_plan LIMIT 1") or [{"deployer": ""}]
    return str(row["deployer"]) or "fleet"


def test_a_scheduled_drill_with_a_hung_hook_comes_back_by_itself(stack):
    tenants = stack.take_tenants(3)
    order = {"deployer": deployer_of(stack), "plugin": PLUGIN, "to": GOOD, "tenants": tenants}
    done = stack.beside("-c", _SCHEDULE, given=json.dumps(order))
    assert done.returncode == 0, done.stderr
    drill = ended(stack, schedule="nightly")
    assert (drill["outcome"], drill["inject"]) == ("passed", "hung_hook"), drill
    # One restore hung for its whole time-out; the rest of the promise was left.
    assert 15 <= drill["seconds"] < 180
    assert drill["seconds"] <= drill["quote_seconds"]
    plan = drill["plan"]
    assert set(stack.versions(tenants).values()) == {OLD}
    assert {call["tenant"] for call in stack.calls(plan, "install")} == set(tenants)
    assert {call["tenant"] for call in stack.calls(plan, "restore")} == set(tenants)
    hung = [row for row in stack.journal(plan) if row["outcome"] == "unknown"]
    assert [row["direction"] for row in hung] == ["restore"]
    told = [event["sentence"] for event in stack.events(plan)]
    assert any("standing approval of the drill schedule nightly" in line for line in told)


def test_a_worker_that_dies_in_a_drill_is_taken_over(stack):
    tenants = stack.take_tenants(3)
    before = stack.rest("GET", "/api/v1/drills/")[1]["count"]
    done = stack.beside(
        "manage.py", "rollback_drill", "--deployer", deployer_of(stack), "--plugin", PLUGIN,
        "--to", GOOD, "--tenants", ",".join(tenants), "--inject", "killed_worker",
        "--by", "mara@example.org", "--no-wait", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["state"] == "awaiting_approval"
    stack.approve(told["plan"])
    drill = ended(stack, drill=told["drill"])
    assert drill["outcome"] == "passed", drill
    assert stack.rest("GET", "/api/v1/drills/")[1]["count"] == before + 1
    assert set(stack.versions(tenants).values()) == {OLD}
    lost = [row for row in stack.journal(told["plan"]) if row["executor"] == "hands"]
    assert any(row["outcome"] == "unknown" for row in lost), lost
    wait_until(stack.hands_are_ready, 40, "the hands are at work again")


def test_a_plan_drills_one_tenant_before_it_widens(stack):
    tenants = stack.take_tenants(4)
    plan = stack.begin(tenants, policy="drilled")
    stack.wait_for(plan, "completed")
    drill = ended(stack, plan=plan)
    assert (drill["kind"], drill["outcome"]) == ("plan", "passed"), drill
    restored = stack.calls(plan, "restore")
    assert [call["tenant"] for call in restored] == drill["tenants"]
    assert set(stack.versions(tenants).values()) == {GOOD}
    first = min(stack.calls(plan, "restore"), key=lambda call: call["started"])["started"]
    later = [
        call
        for call in stack.calls(plan, "install")
        if call["started"] > first and call["tenant"] not in drill["tenants"]
    ]
    assert len(later) == 2, "the second batch began only after the drill"


def test_a_bad_release_is_back_in_band_after_its_rollback(stack):
    tenants = stack.take_tenants(3)
    plan = stack.begin(tenants, policy="watched", to=BAD)
    stack.wait_for(plan, "rolled_back")
    known = wait_until(
        lambda: (stack.snapshot(plan)["rollback"]["aftermath"] or {}).get("at"),
        90,
        f"it is known what followed: {stack.snapshot(plan)['rollback']['aftermath']}",
    )
    followed = stack.snapshot(plan)["rollback"]["aftermath"]
    assert (known is not None, followed["ending"]) == (True, "in_band"), followed
    assert stack.snapshot(plan)["plan"]["label"] == "Rolled back, back in band"
    reports = wait_until(
        lambda: [
            row
            for row in stack.rows("SELECT plan_id, issued_at FROM reports_upgradereport")
            if row["plan_id"] == plan.replace("-", "") and row["issued_at"]
        ][1:],
        60,
        "the report was issued again",
    )
    assert len(reports) == 1
