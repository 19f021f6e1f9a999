"""Failpoints: nothing without a trap, exactly what was asked for with one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from plans import failpoints

ROOT = Path(__file__).resolve().parents[2]


def _run(traps: str, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, failpoints.VARIABLE: traps},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


TWICE = "from plans.failpoints import reach\nfor n in range(3):\n    print(n)\n    reach('{point}')"


def test_a_point_without_a_trap_does_nothing():
    for point in failpoints.POINTS:
        failpoints.reach(point)


def test_a_process_dies_at_the_time_that_was_asked_for():
    done = _run("effects.call_sent=raise@2", TWICE.format(point="effects.call_sent"))
    assert done.stdout.split() == ["0", "1"]
    assert "a failpoint was reached" in done.stderr
    killed = _run("effects.call_sent=kill", TWICE.format(point="effects.call_sent"))
    assert killed.returncode == -9


def test_another_point_is_left_alone():
    done = _run("effects.call_sent=kill", TWICE.format(point="ledger.begun"))
    assert done.returncode == 0


@pytest.mark.parametrize("text", ["nowhere=kill", "ledger.begun=explode", "ledger.begun=kill@x"])
def test_a_trap_that_cannot_be_set_stops_the_start(text):
    done = _run(text, "import plans.failpoints")
    assert done.returncode != 0
    assert "BadFailpoint" in done.stderr


def test_a_file_arms_a_running_process_and_springs_once(tmp_path: Path):
    file = tmp_path / "traps"
    code = (
        "import pathlib\nfrom plans.failpoints import reach\n"
        f"file = pathlib.Path({str(file)!r})\n"
        "reach('ledger.begun')\n"
        "file.write_text('ledger.begun=raise@2')\n"
        "reach('ledger.begun'); print('once')\n"
        "try:\n    reach('ledger.begun')\nexcept OSError:\n    print('sprung', file.exists())\n"
        "file.write_text('watch.acted=raise')\n"
        "reach('ledger.begun'); print('alone')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, failpoints.FILE_VARIABLE: str(file)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.split() == ["once", "sprung", "False", "alone"], done.stderr
    assert Path(f"{file}.sprung").read_text().startswith("ledger.begun ")


def test_every_point_is_reached_somewhere_and_only_known_points_are():
    said = set()
    for package in ("plans", "batches", "reports", "upgradeconsole"):
        for file in (ROOT / package).rglob("*.py"):
            if file.name == "failpoints.py":
                continue
            text = file.read_text(encoding="utf-8")
            said |= set(re.findall(r'reach\("([a-z_.]+)"\)', text))
            if "reach(COMMITTED" in text:
                said |= set(re.findall(r'"(ledger\.[a-z_]+)"', text))
    assert said == set(failpoints.POINTS)
