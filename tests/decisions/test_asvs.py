"""The tests that stand for requirements and against threats exist, and the command says how."""

import ast
import re
from functools import cache

import pytest

from upgradeconsole.asvs_coverage import (
    ASVS_FILE,
    ROOT,
    AsvsUnreadable,
    Requirement,
    read_outcomes,
    read_requirements,
    standing,
)

THREATS = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NODE = re.compile(r"tests/[\w/]+\.py::test_\w+")
JUNIT = """<testsuites><testsuite>
<testcase classname="tests.web.test_a" name="test_one[x]"/>
<testcase classname="tests.web.test_a" name="test_one[y]"><failure/></testcase>
<testcase classname="tests.web.test_a" name="test_two"/>
<testcase classname="tests.web.test_a" name="test_three"><skipped/></testcase>
</testsuite></testsuites>"""


@cache
def found_in(name: str) -> frozenset[str]:
    path = ROOT / name
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(entry.name for entry in tree.body if isinstance(entry, functions))


def not_there(nodes: list[str]) -> list[str]:
    pairs = [(node, *node.split("::")) for node in nodes]
    return [node for node, name, test in pairs if test not in found_in(name)]


def test_every_test_that_a_requirement_names_exists():
    requirements = read_requirements(ASVS_FILE.read_text(encoding="utf-8"))
    assert len(requirements) > 70
    assert not_there([test for one in requirements for test in one.tests]) == []


def test_every_threat_names_a_test_that_exists():
    rows = [line for line in THREATS.splitlines() if re.match(r"\| [STRIDE]+ ?\|", line)]
    assert len(rows) >= 20
    without = [row for row in rows if not NODE.search(row)]
    assert without == [], "each threat needs a test"
    assert not_there(NODE.findall(THREATS)) == []


def test_a_test_that_is_gone_is_found():
    here = "tests/decisions/test_asvs.py"
    gone = [f"{here}::test_nobody_wrote", "tests/decisions/test_never.py::test_x"]
    assert not_there([f"{here}::test_a_test_that_is_gone_is_found", *gone]) == gone


def test_the_worst_example_of_a_test_counts():
    told = read_outcomes(JUNIT)
    assert told == {
        "tests/web/test_a.py::test_one": "failed",
        "tests/web/test_a.py::test_two": "passed",
        "tests/web/test_a.py::test_three": "skipped",
    }


@pytest.mark.parametrize(
    ("tests", "known", "ran", "word"),
    [
        ((), set(), None, "untested"),
        (("a", "b"), {"a"}, None, "missing"),
        (("a", "b"), {"a", "b"}, None, "named"),
        (("a", "b"), {"a", "b"}, {"a": "passed", "b": "passed"}, "held"),
        (("a", "b"), {"a", "b"}, {"a": "passed", "b": "skipped"}, "broken"),
        (("a", "b"), {"a", "b"}, {"a": "passed"}, "broken"),
    ],
)
def test_a_requirement_is_held_when_all_its_tests_ran_and_passed(tests, known, ran, word):
    assert standing(Requirement("1.2.1", tests, "" if tests else "why"), known, ran) == word


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "not YAML"),
        ("- a", "must map"),
        ("1.2: [a]", "quotation marks"),
        ('"1.2.1": []', "a list of tests"),
        ('"1.2.1": ""', "a list of tests"),
        ('"1.2.1": [1]', "a list of tests"),
    ],
)
def test_a_file_that_says_nothing_is_refused(text, says):
    with pytest.raises(AsvsUnreadable, match=says):
        read_requirements(text)
