"""No data is a state with its cause and its clock; each cause is told apart."""

import math

import pytest

from batches.guardrails.guard_state import GuardState
from batches.guardrails.measured_words import CAUSES
from batches.guardrails.verdict import judge, measure, promotable
from batches.metric_sources import Series
from batches.sources.increments import failed_look, take_look
from plans.policies.policy import Guardrail
from tests.decisions.kpi_looks import (
    BAD,
    ERROR_RATE,
    NOON,
    RATIO_MAPPING,
    TOTAL,
    after,
    counter,
    look,
    ratio,
)

RULE = Guardrail("error_rate", at_most=5, unit="%")


def looked(bad, total, *, seconds=120.0):
    """Return what a look sees whose counters are these, after one that saw 0 of 0."""
    cursor = {}
    for at, answers in ((0.0, [0.0, 0.0]), (seconds, [bad, total])):
        series = [
            [one] if isinstance(one, Series) else ([] if one is None else [at_once(one)])
            for one in answers
        ]
        sample, cursor = take_look(
            mapping=RATIO_MAPPING,
            definition=ERROR_RATE,
            answers={BAD: series[0], TOTAL: series[1]},
            at=after(at),
            upgraded={"acorn": NOON},
            control=(),
            target_version="2.0",
            cursor=cursor,
        )
    return sample


def at_once(value):
    return counter("acorn", "2.0", value)


def late(value, seconds):
    return counter("acorn", "2.0", value, after(seconds))


@pytest.mark.parametrize(
    ("sample", "cause"),
    [
        (looked(None, None), "name_gone"),
        (looked(math.nan, 100.0), "not_a_number"),
        (looked(math.inf, 100.0), "infinite"),
        (looked(-5.0, 100.0), "negative"),
        (looked(late(1.0, 60), late(100.0, 60)), "stale"),
        (looked(late(1.0, 300), late(100.0, 300)), "future"),
        (
            failed_look(
                kpi="error_rate", source="prom", at=after(120), cause="timeout", sentence="3 s"
            ),
            "timeout",
        ),
    ],
)
def test_each_cause_is_told_apart_and_none_is_ever_fine(sample, cause):
    seen = measure(RULE, ERROR_RATE, [sample], canary=1, now=sample.at)
    assert (seen.outcome, seen.cause) == ("error", cause)
    assert CAUSES[cause] in seen.sentence
    state, ruling = judge(GuardState(), seen, RULE, now=sample.at, soak_started=NOON)
    assert ruling.verdict != "fine"
    assert ruling.since == sample.at
    assert promotable([state], [RULE])[0] is False


def test_a_tenant_without_requests_is_idle_since_a_moment_and_nothing_is_wrong_with_the_source():
    looks = [look(5, {"acorn": ratio(0, 100)}), look(70, {"acorn": ratio(0, 0)})]
    state, rulings = GuardState(), []
    for number, newest in enumerate([*looks, look(80, {"acorn": ratio(0, 0)})]):
        window = [*looks, look(80, {"acorn": ratio(0, 0)})][: number + 1]
        seen = measure(RULE, ERROR_RATE, window, canary=1, now=newest.at)
        state, ruling = judge(state, seen, RULE, now=newest.at, soak_started=NOON)
        rulings.append(ruling)
    assert [(r.verdict, r.cause) for r in rulings] == [
        ("fine", None),
        ("undecided", "idle"),
        ("undecided", "idle"),
    ]
    assert rulings[2].sentence.endswith("no request for 10 s")
    assert (rulings[2].since, rulings[2].last_good_at) == (after(70), after(5))
    assert state.errors_running == 0
    # It was good once, and nobody knows how it is now.
    assert promotable([state], [RULE]) == (
        False,
        "error_rate has no requests to measure any more",
    )


def test_the_clock_counts_from_the_first_look_without_data_and_ends_with_the_first_good_one():
    def down(seconds):
        return failed_look(
            kpi="error_rate", source="f", at=after(seconds), cause="source_down", sentence="x"
        )

    looks = [
        look(5, {"acorn": ratio(0, 100)}),
        *(down(5 * n) for n in range(2, 130)),
        look(655, {"acorn": ratio(0, 100)}),
    ]
    state, rulings = GuardState(), []
    for newest in looks:
        seen = measure(RULE, ERROR_RATE, [newest], canary=1, now=newest.at)
        state, ruling = judge(state, seen, RULE, now=newest.at, soak_started=NOON)
        rulings.append(ruling)
    assert {r.since for r in rulings[1:-1]} == {after(10)}
    assert {r.last_good_at for r in rulings[1:-1]} == {after(5)}
    assert rulings[-2].sentence.startswith("error_rate: no data from f for 635 s (source down")
    assert {r.action for r in rulings} == {"", "hold"}
    assert (rulings[-1].verdict, rulings[-1].since) == ("fine", None)
