"""Run pytest for the gate: `python -m tests.gate [ARGUMENTS OF PYTEST]`.

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

ROOT = Path(__file__).resolve().parents[1]
# By file, because the tests of one file share their processes and their database; in the order of
# tests/conftest.py. Three, because most of those that start processes wait for them.
TOGETHER = ("-n", "3", "--dist", "loadfile", "--no-loadscope-reorder")
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


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
