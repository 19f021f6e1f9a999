"""The database locked against every writer while a plan runs forward and back.

As by a backup that hangs or a person at a SQL prompt. Nothing happens on the platform that is not
in the journal, no move is half made, and work goes on by itself as soon as the lock is gone.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chaos.rig import APPROVALS, Locked, assert_ended_right
from tests.journeys.stack import GOOD, OLD, Stack, at, running, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

POLICIES = f"""
policies:
  there-and-back:
    description: "One batch after the other, one tenant at a time, so that there is a middle."
    batches:
      - {{name: canary, percentage: 20, soak_minutes: 0.02}}
      - {{name: rest, percentage: 80, soak_minutes: 0.02}}
    rollback_thresholds: {{error_rate: 50}}
    limits: {{look_seconds: 1, parallelism: 1, call_timeout_seconds: 4, attempts: 1}}
{APPROVALS}"""
# Work goes on at once; the rest is a process that sleeps between two tries, and this machine.
GOES_ON_WITHIN = 12.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("locked"), policies=POLICIES) as stack:
        stack.turn(latency_seconds=0.5, jitter_seconds=0)
        yield stack


def calls_sent_between(stack: Stack, plan: str, begin: float, end: float) -> list[dict[str, Any]]:
    """Return the calls that reached the platform in between."""
    began = [(at(call["started"]).timestamp(), call) for call in stack.calls(plan)]
    return [call for moment, call in began if begin < moment < end]


def lock_for(stack: Stack, plans: list[str], seconds: float) -> float:
    """Lock the database for a while; return the Unix time at which it was free again."""
    with Locked(stack):
        locked = time.time()
        before = {plan: stack.journal(plan) for plan in plans}
        time.sleep(seconds)
        for plan in plans:
            # Only what stood in the journal before the lock was sent during it.
            sent = calls_sent_between(stack, plan, locked, time.time())
            assert len(sent) <= 1
            keys = {row["key"] for row in before[plan] if row["ended_at"] is None}
            assert {call["key"] for call in sent} <= keys
        return time.time()


def assert_goes_on(stack: Stack, plan: str, direction: str, free: float) -> None:
    """The next call reaches the platform soon after the lock was gone."""
    wait_until(
        lambda: [c for c in stack.calls(plan, direction) if at(c["started"]).timestamp() > free],
        GOES_ON_WITHIN,
        f"the next {direction} after the lock",
    )


def local_alerts(stack: Stack) -> list[dict[str, str]]:
    """Return what was told without the database."""
    file = stack.data / "local-alerts.jsonl"
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def lags(stack: Stack, plan: str) -> list[float]:
    """Return how many seconds the plan's trail says that nothing was looked at."""
    return [
        event["payload"]["seconds"]
        for event in stack.events(plan)
        if event["kind"] == "watch_lagged"
    ]


def go_both_ways_through_a_lock(stack: Stack, seconds: float) -> tuple[str, str]:
    """Lock the database while one plan goes forward and another one back; return the two."""
    back_again, ahead = stack.take_tenants(8), stack.take_tenants(12)
    back = stack.begin(back_again, policy="there-and-back")
    stack.wait_for(back, "completed", seconds=90)
    forward = stack.begin(ahead, policy="there-and-back")
    stack.wait_for_calls(forward, "install", 3)
    stack.act(back, "rollback", reason="Olga takes it back")
    stack.wait_for_calls(back, "restore", 1)

    free = lock_for(stack, [forward, back], seconds)

    assert_goes_on(stack, back, "restore", free)
    assert_goes_on(stack, forward, "install", free)
    stack.wait_for(back, "rolled_back", seconds=120)
    stack.wait_for(forward, "completed", seconds=120)
    assert_ended_right(stack, back, "rolled_back", OLD, back_again)
    # With one attempt per tenant, a call that was not sent in time must not cost that attempt.
    assert_ended_right(stack, forward, "completed", GOOD, ahead)
    # The promise was kept.
    assert stack.rollback(back)["missed_at"] is None
    stack.give_back(back_again)
    return forward, back


def test_fault_04_locked_for_5_seconds(stack):
    go_both_ways_through_a_lock(stack, 5)


def test_fault_04_and_05_locked_for_30_seconds(stack):
    told = len(local_alerts(stack))
    plans = go_both_ways_through_a_lock(stack, 30)
    # Both trails say that nothing was looked at, and somebody was told of it while the database
    # could not.
    for plan in plans:
        (lag,) = lags(stack, plan)
        assert 20 < lag < 60
    first, last = local_alerts(stack)[told:]
    assert (first["kind"], last["kind"]) == ("database_away", "database_away")
    assert "has not answered since" in first["sentence"]
    assert last["sentence"].startswith("over: ")
    assert "ALERT database_away" in stack.log_of("watch")


def test_fault_04_a_person_is_told_to_try_again_while_the_database_is_locked(stack):
    tenants = stack.take_tenants(2)
    plan = stack.hand_in(tenants, policy="there-and-back")
    with Locked(stack):
        status, answer = stack.rest("POST", f"/api/v1/plans/{plan}/cancel", {}, seconds=60)
    assert (status, answer["code"]) == (503, "database_away")
    assert "Try again" in answer["detail"]
    assert stack.state(plan) == "awaiting_approval"
    stack.give_back(tenants)


@pytest.mark.chaos_long
@pytest.mark.parametrize("seconds", [60, 90])
def test_fault_04_and_05_locked_for_very_long(stack, seconds):
    plans = go_both_ways_through_a_lock(stack, seconds)
    for plan in plans:
        (lag,) = lags(stack, plan)
        assert seconds - 10 < lag < seconds + 60
