"""Run files of reference cases against the console's own functions, and say what differs.

A case passes, fails, or differs on purpose: then it is listed by its name, with the reason and with
both answers. A kind that nobody knows is a failure: what is not run is not shown to be right.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from batches.conformance.assessment import ASSESSED, Worded
from batches.conformance.evidence import FORMULAS

Standing = Literal["passed", "failed", "different"]
Run = Callable[[Mapping[str, Any]], Any]

WIDEST_TOLERANCE: Final = 1e-3
FIRST_WORD_ONLY: Final = frozenset({"reaction"})
"""Kinds whose expectation is one word, explained by those behind it."""
_WRONG_INPUT: Final = (
    ArithmeticError,
    AttributeError,
    IndexError,
    LookupError,
    TypeError,
    ValueError,
)


class CasesRejected(Exception):
    """The file holds no cases that could be run; the text says why."""


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a file: its kind is a formula's id, or what is assessed."""

    kind: str
    name: str
    inputs: Mapping[str, Any]
    expected: Any
    message: str | None = None
    rtol: float = 1e-9
    atol: float = 1e-12


@dataclass(frozen=True, slots=True)
class Deliberate:
    """A case to which the console answers otherwise, on purpose.

    It is known by its name, or by the inputs that make it what it is.
    """

    trap: str
    kind: str
    case: str
    theirs: Any
    ours: Any
    reason: str
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def fits(self, case: Case) -> bool:
        """Tell whether it is this case."""
        if self.kind != case.kind:
            return False
        by_name = bool(self.case) and self.case == case.name
        return by_name or (bool(self.inputs) and _holds(case.inputs, self.inputs))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one case; `problem` says in words what differs."""

    case: Case
    standing: Standing
    problem: str = ""


def read_cases(text: str) -> list[Case]:
    """Return the cases of one file, in either of its two forms. Raises CasesRejected."""
    try:
        body = json.loads(text)
    except ValueError as error:
        raise CasesRejected(f"it is not JSON: {error}") from error
    listed = body.get("cases") if isinstance(body, dict) else body
    if not isinstance(listed, list) or not listed:
        raise CasesRejected("it holds no cases: a list, or an object with a list 'cases'")
    cases = []
    for number, entry in enumerate(listed, start=1):
        if not isinstance(entry, dict) or "expected" not in entry:
            raise CasesRejected(f"entry {number} is not a case: it has no 'expected'")
        cases.append(_read_case(entry, number))
    return cases


def _read_case(entry: Mapping[str, Any], number: int) -> Case:
    inputs = entry.get("inputs", entry.get("input"))
    if not isinstance(inputs, dict):
        inputs = {}
    name = str(entry.get("id") or entry.get("case") or f"entry {number}")
    formula = str(entry.get("formula", "")).split()
    kind = formula[0] if formula else str(inputs.get("kind", ""))
    message = entry.get("message")
    return Case(
        kind=kind,
        name=name,
        inputs=inputs,
        expected=entry["expected"],
        message=message if isinstance(message, str) else None,
        rtol=_tolerance(entry.get("rtol", 1e-9)),
        atol=_tolerance(entry.get("atol", 1e-12)),
    )


def _tolerance(written: Any) -> float:
    wrong = isinstance(written, bool) or not isinstance(written, int | float)
    return math.inf if wrong else float(written)


def read_deliberate(text: str) -> list[Deliberate]:
    """Return the deliberate differences of the data file beside the command."""
    return [Deliberate(**entry) for entry in json.loads(text)]


def run_cases(cases: Iterable[Case], deliberate: Sequence[Deliberate]) -> list[Outcome]:
    """Return what became of each case."""
    return [
        _run(case, next((entry for entry in deliberate if entry.fits(case)), None))
        for case in cases
    ]


def _holds(inputs: Any, wanted: Any) -> bool:
    """Tell whether all that is wanted stands in the inputs; a count that is absent is 0."""
    if not isinstance(wanted, Mapping):
        return bool(inputs == wanted)
    if not isinstance(inputs, Mapping):
        return False
    return all(_holds(inputs.get(key, 0), value) for key, value in wanted.items())


def _run(case: Case, meant: Deliberate | None) -> Outcome:
    run = FORMULAS.get(case.kind) or ASSESSED.get(case.kind)
    if run is None:
        known = ", ".join([*FORMULAS, *ASSESSED])
        return Outcome(case, "failed", f"nobody knows the kind {case.kind!r}; known: {known}")
    if not (0 <= case.rtol <= WIDEST_TOLERANCE and 0 <= case.atol <= WIDEST_TOLERANCE):
        return Outcome(case, "failed", "its tolerance is so wide that it would test nothing")
    try:
        got = run(case.inputs)
    except _WRONG_INPUT as error:
        said = f"its input cannot be used: {type(error).__name__}: {error}"
        return Outcome(case, "failed", said)
    answer = got.answer if isinstance(got, Worded) else got
    expected = case.expected
    if case.kind in FIRST_WORD_ONLY and isinstance(expected, str):
        expected = expected.partition(" ")[0]
    problem = difference(answer, expected, rtol=case.rtol, atol=case.atol)
    if not problem and case.message is not None:
        words = got.words if isinstance(got, Worded) else ""
        problem = difference(words, case.message, rtol=0, atol=0)
    if meant is None:
        return Outcome(case, "failed" if problem else "passed", problem)
    if case.expected != meant.theirs:
        said = f"expected {case.expected!r}, but the reference says {meant.theirs!r}"
        return Outcome(case, "failed", said)
    if answer != meant.ours:
        return Outcome(case, "failed", f"got {answer!r}, listed as {meant.ours!r}")
    said = f"{meant.trap}: the reference says {meant.theirs}, the console {meant.ours}"
    return Outcome(case, "different", f"{said}: {meant.reason}")


def difference(got: Any, expected: Any, *, rtol: float, atol: float, at: str = "") -> str:
    """Return where and how an answer differs from what is expected, empty where it does not.

    An object is compared key by key, as far as something is expected; it may not be empty.
    """
    place = f"{at}: " if at else ""
    if isinstance(expected, dict):
        if not expected:
            return f"{place}nothing is expected, so nothing would be tested"
        if not isinstance(got, Mapping):
            return f"{place}got {got!r}, expected {expected!r}"
        parts = (
            difference(got[key], value, rtol=rtol, atol=atol, at=f"{at}.{key}" if at else key)
            if key in got
            else f"{place}the console has no answer {key!r}"
            for key, value in expected.items()
        )
        return next((said for said in parts if said), "")
    if isinstance(expected, list):
        if not isinstance(got, list) or len(got) != len(expected):
            return f"{place}got {got!r}, expected {expected!r}"
        pairs = enumerate(zip(got, expected, strict=True))
        parts = (
            difference(ours, theirs, rtol=rtol, atol=atol, at=f"{at}[{number}]")
            for number, (ours, theirs) in pairs
        )
        return next((said for said in parts if said), "")
    return "" if _alike(got, expected, rtol, atol) else f"{place}got {got!r}, expected {expected!r}"


def _alike(got: Any, expected: Any, rtol: float, atol: float) -> bool:
    if got is None:
        # The console says of what has no bound that there is none.
        return expected is None or expected == math.inf
    numbers = isinstance(got, int | float) and isinstance(expected, int | float)
    if numbers and not isinstance(got, bool) and not isinstance(expected, bool):
        return bool(got == expected or abs(got - expected) <= atol + rtol * abs(expected))
    return type(got) is type(expected) and bool(got == expected)
