"""Every setting of an installation is documented, and what is documented is one."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
READ = re.compile(r'\b(?:env_\w+|_config_file)\(\s*"([A-Z][A-Z0-9_]+)"')
# What the console's own programs tell each other, or tests and rehearsals the console.
OWN = {
    "UPGRADECONSOLE_SERVES",
    "UPGRADECONSOLE_TEST_DB",
    "UPGRADECONSOLE_WATCH_MAY_RUN_BATCHES",
    "UPGRADECONSOLE_PROBE_BEFORE_START",
    "UPGRADECONSOLE_SOAK_SCALE",
}


def test_the_table_of_settings_is_complete() -> None:
    read = {
        name
        for file in (ROOT / "upgradeconsole").rglob("*.py")
        for name in READ.findall(file.read_text(encoding="utf-8"))
    }
    text = (ROOT / "docs/installing.md").read_text(encoding="utf-8")
    table = text.partition("## Settings")[2]

    documented = {
        name
        for row in table.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", row.split("|")[1])
    }

    assert len(read) > 40
    assert documented == read - OWN
