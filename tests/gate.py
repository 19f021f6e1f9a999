"""Run pytest for the gate: `python -m tests.gate [ARGUMENTS OF PYTEST]`.

The consoles of the journeys and of the chaos begin with copies of one folder that is prepared here.

Many tests run real processes against the real clock. What fails beside others is run once more by
itself: that a machine is busy is no fault of the product, and what is wrong fails again. A world
goes the same way each time, so it is not played again.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.journeys.ready_folder import NAMED_BY, prepare
from tests.journeys.stack import clean_environ

ROOT = Path(__file__).resolve().parents[1]
# By file, because the tests of one file share their processes and their database; in the order of
# tests/conftest.py. Five: two play worlds at first, and most of those that start processes wait
# for them.
TOGETHER = ("-n", "5", "--dist", "loadfile", "--no-loadscope-reorder")
ALONE = ("--last-failed", "--last-failed-no-failures", "none")
TESTS_FAILED = 1
TIMELESS = "tests/simulation/"


def run(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Return the exit code of pytest, of the second run where tests of the first one failed."""
    with tempfile.TemporaryDirectory(prefix="pytest-cache-") as cache:
        these = ("-o", f"cache_dir={cache}", *arguments)
        code = pytest([*these, *TOGETHER], environ)
        if code != TESTS_FAILED or any(test.startswith(TIMELESS) for test in _failed(cache)):
            return code
        sys.stdout.write("== once more, alone: what failed\n")
        sys.stdout.flush()
        return pytest([*these, *ALONE], environ)


def _failed(cache: str) -> list[str]:
    """Return the node ids of what failed in the run that wrote this cache."""
    try:
        found: dict[str, bool] = json.loads(Path(cache, "v/cache/lastfailed").read_text())
    except FileNotFoundError:
        return []
    return list(found)


def pytest(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run pytest once and return its exit code."""
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ or os.environ, check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """Run what is named, or everything."""
    with tempfile.TemporaryDirectory(prefix="console-ready-") as folder:
        prepare(Path(folder), clean_environ())
        return run(arguments, {**os.environ, NAMED_BY: folder})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
