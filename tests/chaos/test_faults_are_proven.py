"""docs/faults.md names every fault once, and every proof that it names exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = {
    int(number): cells
    for number, cells in re.findall(
        r"^\| (\d+) \| (.*) \|$",
        (ROOT / "docs/faults.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
}


def names_in(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }


def numbers_in(name: str) -> set[int]:
    """Return the faults that a test's name carries: test_fault_04_and_05_..."""
    found = re.match(r"test_fault_(\d\d(?:_and_\d\d)*)_", name)
    return {int(number) for number in found[1].split("_and_")} if found else set()


def test_all_33_faults_are_there():
    assert sorted(ROWS) == list(range(1, 34))


@pytest.mark.parametrize("number", sorted(ROWS))
def test_a_fault_has_a_proof_that_exists_or_names_the_work_that_brings_it(number):
    proofs = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", ROWS[number])
    assert proofs or "Later: " in ROWS[number]
    for file, name in proofs:
        assert name in names_in(ROOT / file), f"{file} has no {name}"
        assert number in numbers_in(name), f"{name} does not carry fault {number}"


def test_every_test_that_carries_a_fault_is_named_in_its_row():
    missing = [
        f"{number}: {file.relative_to(ROOT)}::{name}"
        for file in sorted((ROOT / "tests").rglob("test_*.py"))
        for name in sorted(names_in(file))
        for number in numbers_in(name)
        if f"`{file.relative_to(ROOT)}::{name}`" not in ROWS[number]
    ]
    assert not missing
