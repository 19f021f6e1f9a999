"""Memory of all processes of a console that `./console up` started: idle, and with a large plan.

`./console bench memory [--settle 30] [--tenants 10000] [--demo] [--json FILE]`. PSS, from
smaps_rollup: what several processes share is counted once.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.results import Found
from benchmarks.sockets import free_port

GOAL_MB = 450
SECONDS_TO_START = 180.0


@contextmanager
def console(folder: Path, *, demo: bool) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the whole console over a folder; yields its address and the supervisor."""
    port, fleet = free_port(), free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "upgradeconsole.up", "--port", str(port)),
            *("--data", str(folder), "--fleet-port", str(fleet)),
            *(() if demo else ("--no-demo",)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    try:
        until = time.monotonic() + SECONDS_TO_START
        while not _answers(f"http://127.0.0.1:{port}/livez"):
            if time.monotonic() > until or process.poll() is not None:
                raise SystemExit("The console did not start.")
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def family(pid: int) -> list[int]:
    """Return a process and all that came from it."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        left += parents.get(one, [])
    return found


def pss(pid: int) -> float:
    """Return the proportional set size in MB."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def by_child(folder: Path, supervisor: int) -> dict[str, float]:
    """Return the MB of each child with all its processes, and of the supervisor itself."""
    children = json.loads((folder / "supervisor.json").read_text())["children"]
    sizes = {
        name: sum(map(pss, family(child["group"])))
        for name, child in children.items()
        if child["group"]
    }
    return {"supervisor": pss(supervisor), **sizes}


def measure(
    found: Found, what: str, folder: Path, supervisor: int, *, goal: float | None = GOAL_MB
) -> None:
    """Add the sum over all processes, with its parts."""
    sizes = by_child(folder, supervisor)
    parts = ", ".join(f"{name} {size:.0f}" for name, size in sizes.items())
    found.add(f"all processes, {what}", "MB PSS", [sum(sizes.values())], goal, parts)


LARGE_PLAN = """
import sys
from pathlib import Path
from benchmarks import scene
scene.prepare(Path(sys.argv[1]), base="http://127.0.0.1:9", tenants=int(sys.argv[2]),
              policies=scene.QUIET)
scene.soaking("large", policy="quiet")
"""


def main() -> None:
    """Measure an idle console, and one that holds a large plan."""
    parser = argparse.ArgumentParser(prog="bench memory")
    parser.add_argument("--settle", type=float, default=30, help="seconds before the look")
    parser.add_argument("--tenants", type=int, default=10_000, help="of the large plan; 0: none")
    parser.add_argument("--demo", action="store_true", help="with the demonstration as well")
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    found = Found("memory")
    for demo in (False, True) if options.demo else (False,):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            with console(folder, demo=demo) as (_url, process):
                time.sleep(options.settle)
                measure(found, "idle, with the demo" if demo else "idle", folder, process.pid)
    if options.tenants:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            subprocess.run(
                [sys.executable, "-c", LARGE_PLAN, name, str(options.tenants)],
                check=True,
                env={**os.environ, "PYTHONPATH": "."},
            )
            os.environ["UPGRADECONSOLE_DEPLOYERS"] = str(folder / "deployers.yaml")
            os.environ["UPGRADECONSOLE_DICTIONARY"] = str(folder / "dictionary.json")
            with console(folder, demo=False) as (_url, process):
                time.sleep(options.settle)
                what = f"a soaking plan of {options.tenants} tenants"
                measure(found, what, folder, process.pid, goal=None)
    found.write(options.json)


if __name__ == "__main__":
    main()
