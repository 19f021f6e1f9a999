"""Whatever is killed or frozen in the middle: the plan ends right and nothing is done twice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.journeys.stack import (
    BAD,
    GOOD,
    OLD,
    ROOT,
    TAKEOVER_SECONDS,
    Stack,
    assert_nothing_doubled,
    at,
    ends_with_us,
    parent_of,
    running,
    seconds_until_next_call,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

HOOK_SECONDS = 0.5
POLICIES = """
policies:
  one-go:
    description: "Everybody in one batch, one after the other, so that there is a middle."
    batches:
      - {name: all, percentage: 100, soak_minutes: 0.03}
    rollback_thresholds: {error_rate: 50}
    limits: {look_seconds: 1, parallelism: 1, call_timeout_seconds: 4}
    rollback: {on_manual_pause: {rollback_after_seconds: 5}}
  two-steps:
    description: "A small batch, then the rest."
    batches:
      - {name: canary, percentage: 25, soak_minutes: 0.05}
      - {name: rest, percentage: 75, soak_minutes: 0.03}
    rollback_thresholds: {error_rate: 50}
    limits: {look_seconds: 1, parallelism: 2, call_timeout_seconds: 4}
    rollback: {on_manual_pause: {rollback_after_seconds: 5}}
approvals:
  default: {required_roles: [system_admin, role_admin], max_pending_minutes: 60}
"""


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("kills"), policies=POLICIES) as stack:
        yield stack


@pytest.fixture
def stack(console: Stack) -> Iterator[Stack]:
    """Return the running console with slow hooks; afterwards everything runs as before."""
    console.turn(latency_seconds=HOOK_SECONDS, jitter_seconds=0)
    yield console
    console.turn(hang=[], late={}, latency_seconds=0.05)
    for name in console.supervised():
        console.wake(name)
    wait_until(console.hands_are_ready, 40, "the hands are at work again")


def test_fault_03_web_killed_in_the_middle_of_a_batch_is_not_missed(stack):
    tenants = stack.take_tenants(6)
    plan = stack.begin(tenants, policy="one-go")
    stack.wait_for_calls(plan, "install", 2)
    web = stack.pid("web")

    stack.kill("web")

    stack.wait_for(plan, "completed")
    assert set(stack.versions(tenants).values()) == {GOOD}
    assert len(stack.calls(plan)) == len(tenants)
    assert_nothing_doubled(stack, plan)
    stack.wait_for_restart("web", web)
    wait_until(lambda: _answers(stack, plan), 30, "web answers again")


def test_fault_01_watch_killed_in_the_middle_of_a_batch_comes_back_and_ends_the_plan(stack):
    tenants = stack.take_tenants(8)
    plan = stack.begin(tenants, policy="two-steps")
    stack.wait_for_calls(plan, "install", 3)
    watch = stack.pid("watch")

    stack.kill("watch")

    stack.wait_for(plan, "completed")
    assert stack.pid("watch") != watch
    assert set(stack.versions(tenants).values()) == {GOOD}
    assert_nothing_doubled(stack, plan)


def test_fault_23_watch_killed_in_the_middle_of_a_rollback_goes_on_with_it(stack):
    tenants = stack.take_tenants(8)
    before = stack.configs(tenants)
    plan = stack.begin(tenants, policy="one-go")
    stack.wait_for_calls(plan, "install", 5)
    stack.act(plan, "rollback", reason="Olga has seen enough")
    stack.wait_for_calls(plan, "restore", 1)

    killed = stack.kill("watch")

    stack.wait_for(plan, "rolled_back", seconds=90)
    assert set(stack.versions(tenants).values()) == {OLD}
    assert stack.configs(tenants) == before
    assert seconds_until_next_call(stack, plan, "restore", killed + 0.1) < TAKEOVER_SECONDS
    assert_nothing_doubled(stack, plan)
    assert stack.rollback(plan)["missed_at"] is None


def test_fault_02_hands_whose_sentinel_is_killed_start_again_as_a_whole(stack):
    tenants = stack.take_tenants(8)
    plan = stack.begin(tenants, policy="one-go")
    stack.wait_for_calls(plan, "install", 2)
    hands = stack.pid("hands-effects")

    os.kill(parent_of(_caller(stack, plan)), signal.SIGKILL)
    killed = time.time()

    stack.wait_for(plan, "completed", seconds=90)
    assert set(stack.versions(tenants).values()) == {GOOD}
    assert seconds_until_next_call(stack, plan, "install", killed + 0.1) < TAKEOVER_SECONDS
    assert_nothing_doubled(stack, plan)
    stack.wait_for_restart("hands-effects", hands)


def test_fault_02_watch_takes_over_from_a_worker_that_was_killed(stack):
    tenants = stack.take_tenants(8)
    plan = stack.begin(tenants, policy="one-go")
    stack.wait_for_calls(plan, "install", 2)

    os.kill(_caller(stack, plan), signal.SIGKILL)
    killed = time.time()

    stack.wait_for(plan, "completed", seconds=90)
    assert set(stack.versions(tenants).values()) == {GOOD}
    assert [row["executor"] for row in stack.journal(plan)][-1] == "watch"
    assert seconds_until_next_call(stack, plan, "install", killed + 0.1) < TAKEOVER_SECONDS
    assert_nothing_doubled(stack, plan)


def test_fault_01_a_watch_that_wakes_up_after_12_seconds_shows_it_and_does_no_harm(stack):
    tenants = stack.take_tenants(6)
    plan = stack.begin(tenants, policy="two-steps")
    stack.wait_for_calls(plan, "install", 1)

    stack.freeze("watch")
    time.sleep(12)
    stood_still = stack.snapshot(plan)["watch_age"]
    stack.wake("watch")

    assert stood_still >= 10
    stack.wait_for(plan, "completed")
    assert set(stack.versions(tenants).values()) == {GOOD}
    assert len(stack.calls(plan)) == len(tenants)
    assert_nothing_doubled(stack, plan)
    wait_until(lambda: stack.snapshot(plan)["watch_age"] < 5, 20, "the watch is heard of again")


def test_fault_01_a_watch_that_slept_through_its_own_rollback_leaves_it_to_its_successor(
    stack, tmp_path
):
    with (tmp_path / "second-watch.txt").open("wb") as out:
        second = subprocess.Popen(
            [sys.executable, "manage.py", "watch"],
            cwd=ROOT,
            env=stack.environ,
            stdout=out,
            stderr=out,
            preexec_fn=ends_with_us,
        )
    try:
        wait_until(lambda: _watches(stack) == 2, 40, "the second watch stands by")
        tenants = stack.take_tenants(8)
        plan = stack.begin(tenants, policy="one-go")
        stack.wait_for_calls(plan, "install", 6)
        stack.act(plan, "rollback", reason="Olga has seen enough")
        stack.wait_for_calls(plan, "restore", 1)

        stack.freeze("watch")
        frozen = time.time()
        # The successor is in the middle of it when the first one wakes up.
        wait_until(lambda: _restores_since(stack, plan, frozen), 40, "the second watch goes on")
        stack.wake("watch")
        stack.wait_for(plan, "rolled_back", seconds=90)
    finally:
        second.terminate()
        assert second.wait(20) == 0

    assert seconds_until_next_call(stack, plan, "restore", frozen + 0.1) < TAKEOVER_SECONDS
    assert set(stack.versions(tenants).values()) == {OLD}
    assert_nothing_doubled(stack, plan)


def test_fault_02_watch_runs_the_batch_when_the_hands_are_frozen(stack):
    tenants = stack.take_tenants(4)
    stack.freeze("hands-effects")

    plan = stack.begin(tenants, policy="one-go")

    stack.wait_for(plan, "completed")
    assert set(stack.versions(tenants).values()) == {GOOD}
    assert {row["executor"] for row in stack.journal(plan)} == {"watch"}
    opened = next(e for e in stack.events(plan) if e["kind"] == "batch_opened")
    first = min(at(call["started"]) for call in stack.calls(plan))
    # Two seconds are the promise; the rest is this machine's.
    assert 1.5 <= (first - at(opened["at"])).total_seconds() <= 8
    stack.wake("hands-effects")
    wait_until(lambda: not _waiting(stack), 20, "the hands take what waits for them")
    time.sleep(1)
    assert len(stack.calls(plan)) == len(tenants)
    assert_nothing_doubled(stack, plan)


def test_after_a_pause_that_nobody_resumes_everything_is_back_in_time(stack):
    tenants = stack.take_tenants(8)
    before = stack.configs(tenants)
    plan = stack.begin(tenants, policy="one-go")
    stack.wait_for_calls(plan, "install", 4)

    stack.act(plan, "pause", reason="Olga looks at something")
    paused = time.time()

    stack.wait_for(plan, "rolled_back", seconds=120)
    assert set(stack.versions(tenants).values()) == {OLD}
    assert stack.configs(tenants) == before
    restores = [at(call["ended"]).timestamp() for call in stack.calls(plan, "restore")]
    assert len(restores) >= 4
    assert paused + 4 < min(restores) < max(restores) < paused + 180
    # What the pause found in flight ended; nothing new began.
    begun = [at(call["started"]).timestamp() for call in stack.calls(plan, "install")]
    assert max(begun) < paused
    assert stack.rollback(plan)["trigger"] == "pause"
    assert_nothing_doubled(stack, plan)


def test_fault_18_a_tenant_that_applies_the_upgrade_after_its_restore_is_restored_again(stack):
    tenants = stack.take_tenants(4)
    slow = tenants[0]
    # The hook answers nobody and does its work 6 s later; the console gives up after 4.
    stack.turn(hang=[f"{slow}:install"], late={slow: 6})
    plan = stack.begin(tenants, policy="one-go")
    wait_until(lambda: _was_called(stack, plan, slow), 40, f"{slow} is being called")
    time.sleep(1)
    stack.turn(hang=[], late={})

    stack.act(plan, "rollback", reason="Olga does not like the silence")

    stack.wait_for(plan, "rolled_back", seconds=120)
    applied = [
        (call["direction"], call["version"])
        for call in stack.calls(plan)
        if call["tenant"] == slow and call["applied"]
    ]
    assert applied == [("restore", OLD), ("install", GOOD), ("restore", OLD)]
    assert set(stack.versions(tenants).values()) == {OLD}
    assert_nothing_doubled(stack, plan)


def test_fault_23_a_console_whose_power_fails_goes_on_where_it_stood(stack):
    tenants = stack.take_tenants(8)
    plan = stack.begin(tenants, policy="one-go", to=BAD)
    stack.wait_for_calls(plan, "install", 5)
    stack.act(plan, "rollback", reason="Olga has seen enough")
    stack.wait_for_calls(plan, "restore", 1)

    stack.cut_the_power()
    stack.start()

    stack.wait_for(plan, "rolled_back", seconds=90)
    # The platform was cut off too and may have forgotten its last half second: all was read back.
    assert set(stack.versions(tenants).values()) == {OLD}
    assert stack.rollback(plan)["missed_at"] is None
    assert_nothing_doubled(stack, plan)


def _answers(stack: Stack, plan: str) -> bool:
    try:
        return bool(stack.snapshot(plan)["plan"]["state"] == "completed")
    except OSError:
        return False


def _caller(stack: Stack, plan: str) -> int:
    """Return the pid of the worker that calls the plan's tenants now."""
    kind, _host, pid, _random = stack.holder_of(f"plan:{plan}:effects").split(":")
    assert kind == "hands"
    return int(pid)


def _watches(stack: Stack) -> int:
    heard_of = "kind = 'watch' AND at > datetime('now', '-4 seconds')"
    return len(stack.rows(f"SELECT 1 FROM batches_heartbeat WHERE {heard_of}"))


def _restores_since(stack: Stack, plan: str, moment: float) -> bool:
    # What was in flight when the watch froze was called before that moment.
    return any(
        at(call["started"]).timestamp() > moment + 1 for call in stack.calls(plan, "restore")
    )


def _waiting(stack: Stack) -> bool:
    # What was taken is locked from then on; what waits carries a lock that has long run out.
    waiting = (
        "SELECT 1 FROM django_q_ormq WHERE key = 'effects' AND lock < datetime('now', '-1 day')"
    )
    return bool(stack.rows(waiting))


def _was_called(stack: Stack, plan: str, tenant: str) -> bool:
    return any(row["tenant"] == tenant for row in stack.journal(plan))
