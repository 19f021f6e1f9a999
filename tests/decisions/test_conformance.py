"""The console's own functions answer as the references do; a wrong expectation is found out."""

import json
import math
from copy import deepcopy
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from batches.conformance.cases import CasesRejected, read_cases, read_deliberate, run_cases
from batches.guardrails.assessment import (
    Limits,
    Tally,
    Timing,
    assess_measurement,
    assess_metric,
    due,
    next_in,
    retained,
)
from batches.management.commands.conformance import DELIBERATE

REFERENCE = Path(__file__).parent.parent / "reference"
FILES = (REFERENCE / "evidence_cases.json", REFERENCE / "argo_assessment_cases.json")
MEANT = read_deliberate(DELIBERATE.read_text())
CASES = [case for file in FILES for case in read_cases(file.read_text())]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}: {case.name}"[:90])
def test_every_reference_case_is_answered_alike_or_differs_on_purpose(case):
    [outcome] = run_cases([case], MEANT)
    assert outcome.standing in {"passed", "different"}, outcome.problem


def test_the_deliberate_differences_are_those_of_the_traps_and_no_others():
    differs = [o for o in run_cases(CASES, MEANT) if o.standing == "different"]
    assert sorted(outcome.problem[:2] for outcome in differs) == ["T1", "T3"]
    assert len(CASES) == 95


def falsified(expected):
    """Return an expectation that is certainly wrong."""
    if isinstance(expected, dict):
        return {key: falsified(value) for key, value in expected.items()}
    if isinstance(expected, list):
        return [falsified(value) for value in expected]
    if isinstance(expected, bool):
        return not expected
    if isinstance(expected, int | float):
        return expected * 1.01 + 0.01
    return 17 if expected is None else f"not-{expected}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.kind}: {case.name}"[:90])
def test_a_falsified_expectation_fails(case):
    wrong = deepcopy(case)
    object.__setattr__(wrong, "expected", falsified(case.expected))
    [outcome] = run_cases([wrong], MEANT)
    assert outcome.standing == "failed"


def test_a_trap_whose_expectation_was_changed_to_our_answer_fails():
    trap = next(case for case in CASES if case.name.startswith("precedence: failed"))
    wrong = deepcopy(trap)
    object.__setattr__(wrong, "expected", "Failed")
    [outcome] = run_cases([wrong], MEANT)
    assert outcome.standing == "failed"
    assert "the reference says 'Inconclusive'" in outcome.problem


def test_tolerated_failures_without_one_success_are_no_success():
    tolerated = {
        "case": "two failures of two, both tolerated",
        "input": {
            "kind": "metric",
            "metric": {"count": 2, "failureLimit": 2, "interval": "60s"},
            "result": {"failed": 2, "count": 2, "lastMeasurement": "Failed"},
        },
        "expected": "Successful",
    }
    [outcome] = run_cases(read_cases(json.dumps([tolerated])), MEANT)
    assert (outcome.standing, outcome.problem[:2]) == ("different", "T2")


def test_failures_and_errors_at_once_are_the_worse_of_both():
    both = {
        "case": "more failures and more errors than tolerated",
        "input": {
            "kind": "metric",
            "metric": {"interval": "60s"},
            "result": {"failed": 1, "consecutiveError": 5, "count": 1, "lastMeasurement": "Error"},
        },
        "expected": "Error",
    }
    [outcome] = run_cases(read_cases(json.dumps([both])), MEANT)
    assert (outcome.standing, outcome.problem[:2]) == ("different", "T1")


WRONG = [
    ({"input": {"kind": "weather"}, "expected": "rain"}, "nobody knows the kind 'weather'"),
    ({"formula": "F99 of nothing", "inputs": {}, "expected": {"u": 1}}, "'F99'"),
    ({"formula": "F9 n", "inputs": {"p": 0.1}, "expected": {"n": 1}}, "cannot be used: KeyError"),
    ({"formula": "F9 n", "inputs": {"p": 0.005, "alpha": 0.01}, "expected": {}}, "nothing is exp"),
    (
        {"formula": "F9", "inputs": {"p": 0.005, "alpha": 0.01}, "expected": {"m": 1}},
        "no answer 'm'",
    ),
    (
        {"formula": "F9", "inputs": {"p": 0.1, "alpha": 0.1}, "expected": {"n": 9}, "rtol": 1},
        "so wide that it would test nothing",
    ),
    (
        {"input": {"kind": "isWorse", "current": "Fine", "new": "Error"}, "expected": True},
        "'Fine' is not a phase",
    ),
]


@pytest.mark.parametrize(("entry", "words"), WRONG, ids=[words for _entry, words in WRONG])
def test_what_cannot_be_run_is_a_failure_and_never_a_skip(entry, words):
    [outcome] = run_cases(read_cases(json.dumps([entry])), MEANT)
    assert outcome.standing == "failed"
    assert words in outcome.problem


@pytest.mark.parametrize("text", ["no json", "[]", '{"cases": 5}', '[{"input": {}}]', "[17]"])
def test_a_file_without_cases_is_refused(text):
    with pytest.raises(CasesRejected):
        read_cases(text)


def command(*files: Path) -> str:
    out = StringIO()
    call_command("conformance", *map(str, files), stdout=out)
    return out.getvalue()


def test_the_command_tells_what_passed_and_what_differs_on_purpose():
    told = command(*FILES)
    assert "93 passed, 0 failed, 2 different on purpose." in told
    assert "F3: 5 passed" in told
    assert "differs precedence: failed + inconclusive limits broken" in told


def test_the_command_ends_with_1_when_a_case_fails_and_says_got_and_expected(tmp_path):
    body = json.loads(FILES[0].read_text())
    body["cases"][0]["expected"]["u"] = 0.5
    file = tmp_path / "cases.json"
    file.write_text(json.dumps(body))
    out = StringIO()
    with pytest.raises(CommandError) as failed:
        call_command("conformance", str(file), stdout=out)
    assert failed.value.returncode == 1
    assert "FAILED F1-1: u: got 0.909090909" in out.getvalue()
    assert "expected 0.5" in out.getvalue()
    assert "26 passed, 1 failed" in out.getvalue()


@pytest.mark.parametrize("text", [None, "no json"])
def test_a_file_that_cannot_be_read_ends_with_1(tmp_path, text):
    file = tmp_path / "cases.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(CommandError, match=r"cases\.json cannot be"):
        command(file)


# The tables where the reference files have no case.


@pytest.mark.parametrize(
    ("success", "failure", "outcome"),
    [
        ("absent", "absent", "Successful"),
        ("absent", "true", "Failed"),
        ("absent", "false", "Successful"),
        ("true", "absent", "Successful"),
        ("true", "true", "Failed"),
        ("true", "error", "Error"),
        ("absent", "error", "Error"),
    ],
)
def test_what_one_measurement_says(success, failure, outcome):
    assert assess_measurement(success, failure) == outcome


def test_limits_that_can_never_be_met_are_told():
    assert Limits(failure_limit=-1, has_interval=True).problems()
    assert Limits(failure_limit=2, success_streak=3, count=4, has_interval=True).problems()
    assert Limits(count=2).problems()
    assert Limits(failure_limit=2, success_streak=3, count=5, has_interval=True).problems() == []


def test_a_phase_that_has_ended_stays():
    ended = Tally(phase="Failed", failed=1, successful=9, last="Successful", count=10)
    assert assess_metric(Limits(count=10, has_interval=True), ended).phase == "Failed"


@pytest.mark.parametrize(
    ("timing", "now", "wait"),
    [
        (Timing(), True, 0.0),
        (Timing(interval=60, finished_ago=61), True, -1),
        (Timing(interval=60, finished_ago=61, stopping=True), False, -1),
        (Timing(finished_ago=500), False, None),
        (Timing(interval=math.nan, finished_ago=500), False, None),
        (Timing(interval=300, finished_ago=11, last="Error"), True, -1),
        (Timing(delay=20, started_ago=21), True, -1),
        (Timing(delay=20), False, None),
        (Timing(in_flight=True, resume_in=30), False, 30),
        (Timing(in_flight=True, stopping=True), True, None),
        (Timing(interval=60, finished_ago=61, ended=True), False, None),
    ],
    ids=str,
)
def test_when_the_next_measurement_is_due(timing, now, wait):
    assert (due(timing).now, next_in(timing)) == (now, wait)


def test_only_so_many_of_the_newest_are_kept():
    assert list(retained(["1", "2", "3"], 2)) == ["2", "3"]
    assert list(retained(["1"], 0)) == []
