"""The console's disk is full in the middle of a batch: nothing new starts, everything can go back.

The data folder is a small disk of its own; the platform and its log, which judges, are elsewhere.
"""

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from batches.runtime.free_space import RESERVE_FILE
from tests.chaos.own_fleet import OwnFleet, own_fleet
from tests.chaos.rig import APPROVALS, assert_ended_right
from tests.journeys.stack import GOOD, OLD, Stack, ask, processes_of, running, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

DISK_MB, FREE_MB, RESERVE_MB = 64, 12, 8
POLICIES = f"""
policies:
  there-and-back:
    description: "Two batches, one tenant at a time, so that there is a middle."
    batches:
      - {{name: canary, percentage: 60, soak_minutes: 0.02}}
      - {{name: rest, percentage: 40, soak_minutes: 0.02}}
    rollback_thresholds: {{error_rate: 50}}
    limits: {{look_seconds: 1, parallelism: 1, call_timeout_seconds: 4}}
{APPROVALS}"""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a disk of a few megabytes."""
    folder.mkdir()
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0700", "chaos", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["/bin/umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnFleet]:
    with own_fleet(tmp_path_factory.mktemp("fleet"), tenants=120, latency=0.4) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, fleet: OwnFleet) -> Iterator[Stack]:
    environ = {
        **fleet.environ,
        "UPGRADECONSOLE_MIN_FREE_MB": str(FREE_MB),
        "UPGRADECONSOLE_DISK_RESERVE_MB": str(RESERVE_MB),
    }
    with (
        small_disk(tmp_path_factory.mktemp("disk") / "data") as data,
        running(data, policies=POLICIES, environ=environ) as stack,
    ):
        fleet.take_over(stack)
        yield stack


@pytest.fixture
def stack(console: Stack) -> Iterator[Stack]:
    wait_until((console.data / RESERVE_FILE).exists, 20, "the reserve is kept")
    yield console
    filler(console).unlink(missing_ok=True)
    for name in console.supervised():
        console.wake(name)


def filler(stack: Stack) -> Path:
    return stack.data / "filler"


def fill(stack: Stack) -> None:
    """Write until not a byte is left."""
    with filler(stack).open("ab", buffering=0) as out:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while out.write(b"\1" * size):
                    pass
            except OSError:
                continue


def empty_the_log(stack: Stack) -> bool:
    """Cut the database's log to nothing, unless somebody is reading it right now."""
    with closing(sqlite3.connect(stack.data / "console.sqlite3", timeout=5)) as connection:
        busy, _pages, _moved = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def alerts(stack: Stack) -> list[str]:
    """Return the sentences of the open alerts about the disk."""
    rows = stack.rows(
        "SELECT sentence FROM batches_alert WHERE kind = 'disk_low' AND resolved_at IS NULL"
    )
    return [row["sentence"] for row in rows]


def waiting_for(stack: Stack, plan: str) -> str:
    key = plan.replace("-", "")
    return str(stack.rows("SELECT waiting_for FROM plans_plan WHERE id = ?", key)[0]["waiting_for"])


def test_fault_06_on_a_full_disk_nothing_new_starts_and_a_rollback_works(stack):
    tenants, others = stack.take_tenants(10), stack.take_tenants(2)
    plan = stack.begin(tenants, policy="there-and-back")
    waits = stack.hand_in(others, policy="there-and-back")
    stack.wait_for_calls(plan, "install", 2)

    fill(stack)

    wait_until(lambda: not (stack.data / RESERVE_FILE).exists(), 15, "the reserve was let go")
    wait_until(lambda: alerts(stack), 15, "the alert is open")
    assert f"an upgrade starts with {FREE_MB} MB only" in alerts(stack)[0]
    # The batch that was begun is ended; the next one waits and says why.
    wait_until(lambda: "MB left" in waiting_for(stack, plan), 40, "the plan waits for room")
    assert "batch 2 may not begin" in waiting_for(stack, plan)
    assert len(stack.calls(plan, "install")) == 6
    # Nor does another plan start, by itself or by a person's click.
    stack.approve(waits)
    wait_until(lambda: "MB left" in waiting_for(stack, waits), 20, "the other plan waits for room")
    status, answer = stack.rest("POST", f"/api/v1/plans/{waits}/start", {})
    assert (status, answer["code"]) == (409, "disk_low")
    assert "free some space there" in answer["detail"]
    # Everything can still go back.
    stack.act(plan, "rollback", reason="Olga takes it back")
    stack.wait_for(plan, "rolled_back", seconds=60)
    assert_ended_right(stack, plan, "rolled_back", OLD, tenants)
    assert stack.rollback(plan)["missed_at"] is None

    filler(stack).unlink()

    stack.wait_for(waits, "completed", seconds=60)
    assert_ended_right(stack, waits, "completed", GOOD, others)
    wait_until(lambda: not alerts(stack), 20, "the alert is over")
    assert (stack.data / RESERVE_FILE).stat().st_size == RESERVE_MB * 1_000_000


def test_fault_06_hands_whose_write_finds_no_room_let_the_reserve_go_themselves(stack):
    tenants = stack.take_tenants(6)
    plan = stack.begin(tenants, policy="there-and-back")
    stack.wait_for_calls(plan, "install", 1)
    stack.freeze("watch")

    # SQLite writes over the room that its log has already; a log of no length must grow.
    wait_until(lambda: empty_the_log(stack), 20, "the database's log is empty")
    fill(stack)

    wait_until(lambda: not (stack.data / RESERVE_FILE).exists(), 30, "the reserve was let go")
    stack.wait_for_calls(plan, "install", 3)
    stack.wake("watch")
    stack.act(plan, "rollback", reason="Olga takes it back")
    stack.wait_for(plan, "rolled_back", seconds=60)
    assert_ended_right(stack, plan, "rolled_back", OLD, tenants)


def test_fault_06_processes_that_die_on_a_full_disk_are_started_again(stack):
    fill(stack)
    wait_until(lambda: not (stack.data / RESERVE_FILE).exists(), 15, "the reserve was let go")
    fill(stack)
    killed = {name: stack.pid(name) for name in ("watch", "web")}
    for name in killed:
        stack.kill(name)

    # The supervisor cannot write its status or its log, and does its work all the same.
    wait_until(lambda: _runs_anew(stack, set(killed.values())), 40, "watch and web run again")

    filler(stack).unlink()
    tenants = stack.take_tenants(2)
    wait_until(lambda: _answers(stack), 40, "web answers")
    plan = stack.begin(tenants, policy="there-and-back")
    stack.wait_for(plan, "completed", seconds=60)
    assert_ended_right(stack, plan, "completed", GOOD, tenants)


def _runs_anew(stack: Stack, dead: set[int]) -> bool:
    alive = processes_of(stack.data)
    return not dead & set(alive) and all(
        any(word in command for command in alive.values()) for word in ("manage.py watch", "daphne")
    )


def _answers(stack: Stack) -> bool:
    try:
        return ask("GET", f"{stack.url}/livez")[0] == 200
    except OSError:
        return False
