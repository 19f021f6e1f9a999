"""Run pytest for the gate: `python -m tests.gate [ARGUMENTS OF PYTEST]`.

Many tests run real processes against the real clock. What fails beside others is run once more by
itself: that a machine is busy is no fault of the product, and what is wrong fails again.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# By file, because the tests of one file share their processes and their database.
TOGETHER = ("-n", "2", "--dist", "loadfile")
ALONE = ("--last-failed", "--last-failed-no-failures", "none")
TESTS_FAILED = 1


def run(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Return the exit code of pytest, of the second run where tests of the first one failed."""
    with tempfile.TemporaryDirectory(prefix="pytest-cache-") as cache:
        these = ("-o", f"cache_dir={cache}", *arguments)
        code = pytest([*these, *TOGETHER], environ)
        if code != TESTS_FAILED:
            return code
        sys.stdout.write("== once more, alone: what failed\n")
        sys.stdout.flush()
        return pytest([*these, *ALONE], environ)


def pytest(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> int:
    """Run pytest once and return its exit code."""
    command = [sys.executable, "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ or os.environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
