"""Hooks that hang, fail, throttle, refuse us, lie or break off, called by real processes.

The platform's own log says what reached it and what it did.
"""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chaos.rig import (
    APPROVALS,
    assert_chain_holds,
    assert_each_key_worked_once,
    assert_ended_right,
    assert_nothing_forward_after_a_restore,
)
from tests.journeys.stack import GOOD, OLD, Stack, assert_nothing_doubled, at, running, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

CALL_TIMEOUT = 3
POLICIES = f"""
policies:
  forgiving:
    description: "One batch that bears half of its tenants failing."
    batches:
      - {{name: all, percentage: 100, soak_minutes: 0.02}}
    rollback_thresholds: {{error_rate: 50}}
    limits: {{look_seconds: 1, parallelism: 10, attempts: 2, call_timeout_seconds: {CALL_TIMEOUT},
             failure_rate: 60, success_rate: 10}}
  strict:
    description: "One batch under the usual limits."
    batches:
      - {{name: all, percentage: 100, soak_minutes: 0.02}}
    rollback_thresholds: {{error_rate: 50}}
    limits: {{look_seconds: 1, parallelism: 10, attempts: 3, call_timeout_seconds: {CALL_TIMEOUT}}}
  one-by-one:
    description: "One batch, one tenant at a time."
    batches:
      - {{name: all, percentage: 100, soak_minutes: 0.02}}
    rollback_thresholds: {{error_rate: 50}}
    limits: {{look_seconds: 1, parallelism: 1, attempts: 3, call_timeout_seconds: {CALL_TIMEOUT}}}
{APPROVALS}"""
AT_REST = {
    "latency_seconds": 0.1,
    "jitter_seconds": 0,
    "hang": [],
    "refuse": [],
    "reset": [],
    "reset_after_apply": [],
    "wrong_version": [],
    "unauthorized": [],
    "throttled": [],
    "fail_times": {},
}


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("hooks"), policies=POLICIES) as stack:
        yield stack


@pytest.fixture
def stack(console: Stack) -> Iterator[Stack]:
    console.turn(**AT_REST)
    yield console
    console.wake("fleet")
    console.turn(**AT_REST)


def calls_of(
    stack: Stack, plan: str, tenant: str, direction: str = "install"
) -> list[dict[str, Any]]:
    return [call for call in stack.calls(plan, direction) if call["tenant"] == tenant]


def state_of(stack: Stack, plan: str, tenant: str) -> str:
    (row,) = stack.rows(
        "SELECT state FROM batches_tenantupgrade WHERE plan_id = ? AND tenant_key = ?",
        plan.replace("-", ""),
        tenant,
    )
    return str(row["state"])


def open_alerts(stack: Stack, plan: str) -> set[str]:
    rows = stack.rows(
        "SELECT kind FROM batches_alert WHERE plan_id = ? AND resolved_at IS NULL",
        plan.replace("-", ""),
    )
    return {row["kind"] for row in rows}


def test_fault_14_a_hook_that_hangs_is_unknown_read_back_and_taken_back(stack):
    tenants = stack.take_tenants(4)
    silent = tenants[1]
    stack.turn(hang=[f"{silent}:install"])

    plan = stack.begin(tenants, policy="forgiving")

    stack.wait_for(plan, "completed", seconds=90)
    wanted = {tenant: OLD if tenant == silent else GOOD for tenant in tenants}
    assert_ended_right(stack, plan, "completed", wanted, tenants)
    rows = [row for row in stack.journal(plan) if row["tenant"] == silent]
    forward = [row for row in rows if row["direction"] == "install"]
    # Two attempts were allowed; nobody hammers at a hook that does not answer.
    assert [row["outcome"] for row in forward] == ["unknown", "unknown"]
    assert state_of(stack, plan, silent) == "rolled_back"


def test_fault_14_a_platform_that_stands_still_for_a_moment_is_waited_for(stack):
    tenants = stack.take_tenants(6)
    plan = stack.begin(tenants, policy="one-by-one")
    stack.wait_for_calls(plan, "install", 2)

    stack.freeze("fleet")
    time.sleep(CALL_TIMEOUT / 2)
    stack.wake("fleet")

    stack.wait_for(plan, "completed", seconds=90)
    assert_ended_right(stack, plan, "completed", GOOD, tenants)


def test_fault_14_a_platform_that_stands_still_for_long_is_taken_back_when_it_wakes_up(stack):
    tenants = stack.take_tenants(6)
    plan = stack.begin(tenants, policy="one-by-one")
    stack.wait_for_calls(plan, "install", 2)

    stack.freeze("fleet")
    # Tenants that cannot be read or called fail, and one of six is more than the policy bears.
    wait_until(lambda: stack.state(plan) == "rolling_back", 90, "the failures take the plan back")
    stack.wake("fleet")

    stack.wait_for(plan, "rolled_back", seconds=90)
    # What the kernel had taken in for the platform reached it late: the same key, once.
    assert set(stack.versions(tenants).values()) == {OLD}
    assert_each_key_worked_once(stack, plan)
    assert_chain_holds(stack, plan)
    assert stack.rollback(plan)["missed_at"] is None


def test_fault_15_a_hook_that_fails_twice_is_tried_a_third_time(stack):
    tenants = stack.take_tenants(4)
    stack.turn(fail_times={f"{tenants[0]}:install": 2})

    plan = stack.begin(tenants, policy="strict")

    stack.wait_for(plan, "completed", seconds=60)
    assert_ended_right(stack, plan, "completed", GOOD, tenants)
    assert [call["status"] for call in calls_of(stack, plan, tenants[0])] == [500, 500, 200]


def test_fault_15_a_platform_that_asks_for_patience_gets_it(stack):
    tenants = stack.take_tenants(3)
    stack.turn(throttled=[f"{tenants[0]}:install"], retry_after_seconds=2)

    plan = stack.begin(tenants, policy="strict")
    wait_until(lambda: calls_of(stack, plan, tenants[0]), 40, "the platform has said 429")
    stack.turn(throttled=[])

    stack.wait_for(plan, "completed", seconds=60)
    assert_ended_right(stack, plan, "completed", GOOD, tenants)
    first, second = calls_of(stack, plan, tenants[0])
    assert (first["status"], second["status"]) == (429, 200)
    waited = (at(second["started"]) - at(first["ended"])).total_seconds()
    # Two seconds were asked for; the call's time-out bounds what a platform may ask for.
    assert waited >= 2


def test_fault_15_a_patience_beyond_the_budget_is_cut_to_it(stack):
    tenants = stack.take_tenants(2)
    stack.turn(throttled=[f"{tenants[0]}:install"], retry_after_seconds=600)

    plan = stack.begin(tenants, policy="forgiving")

    stack.wait_for(plan, "completed", seconds=60)
    assert [call["status"] for call in calls_of(stack, plan, tenants[0])] == [429, 429]
    assert stack.versions(tenants) == {tenants[0]: OLD, tenants[1]: GOOD}


def test_fault_15_credentials_that_are_refused_hold_the_plan_and_cost_no_tenant(stack):
    tenants = stack.take_tenants(6)
    stack.turn(unauthorized=["*:install"])

    plan = stack.begin(tenants, policy="one-by-one")

    wait_until(lambda: "unauthorized" in open_alerts(stack, plan), 40, "somebody is told")
    (batch,) = stack.snapshot(plan)["batches"]
    assert batch["state"] == "held"
    refused = stack.calls(plan, "install")
    assert [call["status"] for call in refused] == [401]
    stack.turn(unauthorized=[])
    stack.act(plan, "resume")
    stack.wait_for(plan, "completed", seconds=60)
    assert_ended_right(stack, plan, "completed", GOOD, tenants)


def test_fault_16_a_success_that_changed_nothing_is_none(stack):
    tenants = stack.take_tenants(4)
    liar = tenants[2]
    stack.turn(wrong_version=[f"{liar}:install"])

    plan = stack.begin(tenants, policy="forgiving")

    stack.wait_for(plan, "completed", seconds=60)
    wanted = {tenant: OLD if tenant == liar else GOOD for tenant in tenants}
    assert_ended_right(stack, plan, "completed", wanted, tenants)
    assert {call["status"] for call in calls_of(stack, plan, liar)} == {200}


def test_fault_16_a_call_that_broke_off_after_its_work_is_not_repeated(stack):
    tenants = stack.take_tenants(4)
    stack.turn(reset_after_apply=["*:install"])

    plan = stack.begin(tenants, policy="strict")

    stack.wait_for(plan, "completed", seconds=60)
    assert_ended_right(stack, plan, "completed", GOOD, tenants)
    assert len(stack.calls(plan)) == len(tenants)


def test_fault_16_thirty_of_fifty_are_all_taken_back(stack):
    tenants = stack.take_tenants(50)
    unchanged = tenants[30:]
    stack.turn(wrong_version=[f"{tenant}:install" for tenant in unchanged])

    plan = stack.begin(tenants, policy="strict")

    stack.wait_for(plan, "rolled_back", seconds=90)
    assert_ended_right(stack, plan, "rolled_back", OLD, tenants)
    assert stack.rollback(plan)["trigger"] == "failure_rate"
    assert stack.rollback(plan)["missed_at"] is None
    stack.give_back(tenants)


def test_fault_21_three_that_cannot_be_taken_back_are_a_persons_and_the_rest_is_back(stack):
    tenants = stack.take_tenants(10)
    stubborn = sorted(tenants[:3])
    plan = stack.begin(tenants, policy="strict")
    stack.wait_for(plan, "completed", seconds=60)
    stack.turn(refuse=[f"{tenant}:restore" for tenant in stubborn])

    stack.act(plan, "rollback", reason="Olga takes it back")

    stack.wait_for(plan, "needs_hand", seconds=60)
    left = {tenant: GOOD if tenant in stubborn else OLD for tenant in tenants}
    assert stack.versions(tenants) == left
    assert_nothing_doubled(stack, plan)
    assert_nothing_forward_after_a_restore(stack, plan)
    listed = sorted(entry["tenant_key"] for entry in stack.snapshot(plan)["needs_hand"])
    assert listed == stubborn
    assert "rollback_failed" in open_alerts(stack, plan)
    # Once the platform is mended, one more rollback takes the three back; nothing is a dead end.
    stack.turn(refuse=[])
    stack.act(plan, "rollback", reason="the platform is mended")
    stack.wait_for(plan, "rolled_back", seconds=60)
    assert set(stack.versions(tenants).values()) == {OLD}
    assert_chain_holds(stack, plan)
