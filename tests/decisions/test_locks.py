"""The two locks: what the console runs with, and that with the tools of its tests."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = ("upgradeconsole", "plans", "batches", "reports")


def locked(name: str) -> dict[str, str]:
    """Return version and digests of each library that a lock names."""
    entries = re.split(r"(?m)^(?=\S)", (ROOT / name).read_text(encoding="utf-8"))
    # On which platforms may differ: a tool may need a library where the console does not.
    plain = [re.sub(r" ; .*(?= \\\n)", "", entry) for entry in entries if entry]
    return {entry.partition("==")[0]: entry for entry in plain}


def imported() -> set[str]:
    """Return the top-level modules that the console's own code imports, wherever in a file."""
    files = [path for package in OURS for path in (ROOT / package).rglob("*.py")]
    found: set[str] = set()
    for path in [ROOT / "manage.py", *files]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - set(OURS) - set(sys.stdlib_module_names)


def test_the_tests_run_with_what_the_console_runs_with():
    console, tests = locked("requirements.lock"), locked("requirements-dev.lock")
    assert len(console) > 50
    differ = [name for name, entry in console.items() if tests.get(name) != entry]
    assert not differ, "type ./console lock"


@pytest.mark.parametrize("tool", ["pytest", "mypy", "ruff", "playwright", "hypothesis"])
def test_no_tool_is_installed_where_the_console_runs(tool):
    assert tool in locked("requirements-dev.lock")
    assert tool not in locked("requirements.lock")


def test_what_the_console_imports_is_in_its_own_lock():
    console = locked("requirements.lock")
    offered = packages_distributions()
    missing = {
        module
        for module in imported()
        if not any(name.lower().replace("_", "-") in console for name in offered.get(module, []))
    }
    assert not missing
