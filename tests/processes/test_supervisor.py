"""What is supervised comes back, and nothing outlives its supervisor, however that one ends."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from upgradeconsole.supervisor import FIRST_BACK_OFF, LONGEST_BACK_OFF, Child, ChildSpec

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]

SUPERVISE = """
    import json, sys
    from pathlib import Path
    from upgradeconsole.supervisor import ChildSpec, Supervisor
    folder = Path(sys.argv[1])
    specs = [ChildSpec(name, argv, env) for name, argv, env in json.loads(sys.argv[2])]
    Supervisor(specs, log_dir=folder / "logs", status_file=folder / "supervisor.json").run()
"""
# Notes its pid and that of a worker, which ignores TERM as a busy worker may.
WITH_WORKER = """
    import os, signal, subprocess, sys, time
    worker = subprocess.Popen([sys.executable, "-c",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
    with open(sys.argv[1], "a") as out:
        out.write(f"{os.getpid()} {worker.pid}\\n")
    time.sleep(600)
"""
SLEEPER = "import sys, time; print('at work', flush=True); time.sleep(600)"
NOTES_ITS_END = """
    import signal, sys, time
    def end(number, frame):
        with open(sys.argv[1], "a") as out:
            out.write(sys.argv[2] + " ")
        sys.exit(0)
    signal.signal(signal.SIGTERM, end)
    print("ready", flush=True)
    time.sleep(600)
"""
IGNORES_TERM = """
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)
    time.sleep(600)
"""


def program(source: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(source), *map(str, arguments)]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    # A zombie only waits for whoever adopts orphans on this machine.
    return state != "Z"


def wait_until(question: Callable[[], T], seconds: float = 15.0) -> T:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if answer := question():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"still not so after {seconds} s")


class Supervised:
    """A supervisor in a process of its own."""

    def __init__(self, folder: Path, children: list[tuple[str, list[str], dict[str, str]]]) -> None:
        self.folder = folder
        self.output = folder / "output.txt"
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(
                [*program(SUPERVISE), folder, json.dumps(children)], cwd=ROOT, stdout=out
            )

    def status(self) -> dict[str, Any]:
        try:
            status: dict[str, Any] = json.loads((self.folder / "supervisor.json").read_text())
        except FileNotFoundError:
            return {}
        return status

    def pid_of(self, name: str) -> int:
        """Return the program's pid as soon as there is one."""

        def pid() -> int:
            return self.status().get("children", {}).get(name, {}).get("pid") or 0

        return wait_until(pid)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def start(**children: list[str]) -> Supervised:
        specs = [(name, argv, {"CHILD": name}) for name, argv in children.items()]
        started.append(Supervised(tmp_path, specs))
        return started[-1]

    yield start
    for supervised in started:
        supervised.end()


def test_a_child_that_dies_comes_back(supervise):
    console = supervise(web=program(SLEEPER))
    first = console.pid_of("web")

    os.kill(first, signal.SIGKILL)

    second = wait_until(lambda: console.pid_of("web") != first and console.pid_of("web"))
    assert alive(second)
    assert console.status()["children"]["web"]["restarts"] == 1


def test_a_child_that_ends_well_comes_back_too(supervise, tmp_path):
    console = supervise(hands=program("raise SystemExit(0)"))

    wait_until(lambda: console.status().get("children", {}).get("hands", {}).get("restarts", 0) > 1)
    assert "ended with code 0; starts again in 0.2 s" in (tmp_path / "logs/hands.log").read_text()


def test_workers_of_a_dead_child_are_killed_before_it_starts_again(supervise, tmp_path):
    notes = tmp_path / "pids.txt"
    console = supervise(hands=program(WITH_WORKER, notes))
    wait_until(lambda: notes.exists() and notes.read_text().endswith("\n"))
    main, worker = map(int, notes.read_text().split())

    os.kill(main, signal.SIGKILL)

    wait_until(lambda: len(notes.read_text().splitlines()) == 2)
    assert not alive(worker)
    assert console.pid_of("hands") != main


def test_a_child_whose_holder_is_killed_is_replaced_and_not_doubled(supervise):
    console = supervise(watch=program(SLEEPER))
    program_pid = console.pid_of("watch")

    os.kill(console.status()["children"]["watch"]["group"], signal.SIGKILL)

    wait_until(lambda: console.pid_of("watch") != program_pid)
    wait_until(lambda: not alive(program_pid))


def test_nothing_outlives_a_supervisor_that_was_killed(supervise, tmp_path):
    notes = tmp_path / "pids.txt"
    console = supervise(hands=program(WITH_WORKER, notes), web=program(SLEEPER))
    wait_until(lambda: notes.exists() and notes.read_text().endswith("\n"))
    pids = [*map(int, notes.read_text().split()), console.pid_of("web")]
    groups = [child["group"] for child in console.status()["children"].values()]

    console.process.kill()

    # Asked to end, not only killed after the time they have for it.
    wait_until(lambda: not any(map(alive, [*pids, *groups])), seconds=5)


def test_term_ends_the_children_in_the_reverse_order_of_their_start(supervise, tmp_path):
    ends = tmp_path / "ends.txt"
    console = supervise(
        fleet=program(NOTES_ITS_END, ends, "fleet"),
        web=program(NOTES_ITS_END, ends, "web"),
        watch=program(NOTES_ITS_END, ends, "watch"),
    )
    wait_until(lambda: console.output.read_text().count("ready") == 3)

    console.process.terminate()

    assert console.process.wait(20) == 0
    assert ends.read_text().split() == ["watch", "web", "fleet"]
    assert not (tmp_path / "supervisor.json").exists()


def test_a_second_ctrl_c_kills_what_does_not_want_to_end(supervise):
    console = supervise(web=program(IGNORES_TERM))
    wait_until(lambda: "ready" in console.output.read_text())
    pid = console.pid_of("web")

    console.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert alive(pid)
    console.process.send_signal(signal.SIGINT)

    assert console.process.wait(5) == 0
    assert not alive(pid)


def test_a_program_that_does_not_exist_is_reported_and_tried_again(supervise, tmp_path):
    console = supervise(web=["/does/not/exist"])

    wait_until(lambda: console.status().get("children", {}).get("web", {}).get("restarts", 0) > 0)
    log = (tmp_path / "logs/web.log").read_text()
    assert "cannot start /does/not/exist: No such file or directory" in log
    assert "ended with code 127" in log


def test_each_line_carries_the_name_of_its_child_and_stands_in_its_log(supervise, tmp_path):
    console = supervise(
        web=program("import os, time; print(os.environ['CHILD'], 'speaks'); print(end='half')"),
        watch=program(SLEEPER),
    )

    wait_until(lambda: "half" in console.output.read_text())
    lines = console.output.read_text().splitlines()
    assert f"{'web':<15} | web speaks" in lines
    assert f"{'web':<15} | half" in lines
    log = tmp_path / "logs/watch.log"
    wait_until(lambda: log.exists() and log.read_text() == "at work\n")


def test_only_the_owner_reads_the_status_file(supervise, tmp_path):
    console = supervise(web=program(SLEEPER))
    console.pid_of("web")

    assert (tmp_path / "supervisor.json").stat().st_mode & 0o777 == 0o600
    assert console.status()["supervisor"] == console.process.pid


def test_restarts_slow_down_to_a_limit_and_a_good_run_forgives(tmp_path):
    child = Child(ChildSpec("web", ["true"]), tmp_path / "web.log")
    just_now = time.monotonic()

    waits = [child.plan_restart(just_now) for _ in range(8)]
    after_a_good_run = child.plan_restart(just_now - 31)
    child.close_log()

    assert waits[:3] == [FIRST_BACK_OFF, 0.4, 0.8]
    assert waits[-1] == LONGEST_BACK_OFF
    assert after_a_good_run == FIRST_BACK_OFF


def test_what_must_be_replaced_soon_never_waits_longer_than_its_own_bound(tmp_path):
    watch = Child(ChildSpec("watch", ["true"], longest_back_off=1.0), tmp_path / "watch.log")
    waits = [watch.plan_restart(time.monotonic()) for _death in range(8)]
    watch.close_log()
    assert waits[0] == FIRST_BACK_OFF
    assert max(waits) == waits[-1] == 1.0


def test_fault_06_a_full_disk_ends_nobody_and_the_status_is_written_as_soon_as_it_can_be(tmp_path):
    in_the_way = tmp_path / "supervisor.new"
    in_the_way.mkdir()
    child = ["talker", program(SLEEPER), {}]
    with open("/dev/full", "wb") as full:
        process = subprocess.Popen(
            [*program(SUPERVISE), tmp_path, json.dumps([child])], cwd=ROOT, stdout=full
        )
    try:
        log = tmp_path / "logs" / "talker.log"
        wait_until(lambda: log.exists() and "at work" in log.read_text())
        assert not (tmp_path / "supervisor.json").exists()
        in_the_way.rmdir()
        status = wait_until(lambda: (tmp_path / "supervisor.json").exists())
        assert status
        pid = json.loads((tmp_path / "supervisor.json").read_text())["children"]["talker"]["pid"]
        assert alive(pid)
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(30)
