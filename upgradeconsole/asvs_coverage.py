"""Which requirements of OWASP's ASVS are held by which tests, and whether these tests hold."""

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree  # nosec B405 # reads what our own pytest wrote

import yaml

ROOT = Path(__file__).resolve().parent.parent
ASVS_FILE = ROOT / "security" / "asvs.yaml"
COLLECTED, NOTHING_FOUND, USED_WRONGLY = 0, 5, 4


class AsvsUnreadable(Exception):
    """The file, or the tests that it names, cannot be read; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement: its tests, or why it has none."""

    number: str
    tests: tuple[str, ...] = ()
    why_none: str = ""


def read_requirements(text: str) -> list[Requirement]:
    """Return the requirements of the file in its order. Raises AsvsUnreadable."""
    try:
        held = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise AsvsUnreadable(f"{ASVS_FILE.name} is not YAML: {error}") from error
    if not isinstance(held, dict):
        raise AsvsUnreadable(f"{ASVS_FILE.name} must map numbers to lists of tests.")
    return [_requirement(number, tests) for number, tests in held.items()]


def _requirement(number: object, tests: object) -> Requirement:
    if not isinstance(number, str):
        raise AsvsUnreadable(f"Write the number {number!r} in quotation marks.")
    if isinstance(tests, str) and tests.strip():
        return Requirement(number, why_none=tests)
    if isinstance(tests, list) and tests and all(isinstance(test, str) for test in tests):
        return Requirement(number, tests=tuple(tests))
    raise AsvsUnreadable(f"{number}: write a list of tests, or a sentence that says why none is.")


def collected(tests: Iterable[str]) -> set[str]:
    """Return those of the tests that pytest finds. Raises AsvsUnreadable."""
    wanted = set(tests)
    files = sorted({test.partition("::")[0] for test in wanted})
    there = [name for name in files if (ROOT / name).is_file()]
    if not there:
        return set()
    done = _pytest("--collect-only", "-q", *there)
    if done.returncode not in (COLLECTED, NOTHING_FOUND):
        said = (done.stdout + done.stderr).strip()[-1000:]
        raise AsvsUnreadable(f"pytest could not collect the tests: {said}")
    found = {line.partition("[")[0].strip() for line in done.stdout.splitlines() if "::" in line}
    return wanted & found


def outcomes(tests: Iterable[str]) -> dict[str, str]:
    """Run the tests; return passed, failed or skipped for each that ran. Raises AsvsUnreadable."""
    with tempfile.TemporaryDirectory(prefix="asvs-") as folder:
        told = Path(folder) / "junit.xml"
        done = _pytest("-q", f"--junitxml={told}", *sorted(set(tests)))
        if done.returncode >= USED_WRONGLY or not told.is_file():
            raise AsvsUnreadable(f"pytest did not run: {(done.stdout + done.stderr)[-1000:]}")
        return read_outcomes(told.read_text(encoding="utf-8"))


def read_outcomes(junit: str) -> dict[str, str]:
    """Return the outcome of each test; the worst of its examples counts."""
    worst: dict[str, str] = {}
    severity = ("passed", "skipped", "failed")
    # What pytest wrote a moment ago for us, no file of a stranger.
    for case in ElementTree.fromstring(junit).iter("testcase"):  # noqa: S314  # nosec B314 # ours
        name = (case.get("name") or "").partition("[")[0]
        node = f"{(case.get('classname') or '').replace('.', '/')}.py::{name}"
        tags = {child.tag for child in case}
        now = "failed" if tags & {"failure", "error"} else "passed"
        now = "skipped" if now == "passed" and "skipped" in tags else now
        worst[node] = max(worst.get(node, "passed"), now, key=severity.index)
    return worst


def standing(requirement: Requirement, known: set[str], ran: Mapping[str, str] | None) -> str:
    """Return how a requirement stands, in a word: untested, missing, named, held or broken."""
    if not requirement.tests:
        return "untested"
    if not known.issuperset(requirement.tests):
        return "missing"
    if ran is None:
        return "named"
    return "held" if all(ran.get(test) == "passed" for test in requirement.tests) else "broken"


def _pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
