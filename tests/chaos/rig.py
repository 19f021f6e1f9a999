"""What the chaos tests share: traps, extra processes, held locks, and the judges of an ending."""

import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from plans.chain import event_body, link
from plans.failpoints import FILE_VARIABLE
from plans.models import ZERO_HASH
from tests.journeys.stack import (
    ROOT,
    Stack,
    assert_nothing_doubled,
    at,
    ends_with_us,
    wait_until,
)

LEASE_SECONDS = 8.0
# The promise: whoever died or stands still is replaced within this time.
TAKEOVER_SECONDS = 10.0

APPROVALS = """
approvals:
  default: {required_roles: [system_admin, role_admin], max_pending_minutes: 60}
"""


# Traps.


@dataclass(frozen=True, slots=True)
class Sprung:
    """Where and when a trap sprang, and in which process."""

    point: str
    pid: int
    moment: float


class Traps:
    """The failpoints of a running console: each trap springs once, in whoever gets there first."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.sprung_file = Path(f"{file}.sprung")
        self.environ = {FILE_VARIABLE: str(file)}

    def set(self, trap: str) -> None:
        """Arm every process with POINT=ACT or POINT=ACT@N."""
        self.sprung_file.unlink(missing_ok=True)
        draft = self.file.with_suffix(".draft")
        draft.write_text(trap, encoding="utf-8")
        draft.replace(self.file)

    def sprung(self) -> Sprung | None:
        """Return the trap that sprang since the last one was set."""
        try:
            point, pid, moment = self.sprung_file.read_text(encoding="utf-8").split()
        except FileNotFoundError:
            return None
        return Sprung(point, int(pid), float(moment))

    def wait(self, seconds: float = 60.0) -> Sprung:
        """Wait until the trap has sprung."""
        wait_until(self.sprung, seconds, f"somebody reached {self._armed()}")
        sprung = self.sprung()
        assert sprung is not None
        return sprung

    def disarm(self) -> None:
        """Take a trap away that nobody ran into."""
        self.file.unlink(missing_ok=True)

    def _armed(self) -> str:
        return self.file.read_text(encoding="utf-8") if self.file.exists() else "nothing"


# Processes beside those of the supervisor.


@contextmanager
def another(
    stack: Stack, *command: str, out: Path, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one more `manage.py` process of the console; it ends with the block."""
    with out.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "manage.py", *command],
            cwd=ROOT,
            env={**stack.environ, **(environ or {})},
            stdout=sink,
            stderr=sink,
            preexec_fn=ends_with_us,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Locked:
    """The console's database locked against every writer, as by a backup that hangs."""

    def __init__(self, stack: Stack) -> None:
        self._connection = sqlite3.connect(
            stack.data / "console.sqlite3", timeout=30, isolation_level=None
        )

    def __enter__(self) -> "Locked":
        self._connection.execute("BEGIN EXCLUSIVE")
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.execute("ROLLBACK")
        self._connection.close()


# Who leads.


def lease(stack: Stack, name: str) -> dict[str, Any] | None:
    """Return a lease's row."""
    rows = stack.rows("SELECT * FROM batches_lease WHERE name = ?", name)
    return rows[0] if rows else None


class LeaseLog(threading.Thread):
    """Looks at a lease again and again; knows who took it when, by the lease's own clock."""

    def __init__(self, stack: Stack, name: str) -> None:
        super().__init__(daemon=True)
        self.taken: list[tuple[str, float]] = []
        self._stack, self._name = stack, name
        self._ended = threading.Event()

    def run(self) -> None:
        """Look until the end."""
        known = ""
        while not self._ended.wait(0.05):
            row = lease(self._stack, self._name)
            if row is not None and row["holder"] != known:
                known = str(row["holder"])
                taken = at(row["expires_at"]).timestamp() - LEASE_SECONDS
                self.taken.append((known, taken))

    def __enter__(self) -> "LeaseLog":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self.join()

    def seconds_after(self, moment: float) -> float:
        """Return how long after a Unix time the lease passed to somebody else."""
        later = [taken for _holder, taken in self.taken if taken > moment]
        assert later, f"nobody took {self._name}: {self.taken}"
        return min(later) - moment


# Judges.


def assert_ended_right(
    stack: Stack, plan: str, state: str, versions: Mapping[str, str] | str, tenants: Sequence[str]
) -> None:
    """Hold the platform against the console: nobody left behind, nothing doubled, chain whole."""
    assert stack.state(plan) == state, stack.story(plan)
    wanted = dict.fromkeys(tenants, versions) if isinstance(versions, str) else dict(versions)
    assert stack.versions(tenants) == wanted, stack.story(plan)
    assert_nothing_doubled(stack, plan)
    assert_each_key_worked_once(stack, plan)
    assert_nothing_forward_after_a_restore(stack, plan)
    assert_chain_holds(stack, plan)
    assert_everybody_is_accounted_for(stack, plan)


def assert_each_key_worked_once(stack: Stack, plan: str) -> None:
    """No key had more than one effect on the platform."""
    effects = Counter(call["key"] for call in stack.calls(plan) if call["applied"])
    assert not [key for key, times in effects.items() if times > 1], effects


def assert_nothing_forward_after_a_restore(stack: Stack, plan: str) -> None:
    """No forward call began at the platform after the tenant's first restore had begun there."""
    back: dict[str, str] = {}
    for call in sorted(stack.calls(plan, "restore"), key=lambda call: str(call["started"])):
        back.setdefault(call["tenant"], call["started"])
    late = [
        call
        for call in stack.calls(plan, "install")
        if call["tenant"] in back
        and at(call["started"]) > at(back[call["tenant"]])
        and call["note"] != "late"
    ]
    assert not late, f"called forward after a restore: {late}"


def assert_chain_holds(stack: Stack, plan: str) -> None:
    """The plan's trail is gapless and every link of it holds."""
    key = f"plan:{plan}"
    rows = stack.rows(
        "SELECT e.*, s.head_seq, s.head_hash FROM plans_event e"
        " JOIN plans_stream s ON s.id = e.stream_id WHERE s.key = ? ORDER BY e.seq",
        key,
    )
    previous = ZERO_HASH
    for number, row in enumerate(rows, start=1):
        assert row["seq"] == number, f"event {number} is missing"
        body = event_body(
            stream=key,
            seq=row["seq"],
            kind=row["kind"],
            at=at(row["at"]),
            actor=str(UUID(row["actor_id"])) if row["actor_id"] else None,
            actor_name=row["actor_name"],
            via=row["via"],
            sentence=row["sentence"],
            payload=json.loads(row["payload"]),
            v=row["v"],
            on_behalf=row["on_behalf"],
            token=row["token"],
            ip=row["ip"],
            trace_id=row["trace_id"],
            reason=row["reason"],
            grant=row["grant"],
        )
        assert row["prev_hash"] == previous, f"event {number} does not follow {number - 1}"
        previous = row["hash"]
        assert previous == link(row["prev_hash"], body), f"event {number} was changed"
    assert (rows[-1]["head_seq"], rows[-1]["head_hash"]) == (len(rows), previous)


def assert_everybody_is_accounted_for(stack: Stack, plan: str) -> None:
    """The states of the tenants say what the platform runs, and no call is open."""
    rows = stack.rows(
        "SELECT tenant_key, state, version_observed FROM batches_tenantupgrade WHERE plan_id = ?",
        plan.replace("-", ""),
    )
    assert {row["state"] for row in rows} <= {"upgraded", "rolled_back", "excluded", "pending"}
    running = stack.versions([row["tenant_key"] for row in rows])
    wrong = [
        row
        for row in rows
        if row["version_observed"] and row["version_observed"] != running[row["tenant_key"]]
    ]
    assert not wrong, f"the console believes otherwise than the platform: {wrong}"


def sleep_until(moment: float) -> None:
    """Sleep until a Unix time."""
    time.sleep(max(0.0, moment - time.time()))
