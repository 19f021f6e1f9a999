"""The whole product in real processes, as a person starts it, and what a test may see of it.

The judge is the platform: its own log says what reached it, its state what its tenants run. The
console's database is only read, to compare what the console believes with what happened.
"""

import ctypes
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.journeys.ready_folder import copy_ready_folder
from upgradeconsole.demo.tenants import demo_tenants

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
PLUGIN = "invoice-export"
OLD, GOOD, BAD = "1.4.2", "1.5.0", "1.5.1"
PROGRAMS = ("web", "fleet", "watch", "hands-effects", "hands-paperwork")
PEOPLE = ("mara", "aram", "sona", "olga", "rita", "ada")
ENDED = frozenset({"completed", "rolled_back", "needs_hand", "rejected", "expired", "cancelled"})
SECONDS_TO_START = 180.0
SECONDS_TO_END = 40.0
# A promise of 10 s, on a machine that does other things too.
TAKEOVER_SECONDS = 15.0
_PR_SET_PDEATHSIG = 1

# Run beside the console, as an administrator would on the same machine.
_SETTLE_IN = """
import json, sys
import django
django.setup()
from django.utils import timezone
from plans.people.machine_access import make_token
from plans.models import User
from plans.policies.keeping import save_policy_text
order, now = json.load(sys.stdin), timezone.now()
save_policy_text(text=order["policies"], source="journeys", by=None, now=now, via="command")
people = User.objects.in_bulk([f"{name}@example.org" for name in order["people"]],
                              field_name="email")
tokens = {email.partition("@")[0]: make_token(
              user=user, name="journeys", days=1, by=None, now=now, via="command").secret
          for email, user in people.items()}
json.dump(tokens, sys.stdout)
"""


def free_port() -> int:
    """Return a port that nobody listens on now.

    Below those that the kernel gives to outgoing connections: one of these would take it again
    before the console listens. By chance that no seed controls: tests that run beside each other
    have the same seed.
    """
    while True:
        port = random.SystemRandom().randrange(12_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port


def wait_until(question: Callable[[], T], seconds: float, what: str) -> T:
    """Return the first true answer; fail saying what was waited for."""
    until = time.monotonic() + seconds
    while True:
        if answer := question():
            return answer
        if time.monotonic() > until:
            raise AssertionError(f"after {seconds:g} s still not so: {what}")
        time.sleep(0.1)


def clean_environ(**more: str) -> dict[str, str]:
    """Return this environment without what belongs to the tests' own console."""
    ours = ("UPGRADECONSOLE_", "DJANGO_", "POWERX_", "PYTEST_", "SECRET_KEY", "DATABASE_URL")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "DJANGO_SETTINGS_MODULE": "upgradeconsole.settings", **more}


def ends_with_us() -> None:
    """Let a process that was just forked end when the test run is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def processes_of(data: Path) -> dict[int, str]:
    """Return every living process that works on the data folder, with its command line."""
    wanted = f"UPGRADECONSOLE_DATA={data}".encode()
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                found[int(folder.name)] = b" ".join(words).decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def parent_of(pid: int) -> int:
    """Return the parent's pid."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def at(stamp: str) -> datetime:
    """Return the moment that a log, the API or the database names."""
    moment = datetime.fromisoformat(stamp)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def ask(
    method: str,
    url: str,
    body: object = None,
    *,
    token: str = "",
    seconds: float = 20.0,
) -> tuple[int, Any]:
    """Return status and JSON (or text) of one request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=seconds) as reply:
            status, raw = reply.status, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            status, raw = error.code, error.read()
    try:
        return status, json.loads(raw)
    except ValueError:
        return status, raw.decode(errors="replace")


class Stack:
    """A running console with its demo fleet. Made by `running`."""

    def __init__(self, data: Path, environ: Mapping[str, str], fleet_port: int) -> None:
        self.data = data
        # The file is GET /_log and more: it outlives the fleet's process.
        self.fleet_log = data / "fleet-calls.jsonl"
        self.port, self.fleet_port = free_port(), fleet_port
        self.url = f"http://{HOST}:{self.port}"
        self.fleet_url = f"http://{HOST}:{self.fleet_port}"
        self.environ = clean_environ(UPGRADECONSOLE_DATA=str(data), **environ)
        self.tokens: dict[str, str] = {}
        self._plans = 0
        self._unused = [tenant["tenant"] for tenant in demo_tenants(120)]
        self._up: subprocess.Popen[bytes] | None = None

    # Beginning and end.

    def start(self) -> None:
        """Start everything and wait until all of it works."""
        self.data.mkdir(parents=True, exist_ok=True)
        options = ["--data", str(self.data), "--port", str(self.port)]
        options += ["--fleet-port", str(self.fleet_port)]
        with (self.data / "up.txt").open("ab") as out:
            self._up = subprocess.Popen(
                [sys.executable, "-m", "upgradeconsole.up", *options],
                cwd=ROOT,
                env=self.environ,
                stdout=out,
                stderr=subprocess.STDOUT,
                preexec_fn=ends_with_us,
            )
        wait_until(self._is_ready, SECONDS_TO_START, f"the console is up; see {self.data}")

    def settle_in(self, policies: str) -> None:
        """Load the policies and make a token for each of the demo's people."""
        done = self.beside(
            "-c", _SETTLE_IN, given=json.dumps({"policies": policies, "people": PEOPLE})
        )
        assert done.returncode == 0, done.stderr
        self.tokens = json.loads(done.stdout)

    def beside(
        self, *argv: str, given: str = "", seconds: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run Python in the console's environment."""
        return subprocess.run(
            [sys.executable, *argv],
            cwd=ROOT,
            env=self.environ,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )

    def end(self) -> None:
        """End everything as Ctrl-C does; fail when a process is left, which is then killed."""
        up = self._up
        if up is None:
            return
        for name in self.supervised():
            self.wake(name)
        up.terminate()
        try:
            up.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            up.kill()
            up.wait()
        left = processes_of(self.data)
        until = time.monotonic() + 5
        while left and time.monotonic() < until:
            time.sleep(0.1)
            left = processes_of(self.data)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        assert not left, f"processes were left: {left}"
        assert up.returncode == 0, (self.data / "up.txt").read_text()

    def cut_the_power(self) -> None:
        """Kill every process at once, the demo's platform too; `start` begins anew."""
        up, self._up = self._up, None
        assert up is not None
        for pid in [up.pid, *processes_of(self.data)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        up.wait()

    def _is_ready(self) -> bool:
        assert self._up is not None
        assert self._up.poll() is None, (self.data / "up.txt").read_text()
        if set(self.supervised()) != set(PROGRAMS):
            return False
        try:
            answers = [ask("GET", f"{self.url}/livez"), ask("GET", f"{self.fleet_url}/_knobs")]
        except OSError:
            return False
        return (
            all(status == 200 for status, _body in answers)
            and bool(self.rows("SELECT 1 FROM batches_heartbeat WHERE kind = 'watch'"))
            and self.hands_are_ready()
        )

    def hands_are_ready(self) -> bool:
        """Tell whether the effects cluster's sentinel has its worker, monitor and pusher."""
        group = self.supervised()["hands-effects"]["group"]
        count = 0
        for pid in processes_of(self.data):
            try:
                count += os.getpgid(pid) == group
            except ProcessLookupError:
                continue
        # The holder, the cluster's own process and the sentinel come on top of the three.
        return count >= 6

    # Processes.

    def supervised(self) -> dict[str, dict[str, int]]:
        """Return pid, group and restarts of each program that runs."""
        try:
            status = json.loads((self.data / "supervisor.json").read_text())
        except FileNotFoundError:
            return {}
        return {name: child for name, child in status["children"].items() if child["pid"]}

    def pid(self, name: str) -> int:
        """Return the pid of a supervised program."""
        return wait_until(
            lambda: self.supervised().get(name, {}).get("pid", 0), 20, f"{name} has a pid"
        )

    def kill(self, name: str) -> float:
        """Kill a program with SIGKILL; return the Unix time of it."""
        os.kill(self.pid(name), signal.SIGKILL)
        return time.time()

    def freeze(self, name: str) -> None:
        """Stop a program and all its processes, as a machine that swaps or suspends does."""
        os.killpg(self.supervised()[name]["group"], signal.SIGSTOP)

    def wake(self, name: str) -> None:
        """Let a frozen program go on."""
        if name in self.supervised():
            os.killpg(self.supervised()[name]["group"], signal.SIGCONT)

    def wait_for_restart(self, name: str, old_pid: int) -> None:
        """Wait until the supervisor has started a program anew."""
        wait_until(lambda: self.pid(name) != old_pid, 30, f"{name} runs again")

    def log_of(self, name: str) -> str:
        """Return what a program has said."""
        return (self.data / "logs" / f"{name}.log").read_text(errors="replace")

    # The console.

    def rest(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        by: str = "mara",
        seconds: float = 20.0,
    ) -> tuple[int, Any]:
        """Ask the console's API in a person's name."""
        return ask(method, f"{self.url}{path}", body, token=self.tokens[by], seconds=seconds)

    def take_tenants(self, count: int) -> list[str]:
        """Return tenants that no other test of this stack has had."""
        taken, self._unused = self._unused[:count], self._unused[count:]
        assert len(taken) == count, "the fleet has no tenants left; use fewer per test"
        return taken

    def give_back(self, tenants: Sequence[str]) -> None:
        """Let other tests have tenants that are as they were before."""
        self._unused.extend(tenants)

    def hand_in(self, tenants: Sequence[str], *, policy: str, to: str = GOOD) -> str:
        """Hand a plan in; return its id."""
        self._plans += 1
        status, answer = self.rest(
            "POST",
            "/internal/version/upgrade/plan",
            {
                "external_id": f"journey-{self._plans}-on-{self.port}",
                "plugin": PLUGIN,
                "to_version": to,
                "policy": policy,
                "tenants": list(tenants),
                "submit": True,
            },
        )
        assert status == 201, answer
        plan: str = answer["plan"]
        return plan

    def approve(self, plan: str) -> None:
        """Let both approvers say yes; the console starts the plan by itself."""
        for who in ("aram", "sona"):
            status, answer = self.rest("POST", f"/api/v1/plans/{plan}/approve", {}, by=who)
            assert status == 200, answer

    def begin(self, tenants: Sequence[str], *, policy: str, to: str = GOOD) -> str:
        """Hand a plan in and have it approved."""
        plan = self.hand_in(tenants, policy=policy, to=to)
        self.approve(plan)
        return plan

    def act(self, plan: str, verb: str, *, by: str = "olga", **body: Any) -> Any:
        """Do something with a plan as the operator."""
        status, answer = self.rest("POST", f"/api/v1/plans/{plan}/{verb}", body, by=by)
        assert status in {200, 202}, answer
        return answer

    def snapshot(self, plan: str) -> Any:
        """Return the picture that the live page starts from."""
        status, answer = self.rest("GET", f"/api/v1/plans/{plan}/snapshot")
        assert status == 200, answer
        return answer

    def state(self, plan: str) -> str:
        """Return the plan's state, from the database: web may be down."""
        return str(self.rows("SELECT state FROM plans_plan WHERE id = ?", _hex(plan))[0]["state"])

    def wait_for(self, plan: str, *states: str, seconds: float = 60.0) -> str:
        """Wait until the plan is in one of the states; fail at once when it has ended otherwise."""

        def now() -> str:
            state = self.state(plan)
            if state in ENDED and state not in states:
                raise AssertionError(f"the plan is {state}: {self.story(plan)}")
            return state if state in states else ""

        try:
            return wait_until(now, seconds, f"the plan is {' or '.join(states)}")
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.story(plan)}") from None

    def events(self, plan: str) -> list[dict[str, Any]]:
        """Return the plan's trail."""
        events = self.rows(
            "SELECT e.seq, e.kind, e.sentence, e.at, e.via, e.payload FROM plans_event e"
            " JOIN plans_stream s ON s.id = e.stream_id WHERE s.key = ? ORDER BY e.seq",
            f"plan:{plan}",
        )
        return [{**event, "payload": json.loads(event["payload"])} for event in events]

    def story(self, plan: str) -> str:
        """Return the trail as text, for the message of a failed test."""
        return "\n".join(f"{event['at']} {event['sentence']}" for event in self.events(plan))

    def rollback(self, plan: str) -> dict[str, Any]:
        """Return the plan's one rollback as the database has it."""
        (row,) = self.rows("SELECT * FROM batches_rollback WHERE plan_id = ?", _hex(plan))
        return row

    def journal(self, plan: str) -> list[dict[str, Any]]:
        """Return the console's journal of calls, oldest first."""
        return self.rows(
            "SELECT c.*, u.tenant_key AS tenant FROM batches_deployercall c"
            " JOIN batches_tenantupgrade u ON u.id = c.upgrade_id"
            " WHERE c.plan_id = ? ORDER BY c.id",
            _hex(plan),
        )

    def holder_of(self, lease: str) -> str:
        """Return who holds a lease that is in force: kind:host:pid:random; '' when nobody does."""
        rows = self.rows("SELECT holder, expires_at FROM batches_lease WHERE name = ?", lease)
        held = [row["holder"] for row in rows if at(row["expires_at"]) > datetime.now(UTC)]
        return held[0] if held else ""

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Read the console's database without being able to change it."""
        database = f"file:{self.data / 'console.sqlite3'}?mode=ro"
        with closing(sqlite3.connect(database, uri=True, timeout=20)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(sql, values)]

    # The fleet.

    def turn(self, **knobs: Any) -> None:
        """Turn knobs of the fleet."""
        status, answer = ask("POST", f"{self.fleet_url}/_knobs", knobs)
        assert status == 200, answer

    def versions(self, tenants: Sequence[str]) -> dict[str, str]:
        """Return what the tenants run, as the platform says."""
        _status, answer = ask("GET", f"{self.fleet_url}/_state")
        return {tenant: answer["tenants"][tenant]["version"] for tenant in tenants}

    def configs(self, tenants: Sequence[str]) -> list[Any]:
        """Return the tenants' settings, as the platform says."""
        _status, answer = ask("GET", f"{self.fleet_url}/_state")
        return [answer["tenants"][tenant]["config"] for tenant in tenants]

    def calls(self, plan: str, direction: str = "") -> list[dict[str, Any]]:
        """Return the calls of a plan that reached the platform, in the order of their ends."""
        log = self.fleet_log.read_text(encoding="utf-8")
        # The last line may be in the writing.
        calls = [json.loads(line) for line in log.splitlines(keepends=True) if line.endswith("\n")]
        return [
            call
            for call in calls
            if call["key"].startswith(f"{plan}:") and direction in {"", call["direction"]}
        ]

    def wait_for_calls(self, plan: str, direction: str, count: int) -> None:
        """Wait until so many calls of a plan have ended on the platform."""
        wait_until(
            lambda: len(self.calls(plan, direction)) >= count,
            40,
            f"{count} calls to {direction} have reached the fleet",
        )


def _hex(plan: str) -> str:
    """Return an id as SQLite keeps it."""
    return plan.replace("-", "")


@contextmanager
def running(
    data: Path,
    *,
    policies: str,
    fleet_port: int | None = None,
    environ: Mapping[str, str] | None = None,
    first_start: bool = False,
) -> Iterator[Stack]:
    """Run the whole product for a while; nothing of it is left afterwards.

    In the gate its data folder is a copy of one that was prepared before, unless the story is about
    the first start.
    """
    stack = Stack(data.resolve(), environ or {}, fleet_port or free_port())
    if not first_start:
        copy_ready_folder(stack.data, environ or {})
    try:
        stack.start()
        stack.settle_in(policies)
        yield stack
    finally:
        stack.end()


def assert_nothing_doubled(stack: Stack, plan: str) -> None:
    """Hold the platform's log against the console's journal.

    Every call that arrived stands in the journal under its key; a call that repeats another one
    has a reason there; the fences of a tenant never fall.
    """
    written: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in stack.journal(plan):
        written[row["tenant"], row["direction"]].append(row)
    arrived: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for call in stack.calls(plan):
        # What takes effect later than its answer is the same call once more.
        if call["status"] is not None or call["note"] != "late":
            arrived[call["tenant"], call["direction"]].append(call)
    for (tenant, direction), calls in arrived.items():
        rows = written[tenant, direction]
        keys = {row["key"] for row in rows}
        told = f"{direction} of {tenant}: arrived {calls}, written {rows}"
        assert all(call["key"] in keys for call in calls), told
        assert len(calls) <= len(rows), told
        assert all(row["reason"] for row in rows[1:]), f"repeated without a reason: {told}"
        fences = [call["fence"] for call in sorted(calls, key=lambda call: call["started"])]
        assert fences == sorted(fences), f"a fence has fallen: {told}"
    installed = [call["tenant"] for call in stack.calls(plan, "install") if call["applied"]]
    assert len(installed) == len(set(installed)), f"applied twice: {sorted(installed)}"


def seconds_until_next_call(stack: Stack, plan: str, direction: str, since: float) -> float:
    """Return how long after a Unix time the platform got the plan's next call."""
    began = [at(call["started"]).timestamp() for call in stack.calls(plan, direction)]
    later = [moment for moment in began if moment > since]
    if not later:
        pytest.fail(f"no {direction} was called after the kill")
    return min(later) - since
