"""One of a thing is never told in the plural."""

import ast
import re
from pathlib import Path

import pytest

from batches.evidence.ruling import _requests as compared_requests
from batches.guardrails.measured_words import requests
from plans.counted_words import counted
from upgradeconsole.cli import render

ROOT = Path(__file__).parents[2]
NOUNS = (
    "account|attempt|batche|call|checkpoint|day|error|event|hour|key|line|look|mapping|minute|plan"
    "|release|request|requirement|role|round|row|sample|secret|tenant|token"
)
# What comes right after a number: "tenants", "more tenants", "are".
PLURAL_WORDS = rf"(?:[a-z]+ )?(?:{NOUNS})s\b|people\b|(?:are|were|have|need)\b"
PLURAL = re.compile(rf"^ (?:{PLURAL_WORDS})")
# Where it could be at all, before a file is parsed: behind a number's brace, or a line's quote.
PERHAPS = re.compile(rf"[}}\"'] ?(?:{PLURAL_WORDS})")
# Shown, and no number of what follows.
NO_COUNT = {
    "', '.join(rule.required_roles)",
    "kpi",
    "batch_number",
    "counted(history.tenants, 'tenant')",
    "_rate(traffic.per_second)",
    "counted(most, 'tenant')",
    "before",
    "by.get_full_name() if by else 'The console'",
    "max_bytes",
    "target",
    "count(rollback.touched, 'tenant')",
    "counted(erased, 'event')",
}
# Counts of which one has a sentence of its own just beside, or which are only ever more.
NEVER_ONE = {
    "tenants",
    "total",
    "needed",
    "len(right)",
    "len(rows)",
    "len(keys)",
    "len(filled)",
    "self.looks",
    "judged",
    "len(chosen)",
    "looks",
    "SEARCH.days",
    "arguments.tenants",
}
# The auditor's script stands alone; the numbers that it shows there name checkpoints and events.
ALONE = "verify_trail.py"


@pytest.mark.parametrize(
    ("number", "words", "told"),
    [
        (1, ("tenant",), "1 tenant"),
        (0, ("tenant",), "0 tenants"),
        (2, ("tenant",), "2 tenants"),
        (1, ("tenant is", "tenants are"), "1 tenant is"),
        (3, ("batch", "batches"), "3 batches"),
    ],
)
def test_a_number_and_its_word_agree(number, words, told):
    assert counted(number, *words) == told


def test_the_client_counts_as_the_console_does():
    assert [render.counted(n, "look") for n in (0, 1, 2)] == [counted(n, "look") for n in (0, 1, 2)]


def test_increments_may_be_fractions_of_a_request():
    assert [requests(n) for n in (0.5, 1, 2)] == ["0.5 requests", "1 request", "2 requests"]
    assert [compared_requests(n) for n in (1, 1200)] == ["1 request", "1,200 requests"]


def shown_in_the_plural(path: Path) -> set[str]:
    """Return what one file shows right before a plural: the expression."""
    found: set[str] = set()
    text_of_file = path.read_text()
    if not PERHAPS.search(text_of_file):
        return found
    for node in ast.walk(ast.parse(text_of_file)):
        if not isinstance(node, ast.JoinedStr):
            continue
        for shown, text in zip(node.values, node.values[1:], strict=False):
            if not (isinstance(shown, ast.FormattedValue) and isinstance(text, ast.Constant)):
                continue
            # A constant is what its author wrote beside it.
            if PLURAL.search(str(text.value)) and not ast.unparse(shown.value).isupper():
                found.add(ast.unparse(shown.value))
    return found


def test_no_sentence_of_the_console_can_say_one_tenants():
    files = [
        file
        for top in ("plans", "batches", "reports", "upgradeconsole")
        for file in sorted((ROOT / top).rglob("*.py"))
        if "migrations" not in file.parts and file.name != ALONE
    ]
    assert len(files) > 500
    found = set[str]().union(*map(shown_in_the_plural, files))
    assert found - NO_COUNT - NEVER_ONE == set(), "use plans.counted_words.counted"
    assert (NO_COUNT | NEVER_ONE) - found == set(), "spared, and not there any more"
