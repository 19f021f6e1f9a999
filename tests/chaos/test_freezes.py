"""Processes that stand still and wake up later, and more of them than needed: no harm is done.

A suspended machine, a long swap, a debugger: the holder of a lease does not notice that time went
by. Somebody else has gone on long since when it wakes up in the middle of what it was about to do.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from batches.runtime.watch_duties import DECIDE_LEASE
from tests.chaos.rig import (
    APPROVALS,
    TAKEOVER_SECONDS,
    LeaseLog,
    Sprung,
    Traps,
    another,
    assert_ended_right,
    sleep_until,
)
from tests.journeys.stack import GOOD, OLD, Stack, at, running, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

POLICIES = f"""
policies:
  there-and-back:
    description: "Two batches, two tenants at a time."
    batches:
      - {{name: canary, percentage: 50, soak_minutes: 0.02}}
      - {{name: rest, percentage: 50, soak_minutes: 0.02}}
    rollback_thresholds: {{error_rate: 50}}
    limits: {{look_seconds: 1, parallelism: 2, call_timeout_seconds: 4}}
  patient:
    description: "One batch whose calls may take long, so that a frozen call is not too old."
    batches:
      - {{name: all, percentage: 100, soak_minutes: 0.02}}
    rollback_thresholds: {{error_rate: 50}}
    limits: {{look_seconds: 1, parallelism: 1, call_timeout_seconds: 20}}
{APPROVALS}"""


@pytest.fixture(scope="module")
def traps(tmp_path_factory: pytest.TempPathFactory) -> Traps:
    return Traps(tmp_path_factory.mktemp("traps") / "traps")


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, traps: Traps) -> Iterator[Stack]:
    data = tmp_path_factory.mktemp("freezes")
    with running(data, policies=POLICIES, environ=traps.environ) as stack:
        stack.turn(latency_seconds=0.2, jitter_seconds=0)
        yield stack


@pytest.fixture
def stack(console: Stack, traps: Traps) -> Iterator[Stack]:
    yield console
    traps.disarm()
    for name in console.supervised():
        console.wake(name)
    wait_until(console.hands_are_ready, 40, "the hands are at work again")


@pytest.fixture
def standby(stack: Stack, tmp_path: Path) -> Iterator[None]:
    """Run a second watch beside the supervisor's."""
    with another(stack, "watch", out=tmp_path / "standby.txt"):
        wait_until(lambda: _watches(stack) == 2, 40, "two watches are alive")
        yield


def _watches(stack: Stack) -> int:
    heard_of = "kind = 'watch' AND at > datetime('now', '-4 seconds')"
    return len(stack.rows(f"SELECT 1 FROM batches_heartbeat WHERE {heard_of}"))


def _wake(sprung: Sprung) -> None:
    os.kill(sprung.pid, signal.SIGCONT)


def _first_call_after(stack: Stack, plan: str, moment: float, executor: str) -> float:
    """Return how long after a moment the executor wrote its first call into the journal."""
    began = [
        at(row["started_at"]).timestamp()
        for row in stack.journal(plan)
        if row["executor"] == executor and at(row["started_at"]).timestamp() > moment
    ]
    return min(began) - moment if began else 0.0


def test_fault_01_a_watch_frozen_between_decision_and_act_is_replaced(stack, traps, standby):
    tenants = stack.take_tenants(6)
    with LeaseLog(stack, DECIDE_LEASE) as decider:
        # The first decision about a plan that runs is to open its first batch.
        traps.set("watch.decided=freeze")
        plan = stack.begin(tenants, policy="there-and-back")
        frozen = traps.wait()
        stack.wait_for_calls(plan, "install", 2)
        _wake(frozen)
        stack.wait_for(plan, "completed")

        assert decider.seconds_after(frozen.moment) <= TAKEOVER_SECONDS
    assert_ended_right(stack, plan, "completed", GOOD, tenants)
    opened = [e["payload"]["batch"] for e in stack.events(plan) if e["kind"] == "batch_opened"]
    assert opened == [1, 2]


def test_fault_01_a_watch_frozen_in_its_own_rollback_is_replaced(stack, traps, standby):
    tenants = stack.take_tenants(6)
    plan = stack.begin(tenants, policy="there-and-back")
    stack.wait_for(plan, "completed")
    # Journalled and not sent: the successor restores this tenant, the sleeper must not any more.
    traps.set("ledger.journalled=freeze@3")
    stack.act(plan, "rollback", reason="Olga takes it back")
    frozen = traps.wait()

    stack.wait_for(plan, "rolled_back", seconds=90)
    before = len(stack.calls(plan))
    _wake(frozen)
    time.sleep(2)

    assert len(stack.calls(plan)) == before
    assert_ended_right(stack, plan, "rolled_back", OLD, tenants)
    taken_over = _first_call_after(stack, plan, frozen.moment + 1, "watch") + 1
    assert taken_over <= TAKEOVER_SECONDS
    assert stack.rollback(plan)["missed_at"] is None
    stack.give_back(tenants)


def test_fault_01_hands_frozen_between_journal_and_call_send_nothing_later(stack, traps):
    tenants = stack.take_tenants(4)
    traps.set("ledger.journalled=freeze@2")
    plan = stack.begin(tenants, policy="patient")
    frozen = traps.wait()
    assert stack.holder_of(f"plan:{plan}:effects").split(":")[2] == str(frozen.pid)

    # Twelve seconds are less than the call's time-out: only the lost lease keeps it back.
    stack.wait_for(plan, "completed", seconds=90)
    sleep_until(frozen.moment + 12)
    before = len(stack.calls(plan))
    _wake(frozen)
    time.sleep(2)

    assert len(stack.calls(plan)) == before == len(tenants)
    assert_ended_right(stack, plan, "completed", GOOD, tenants)
    assert 0 < _first_call_after(stack, plan, frozen.moment, "watch") <= TAKEOVER_SECONDS
    executors = [row["executor"] for row in stack.journal(plan)]
    assert set(executors) == {"hands", "watch"}


def test_fault_18_hands_that_wake_up_after_the_rollback_call_nobody_forward(stack, traps):
    tenants = stack.take_tenants(6)
    traps.set("ledger.journalled=freeze@2")
    plan = stack.begin(tenants, policy="there-and-back")
    frozen = traps.wait()
    stack.act(plan, "rollback", reason="Olga does not like the silence")

    stack.wait_for(plan, "rolled_back", seconds=90)
    _wake(frozen)
    time.sleep(2)

    assert_ended_right(stack, plan, "rolled_back", OLD, tenants)
    # The last word of the platform about each tenant that was touched is its restore.
    last = {call["tenant"]: call["direction"] for call in stack.calls(plan) if call["applied"]}
    assert set(last.values()) <= {"restore"}
    stack.give_back(tenants)


def test_fault_02_a_monitor_of_the_queue_that_stands_still_holds_nothing_up(stack):
    tenants = stack.take_tenants(4)
    stack.freeze("hands-paperwork")
    stack.freeze("hands-effects")

    plan = stack.begin(tenants, policy="there-and-back")
    stack.wait_for_calls(plan, "install", 1)
    stack.act(plan, "rollback", reason="Olga takes it back")

    stack.wait_for(plan, "rolled_back", seconds=60)
    assert_ended_right(stack, plan, "rolled_back", OLD, tenants)
    stack.wake("hands-effects")
    stack.wake("hands-paperwork")
    # What the paperwork owes comes as soon as it can.
    wait_until(
        lambda: stack.rest("GET", f"/api/v1/plans/{plan}/report.pdf")[0] == 200,
        60,
        "the report is there",
    )
    stack.give_back(tenants)


def test_fault_17_many_watches_and_hands_and_tasks_delivered_again_do_nothing_twice(
    stack, tmp_path
):
    with ExitStack() as more:
        for number in range(2):
            more.enter_context(another(stack, "watch", out=tmp_path / f"watch-{number}.txt"))
            more.enter_context(another(stack, "qcluster", out=tmp_path / f"hands-{number}.txt"))
        wait_until(lambda: _watches(stack) == 3, 60, "three watches are alive")
        decider = more.enter_context(LeaseLog(stack, DECIDE_LEASE))
        wait_until(lambda: decider.taken, 10, "somebody decides")
        groups = [stack.take_tenants(6) for _plan in range(3)]
        plans = [stack.begin(group, policy="there-and-back") for group in groups]
        again = threading.Thread(target=_deliver_again, args=(stack,))
        again.start()
        for plan in plans:
            stack.wait_for(plan, "completed", seconds=90)
        again.join()
        for plan, group in zip(plans, groups, strict=True):
            assert_ended_right(stack, plan, "completed", GOOD, group)
            assert len(stack.calls(plan)) == len(group)
            stack.act(plan, "rollback", reason="Olga takes it back")
        for plan, group in zip(plans, groups, strict=True):
            stack.wait_for(plan, "rolled_back", seconds=90)
            assert_ended_right(stack, plan, "rolled_back", OLD, group)
            # One restore per tenant, whoever of the three watches saw the rollback first.
            assert len(stack.calls(plan, "restore")) == len(group)
            stack.give_back(group)
        assert len(decider.taken) == 1, decider.taken


_AGAIN = """
import time
import django
django.setup()
from django_q.tasks import async_task
from batches.models import Batch
for _turn in range(20):
    for batch in Batch.objects.filter(state="deploying"):
        async_task("batches.tasks.run_batch", batch.pk, cluster="effects")
    time.sleep(0.2)
"""


def _deliver_again(stack: Stack) -> None:
    """Hand every batch that is called out again and again, as a queue may."""
    done = stack.beside("-c", _AGAIN)
    assert done.returncode == 0, done.stderr
