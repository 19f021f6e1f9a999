"""A data folder that is prepared once, as a first start does it, and copied for each console."""

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

from plans.failpoints import FILE_VARIABLE
from upgradeconsole.demo.config_files import ready_outbound

ROOT = Path(__file__).resolve().parents[2]
NAMED_BY = "CONSOLE_TESTS_READY_FOLDER"
CHANGES_NOTHING = frozenset(
    {
        FILE_VARIABLE,
        "UPGRADECONSOLE_ALERT_URLS",
        "UPGRADECONSOLE_DISK_RESERVE_MB",
        "UPGRADECONSOLE_MIN_FREE_MB",
        # These say what the demonstration's waiting plans would use; nobody starts them there.
        "UPGRADECONSOLE_DEPLOYERS",
        "UPGRADECONSOLE_DICTIONARY",
    }
)
"""Settings with which the folder would be prepared in the same way."""


def prepare(data: Path, environ: Mapping[str, str]) -> None:
    """Make a data folder as the first start of a console does."""
    ready_outbound(data / "config", demo=True)
    subprocess.run(
        [sys.executable, "manage.py", "prepare"],
        cwd=ROOT,
        env={**environ, "UPGRADECONSOLE_DATA": str(data)},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def copy_ready_folder(data: Path, settings: Collection[str]) -> None:
    """Let a console find its folder prepared, where there is one and its settings are the usual.

    Its start finds nothing to do then, and writes the port of its own fleet into the config. A
    folder that holds a console already (a restored backup) is left as it is.
    """
    ready = os.environ.get(NAMED_BY)
    if ready and not (data / "console.sqlite3").exists() and CHANGES_NOTHING.issuperset(settings):
        shutil.copytree(ready, data, dirs_exist_ok=True)
