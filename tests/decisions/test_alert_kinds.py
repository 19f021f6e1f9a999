"""Every kind of alert has its meaning, its advice and its row in docs/alerts.md."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from batches.alerting.kinds import ALERT_KINDS, to_do

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = ROOT / "batches/alerting/kinds.py"


def code() -> list[str]:
    files = [path for package in ("batches", "reports") for path in (ROOT / package).rglob("*.py")]
    return [path.read_text(encoding="utf-8") for path in files if path != REGISTRY]


def fired(text: str) -> Iterator[str]:
    """Yield the kinds of a file's calls of `alerts.fire`, as far as they are written there."""
    tree = ast.parse(text)
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Constant)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "alerts.fire":
            for kind in (word.value for word in node.keywords if word.arg == "kind"):
                if isinstance(kind, ast.Constant):
                    yield str(kind.value)
                elif isinstance(kind, ast.Name) and kind.id in constants:
                    yield str(constants[kind.id])


def test_the_table_of_the_docs_is_the_registry():
    text = (ROOT / "docs/alerts.md").read_text(encoding="utf-8")
    rows = [row for row in text.splitlines() if row.startswith("| `")]
    assert rows == [
        f"| `{kind}` | {meant.when} | {meant.by_itself} | {meant.to_do} |"
        for kind, meant in ALERT_KINDS.items()
    ]


def test_every_kind_is_one_that_the_code_names():
    text = "\n".join(code())
    assert [kind for kind in ALERT_KINDS if f'"{kind}' not in text] == []


def test_every_kind_that_is_fired_by_its_name_is_known():
    named = {kind for text in code() for kind in fired(text)}
    assert len(named) > 12
    assert named <= ALERT_KINDS.keys()


@pytest.mark.parametrize("kind", ALERT_KINDS)
def test_what_to_do_is_said_in_plain_sentences(kind):
    # Mails and pages show it as it stands.
    assert to_do(kind).endswith(".")
    assert not set("`<>|") & set(to_do(kind))


def test_a_kind_of_another_version_has_no_advice():
    assert to_do("no_such_kind") == ""
