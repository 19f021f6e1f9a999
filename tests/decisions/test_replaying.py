"""The replay says what the watch says: same functions, same order, same memory."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from batches.guardrails.verdict import GuardState, judge, measure
from batches.replay.replaying import Judging, Rule, play
from plans.policies.policy import Guardrail
from tests.decisions.kpi_looks import ERROR_RATE, NOON, after, look, ratio

LIMIT = Guardrail("error_rate", at_most=5.0, unit="%", window_seconds=20, min_samples=20)
RULE = Rule("error_rate at_most 5", LIMIT, ERROR_RATE)


def judging(seconds: float, **more: Any) -> Judging:
    given: dict[str, Any] = {
        "upgraded": ("acorn", "birch"),
        "soak_started": NOON,
        "looks": {"error_rate": after(seconds)},
    } | more
    return Judging(at=after(seconds + 0.2), **given)


def looks_of(shares, step: float = 5.0):
    return [
        look(step * n, {"acorn": ratio(bad, 100), "birch": ratio(0, 100)})
        for n, bad in enumerate(shares)
    ]


def said(steps):
    return [(step.at, step.ruling.verdict) for step in steps if step.changed]


def test_a_breach_is_ruled_when_the_second_look_running_failed():
    looks = looks_of([0, 0, 60, 60, 60])
    steps = list(play([RULE], looks, [judging(5.0 * n) for n in range(5)], max_age_seconds=30))
    assert said(steps) == [
        (after(0.2), "fine"),
        (after(10.2), "undecided"),
        (after(15.2), "breached"),
    ]


@given(st.lists(st.integers(0, 100), min_size=1, max_size=30))
def test_it_judges_as_the_watch_does_look_by_look(shares):
    looks = looks_of(shares)
    judgings = [judging(5.0 * n) for n in range(len(shares))]
    state, expected = GuardState(), []
    for n, one in enumerate(judgings):
        seen = measure(LIMIT, ERROR_RATE, looks[: n + 1], canary=2, now=one.at, max_age_seconds=30)
        state, ruling = judge(state, seen, LIMIT, now=one.at, soak_started=NOON)
        expected.append((state, ruling))
    steps = list(play([RULE], looks, judgings, max_age_seconds=30))
    assert [(step.state, step.ruling) for step in steps] == expected


def test_what_a_restart_read_back_is_where_the_rule_goes_on():
    looks = looks_of([60, 60])
    stands = GuardState(failed_running=1, last_look_at=after(-5), verdict="undecided")
    first = judging(0, states={RULE.key: stands})
    (step,) = play([RULE], looks[:1], [first], max_age_seconds=30)
    assert step.ruling.verdict == "breached"


def test_a_rule_that_the_watch_did_not_have_goes_on_over_a_restart():
    looks = looks_of([60, 60])
    judgings = [judging(0), judging(5, states={"another": GuardState()})]
    steps = list(play([RULE], looks, judgings, max_age_seconds=30))
    assert steps[-1].ruling.verdict == "breached"


def test_what_was_seen_before_a_rollback_counts_no_more():
    looks = looks_of([60, 60, 60])
    judgings = [judging(0), judging(5, since=after(3), states={}), judging(10, since=after(3))]
    steps = list(play([RULE], looks, judgings, max_age_seconds=30))
    assert [step.state.failed_running for step in steps] == [1, 1, 2]
    assert steps[1].measurement.n == 200


def test_looks_that_came_later_do_not_count_for_an_earlier_judging():
    looks = looks_of([0, 100])
    late = replace(judging(0), at=after(6))
    (step,) = play([RULE], looks, [late], max_age_seconds=30)
    assert step.measurement.value == 0


def test_a_judging_of_another_kpi_judges_nothing():
    elsewhere = judging(0, looks={"latency_ms": NOON})
    assert list(play([RULE], looks_of([60]), [elsewhere], max_age_seconds=30)) == []


def test_a_rule_that_has_ruled_before_makes_no_first_ruling_again():
    judgings = [judging(0, states={RULE.key: GuardState(verdict="fine")})]
    steps = list(play([RULE], looks_of([0]), judgings, max_age_seconds=30, ruled=[RULE.key]))
    assert said(steps) == []
