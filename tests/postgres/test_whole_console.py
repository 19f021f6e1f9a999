"""The whole console on PostgreSQL: the server goes away and comes back, a watch freezes.

It has a server of its own, because it stops it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.journeys.stack import (
    GOOD,
    OLD,
    ROOT,
    TAKEOVER_SECONDS,
    Stack,
    assert_nothing_doubled,
    clean_environ,
    ends_with_us,
    free_port,
    seconds_until_next_call,
    wait_until,
)
from tests.postgres.server import Server, running_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HOOK_SECONDS = 0.4
AWAY_SECONDS = 4.0
POLICIES = """
policies:
  one-go:
    description: "Everybody in one batch, one after the other, so that there is a middle."
    batches:
      - {name: all, percentage: 100, soak_minutes: 0.03}
    rollback_thresholds: {error_rate: 50}
    limits: {look_seconds: 1, parallelism: 1, call_timeout_seconds: 4}
    rollback: {on_manual_pause: {rollback_after_seconds: 3}}
approvals:
  default: {required_roles: [system_admin, role_admin], max_pending_minutes: 60}
"""


class PostgresStack(Stack):
    """A console whose database is DATABASE_URL."""

    def __init__(self, data: Path, url: str) -> None:
        self._database = url
        super().__init__(data, {"DATABASE_URL": url}, free_port())

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Read the console's database."""
        with psycopg.connect(self._database, row_factory=dict_row) as connection:
            return connection.execute(sql.replace("?", "%s"), values).fetchall()

    def holder_of(self, lease: str) -> str:
        """Return who holds a lease that is in force; '' when nobody does."""
        rows = self.rows(
            "SELECT holder FROM batches_lease WHERE name = ? AND expires_at > now()", lease
        )
        return str(rows[0]["holder"]) if rows else ""

    def events(self, plan: str) -> list[dict[str, Any]]:
        """Return the plan's trail; its payloads come as JSON here."""
        return self.rows(
            "SELECT e.seq, e.kind, e.sentence, e.at, e.via, e.payload FROM plans_event e"
            " JOIN plans_stream s ON s.id = e.stream_id WHERE s.key = ? ORDER BY e.seq",
            f"plan:{plan}",
        )


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as made:
        yield made


@pytest.fixture(scope="module")
def console(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresStack]:
    url = server.create_database("console")
    stack = PostgresStack(tmp_path_factory.mktemp("whole").resolve(), url)
    try:
        stack.start()
        stack.settle_in(POLICIES)
        yield stack
    finally:
        stack.end()


@pytest.fixture
def stack(console: PostgresStack) -> Iterator[PostgresStack]:
    console.turn(latency_seconds=HOOK_SECONDS, jitter_seconds=0)
    yield console
    for name in console.supervised():
        console.wake(name)


def away(server: Server, how: signal.Signals = signal.SIGINT) -> None:
    """Stop the server, let some time pass, and start it again."""
    server.stop(how)
    time.sleep(AWAY_SECONDS)
    server.start()


def pids(stack: Stack) -> dict[str, int]:
    return {name: child["pid"] for name, child in stack.supervised().items()}


def test_two_machines_that_start_at_once_prepare_the_database_once(server, tmp_path):
    url = server.create_database("shared")
    prepare = [sys.executable, "manage.py", "prepare", "--no-demo"]
    environ = clean_environ(DATABASE_URL=url, UPGRADECONSOLE_DATA=str(tmp_path))
    both = [subprocess.Popen(prepare, cwd=ROOT, env=environ) for _machine in range(2)]
    assert [process.wait(200) for process in both] == [0, 0]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
def test_fault_05_a_batch_goes_on_when_the_server_is_back(stack, server, how):
    tenants = stack.take_tenants(6)
    plan = stack.begin(tenants, policy="one-go")
    stack.wait_for_calls(plan, "install", 2)
    before = pids(stack)

    away(server, how)

    stack.wait_for(plan, "completed", seconds=90)
    assert set(stack.versions(tenants).values()) == {GOOD}
    assert_nothing_doubled(stack, plan)
    # Nobody had to be started anew for it.
    assert {name: pids(stack)[name] for name in ("watch", "web")} == {
        name: before[name] for name in ("watch", "web")
    }


def test_fault_05_a_rollback_keeps_its_deadline_although_the_server_was_away(stack, server):
    tenants = stack.take_tenants(6)
    plan = stack.begin(tenants, policy="one-go")
    stack.wait_for_calls(plan, "install", 3)
    stack.act(plan, "pause", reason="Olga has seen something")

    away(server)

    stack.wait_for(plan, "rolled_back", seconds=90)
    assert set(stack.versions(tenants).values()) == {OLD}
    assert stack.rollback(plan)["missed_at"] is None
    assert_nothing_doubled(stack, plan)


def test_fault_01_a_second_watch_takes_over_from_a_frozen_one_which_wakes_up_and_does_no_harm(
    stack, tmp_path
):
    tenants = stack.take_tenants(8)
    with (tmp_path / "second.log").open("wb") as log:
        second = subprocess.Popen(
            [sys.executable, "manage.py", "watch"],
            cwd=ROOT,
            env=stack.environ,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=ends_with_us,
        )
    try:
        _wait_for_watches(stack, 2)
        plan = stack.begin(tenants, policy="one-go")
        stack.wait_for_calls(plan, "install", 2)
        stack.act(plan, "rollback", reason="Olga has seen enough")
        stack.wait_for_calls(plan, "restore", 1)
        decider = stack.holder_of(f"plan:{plan}:decide")
        frozen_pid = int(decider.split(":")[2])
        os.kill(frozen_pid, signal.SIGSTOP)
        frozen = time.time()

        stack.wait_for(plan, "rolled_back", seconds=90)
        assert seconds_until_next_call(stack, plan, "restore", frozen + 0.5) < TAKEOVER_SECONDS
        told = len(stack.events(plan))
        os.kill(frozen_pid, signal.SIGCONT)

        _wait_for_watches(stack, 2)
        time.sleep(2)
        kinds = [event["kind"] for event in stack.events(plan)[told:]]
        assert set(kinds) <= {"report_issued", "alert_resolved"}, kinds
        assert set(stack.versions(tenants).values()) == {OLD}
        assert_nothing_doubled(stack, plan)
    finally:
        second.send_signal(signal.SIGCONT)
        second.terminate()
        second.wait(40)


def _wait_for_watches(stack: Stack, count: int) -> None:
    wait_until(
        lambda: (
            len(
                stack.rows(
                    "SELECT 1 FROM batches_heartbeat WHERE kind = 'watch'"
                    " AND at > now() - interval '4 seconds'"
                )
            )
            >= count
        ),
        60,
        f"{count} watches are alive",
    )
