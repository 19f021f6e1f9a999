"""Guardrails against the control and against each tenant's own history."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.guardrails.allowed import allowed
from batches.guardrails.verdict import GuardState, judge, measure, promotable
from batches.kpis.dictionary import GuardrailUnusable, KpiDefinition, resolve_guardrail
from plans.policies.policy import Guardrail
from tests.decisions.kpi_looks import (
    ERROR_RATE,
    LATENCY,
    NOON,
    PASS_RATE,
    QUEUE,
    after,
    gauge,
    look,
    ratio,
)

TWO_POINTS = Guardrail("error_rate", at_most=2, unit="points", against="control")
HALF_MORE = Guardrail("error_rate", at_most=1.5, unit="x", against="own_history")


def two_sides(seconds, canary, control, **more):
    newest = look(seconds, {key: ratio(*pair) for key, pair in canary.items()})
    return replace(newest, control={key: ratio(*pair) for key, pair in control.items()}, **more)


def one(newest, rule=TWO_POINTS, definition=ERROR_RATE, **more):
    more.setdefault("canary", max(1, len(newest.canary)))
    return measure(rule, definition, [newest], now=newest.at, **more)


def test_the_canary_may_be_so_many_points_worse_than_the_control_and_the_sentence_says_so():
    canary = {"acorn": (10, 400), "birch": (21, 412)}
    seen = one(two_sides(5, canary, {"cedar": (3, 500), "elm": (3, 500)}))
    assert (seen.outcome, seen.threshold, seen.baseline) == ("failed", 2.6, 0.6)
    assert seen.sentence == (
        "error_rate 3.82 % in the upgraded tenants (31 of 812 requests, 2 tenants, 60 s; worst "
        "birch 5.1 %) against 0.6 % in control (6 of 1000 requests, 2 tenants) is over its limit "
        "of 2.6 % (2 points above control)"
    )
    assert one(two_sides(5, {"acorn": (26, 1000)}, {"elm": (6, 1000)})).outcome == "successful"


def test_nobody_left_to_compare_with_is_no_data_with_its_own_cause_and_never_fine():
    seen = one(two_sides(5, {"acorn": (0, 400)}, {}))
    assert (seen.outcome, seen.cause) == ("error", "no_control")
    state, ruling = judge(GuardState(), seen, TWO_POINTS, now=after(5), soak_started=NOON)
    assert (ruling.verdict, ruling.action) == ("no_data", "hold")
    assert promotable([state], [TWO_POINTS])[0] is False
    assert promotable([state], [TWO_POINTS], last=True)[0] is True


def test_a_breach_before_the_hold_back_still_stops_it():
    bad = two_sides(5, {"acorn": (90, 400)}, {"elm": (0, 400)})
    state = GuardState()
    for newest in (bad, replace(bad, at=after(10))):
        state, _ = judge(state, one(newest), TWO_POINTS, now=newest.at, soak_started=NOON)
    alone = two_sides(15, {"acorn": (0, 1)}, {})
    state, ruling = judge(state, one(alone), TWO_POINTS, now=alone.at, soak_started=NOON)
    assert ruling.verdict == "breached"
    assert promotable([state], [TWO_POINTS], last=True)[0] is False


def test_a_control_that_gives_no_data_is_another_cause_than_one_that_is_not_there():
    silent = two_sides(5, {"acorn": (0, 400)}, {}, control_causes={"stale": 3})
    first = two_sides(5, {"acorn": (0, 400)}, {}, control_causes={"first_reading": 3})
    assert one(silent).cause == "control_lost"
    assert (one(first).outcome, one(first).cause) == ("inconclusive", None)


def test_the_control_counts_only_over_the_time_in_which_the_upgraded_were_measured():
    before = two_sides(0, {}, {"elm": (0, 4000)})
    ill = two_sides(5, {"acorn": (80, 400)}, {"elm": (80, 400)})
    seen = measure(TWO_POINTS, ERROR_RATE, [before, ill], canary=1, now=ill.at)
    assert (seen.outcome, seen.baseline) == ("successful", 20.0)


def test_too_few_requests_in_the_control_decide_nothing():
    seen = one(two_sides(5, {"acorn": (40, 400)}, {"elm": (0, 19)}))
    assert (seen.outcome, seen.cause) == ("inconclusive", None)
    assert "19 of 20 requests needed in control" in seen.sentence


def test_a_factor_of_nothing_allows_nothing_and_divides_by_nothing():
    rule = replace(TWO_POINTS, at_most=3, unit="x")
    spotless = {"elm": (0, 400)}
    assert one(two_sides(5, {"acorn": (0, 400)}, spotless), rule).outcome == "successful"
    assert one(two_sides(5, {"acorn": (1, 400)}, spotless), rule).outcome == "failed"


def test_each_tenant_is_compared_with_its_own_history_weighed_by_its_requests():
    newest = two_sides(5, {"acorn": (4, 100), "birch": (0, 300)}, {})
    seen = one(newest, HALF_MORE, baselines={"acorn": 4.0, "birch": 0.0})
    assert (seen.baseline, seen.threshold, seen.value) == (1.0, 1.5, 1.0)
    assert seen.outcome == "successful"
    assert "against 1 % in their own history" in seen.sentence


def test_most_tenants_without_a_history_are_no_data_and_a_few_are_left_out():
    newest = two_sides(5, {"acorn": (9, 100), "birch": (0, 100), "cedar": (0, 100)}, {})
    assert one(newest, HALF_MORE, baselines={"birch": 1.0}).cause == "no_history"
    seen = one(newest, HALF_MORE, baselines={"birch": 1.0, "cedar": 1.0})
    assert (seen.outcome, seen.n) == ("successful", 200)


def test_gauges_are_compared_by_their_means():
    rule = resolve_guardrail(
        Guardrail("queue_ms", at_most=0.05, unit="s", against="control"), QUEUE
    )
    newest = look(5, {"acorn": gauge(160), "birch": gauge(150)}, kpi="queue_ms")
    newest = replace(newest, control={"elm": gauge(90), "fir": gauge(110)})
    seen = one(newest, rule, QUEUE)
    assert (seen.outcome, seen.threshold) == ("failed", 150)
    assert "against 100 ms in 2 tenants of control" in seen.sentence


def test_where_more_is_better_the_difference_goes_down():
    rule = resolve_guardrail(
        Guardrail("pass_rate", at_least=-2, unit="points", against="control"), PASS_RATE
    )
    newest = replace(look(5, {"acorn": gauge(96)}, kpi="pass_rate"), control={"elm": gauge(97.5)})
    assert one(newest, rule, PASS_RATE).outcome == "successful"
    worse = replace(newest, canary={"acorn": gauge(95.4)})
    assert one(worse, rule, PASS_RATE).outcome == "failed"


@pytest.mark.parametrize(
    ("rule", "definition", "words"),
    [
        (Guardrail("latency_ms", at_most=2, unit="x", against="control"), LATENCY, "a histogram"),
        (Guardrail("queue_ms", at_most=2, unit="points", against="control"), QUEUE, "unit: ms"),
        (Guardrail("queue_ms", at_most=2, unit="MB", against="control"), QUEUE, "write one of"),
        (Guardrail("error_rate", at_most=2, unit="%", against="control"), ERROR_RATE, "points or"),
        (Guardrail("error_rate", at_most=2, against="own_history"), ERROR_RATE, "points or"),
    ],
)
def test_a_comparison_that_the_kpi_does_not_allow_is_refused_with_advice(rule, definition, words):
    with pytest.raises(GuardrailUnusable, match=words):
        resolve_guardrail(rule, definition)


@pytest.mark.parametrize("rule", [TWO_POINTS, HALF_MORE])
def test_resolving_twice_changes_nothing(rule):
    once = resolve_guardrail(rule, ERROR_RATE)
    assert resolve_guardrail(once, ERROR_RATE) == once


# Properties.

counts = st.tuples(st.integers(0, 200), st.integers(0, 200)).map(lambda c: (c[0], c[0] + c[1]))
sides = st.dictionaries(st.sampled_from(["acorn", "birch"]), counts, min_size=1)
units = st.sampled_from([("points", 2.0), ("points", 0.0), ("x", 1.2), ("x", 3.0)])


@given(sides, sides, units, st.integers(1, 50))
def test_a_worse_canary_never_fares_better(canary, control, unit, more):
    rule = replace(TWO_POINTS, unit=unit[0], at_most=unit[1])
    worse = {key: (min(total, bad + more), total) for key, (bad, total) in canary.items()}
    before = one(two_sides(5, canary, control), rule)
    after_it = one(two_sides(5, worse, control), rule)
    assert (before.outcome, after_it.outcome) != ("failed", "successful")


@given(sides, sides, units)
def test_points_mean_the_same_where_the_kpi_is_kept_as_a_share_of_one(canary, control, unit):
    rule = replace(TWO_POINTS, unit=unit[0], at_most=unit[1])
    share = KpiDefinition("error_rate", "ratio", "1", "lower", (0.0, 1.0))
    newest = two_sides(5, canary, control)
    percent, of_one = one(newest, rule), one(newest, rule, share)
    # Values that lie on the limit itself may be rounded to either side of it.
    if percent.value is None or not math.isclose(percent.value, percent.threshold):
        assert percent.outcome == of_one.outcome


@given(st.sampled_from([math.nan, math.inf, -math.inf]), units)
def test_nothing_is_compared_with_what_is_no_number(baseline, unit):
    rule = replace(TWO_POINTS, unit=unit[0], at_most=unit[1])
    with pytest.raises(ValueError, match="needs something to compare with"):
        allowed(rule, ERROR_RATE, baseline)
    assert allowed(rule, ERROR_RATE, 1.0).fails(math.nan)
