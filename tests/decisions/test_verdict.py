"""Measurements and rulings: what breaches, what waits, and that missing data never passes."""

import json
import math
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.guardrails.verdict import (
    GuardState,
    guardrail_key,
    judge,
    measure,
    plan_verdict,
    promotable,
)
from batches.kpis.dictionary import resolve_guardrail
from batches.sources.increments import failed_look, take_look
from plans.policies.policy import Guardrail
from tests.decisions.kpi_looks import (
    BAD,
    ERROR_RATE,
    LATENCY,
    NOON,
    PASS_RATE,
    QUEUE,
    RATIO_MAPPING,
    TOTAL,
    after,
    counter,
    gauge,
    look,
    ratio,
    slow,
)

TWO_PERCENT = resolve_guardrail(Guardrail("error_rate", at_most=2), ERROR_RATE)
FIELD_FORM = resolve_guardrail(Guardrail("latency_ms", at_most=200, slow_share_percent=5), LATENCY)


def follow(looks, guardrail=TWO_PERCENT, definition=ERROR_RATE, *, canary=1, soak=NOON):
    """Judge after each look, as the watch does; return the last state and every ruling."""
    state, rulings = GuardState(), []
    for number, newest in enumerate(looks):
        seen = measure(guardrail, definition, looks[: number + 1], canary=canary, now=newest.at)
        state, ruling = judge(state, seen, guardrail, now=newest.at, soak_started=soak)
        rulings.append(ruling)
    return state, rulings


def down(seconds, cause="source_down", sentence="connection refused"):
    return failed_look(
        kpi="error_rate", source="fleet", at=after(seconds), cause=cause, sentence=sentence
    )


def test_two_looks_running_over_the_limit_are_a_breach_with_its_sentence():
    looks = [
        look(5, {"acorn": ratio(10, 100), "cedar": ratio(9, 200)}),
        look(10, {"acorn": ratio(9, 57), "cedar": ratio(9, 100)}),
    ]
    _, (first, second) = follow(looks, canary=2)
    assert (first.verdict, first.action) == ("undecided", "")
    assert (second.verdict, second.action) == ("breached", "rollback")
    assert second.sentence == (
        "error_rate 8.1 % in the upgraded tenants (37 of 457 requests, 2 tenants, 60 s; worst "
        "acorn 12.1 %) is over its limit of 2 %, 2 looks running"
    )
    assert second.worst == ("acorn", pytest.approx(100 * 19 / 157))
    assert (second.n, second.tenants, second.threshold) == (457, 2, 2)


def test_exactly_the_limit_is_fine():
    _, [ruling] = follow([look(5, {"acorn": ratio(2, 100)})])
    assert (ruling.verdict, ruling.value) == ("fine", 2)


def test_a_good_look_in_between_starts_the_count_anew():
    looks = [
        look(5, {"acorn": ratio(9, 100)}),
        look(70, {"acorn": ratio(0, 100)}),
        look(140, {"acorn": ratio(9, 100)}),
    ]
    _, rulings = follow(looks)
    assert [r.verdict for r in rulings] == ["undecided", "fine", "undecided"]


def test_an_undecided_look_in_between_does_not():
    looks = [
        look(5, {"acorn": ratio(9, 100)}),
        look(70, {"acorn": ratio(0, 3)}),
        look(140, {"acorn": ratio(9, 100)}),
    ]
    assert [r.verdict for r in follow(looks)[1]] == ["undecided", "undecided", "breached"]


def test_the_same_look_judged_twice_counts_once():
    newest = look(5, {"acorn": ratio(9, 100)})
    state = GuardState()
    for seconds in (5, 6, 7):
        seen = measure(TWO_PERCENT, ERROR_RATE, [newest], canary=1, now=after(seconds))
        state, ruling = judge(state, seen, TWO_PERCENT, now=after(seconds), soak_started=NOON)
    assert (state.failed_running, ruling.verdict) == (1, "undecided")


def test_errors_that_run_ahead_of_their_requests_are_at_most_all_of_them():
    _, [ruling] = follow([look(5, {"acorn": ratio(40, 30)})])
    assert (ruling.value, ruling.n) == (100, 40)


def test_too_few_requests_decide_nothing():
    _, [ruling] = follow([look(5, {"acorn": ratio(12, 12)})])
    assert ruling.verdict == "undecided"
    assert "12 of 20 requests needed" in ruling.sentence


def test_the_field_form_counts_slow_requests():
    looks = [
        look(5, {"acorn": slow(157, 205)}, kpi="latency_ms"),
        look(10, {"acorn": slow(158, 205)}, kpi="latency_ms"),
    ]
    _, rulings = follow(looks, FIELD_FORM, LATENCY)
    assert rulings[1].verdict == "breached"
    assert rulings[1].sentence.startswith(
        "latency_ms: 23.2 % of 410 requests slower than 200 ms, allowed 5 %"
    )


def test_a_threshold_between_two_buckets_is_measured_at_the_lower_one():
    points = {"acorn": slow(90, 100, bound=150.0)}
    _, [ruling] = follow([look(5, points, kpi="latency_ms")], FIELD_FORM, LATENCY)
    assert ruling.value == 10
    assert "by the bucket of 150 ms" in ruling.sentence


def test_buckets_that_are_all_above_the_threshold_are_no_data():
    points = {"acorn": slow(90, 100, bound=250.0)}
    _, [ruling] = follow([look(5, points, kpi="latency_ms")], FIELD_FORM, LATENCY)
    assert (ruling.verdict, ruling.cause) == ("no_data", "no_bound")
    assert "no bucket at or below 200 ms; the buckets are 250, 2500" in ruling.sentence


def test_a_gauge_is_judged_by_the_mean_of_its_newest_values():
    rule = resolve_guardrail(Guardrail("queue_ms", at_most=200, slow_share_percent=5), QUEUE)
    looks = [
        look(5, {"acorn": gauge(900), "cedar": gauge(900)}, kpi="queue_ms"),
        look(10, {"acorn": gauge(312), "cedar": gauge(100)}, kpi="queue_ms"),
    ]
    _, rulings = follow(looks, rule, QUEUE, canary=2)
    assert rulings[1].verdict == "breached"
    assert rulings[1].worst == ("acorn", 312)
    assert rulings[1].sentence == (
        "queue_ms 206 ms on average in 2 upgraded tenants (worst: acorn, 312 ms) is over its "
        "limit of 200 ms, 2 looks running"
    )


def test_more_is_better_breaches_below():
    rule = resolve_guardrail(Guardrail("pass_rate", at_most=95, slow_share_percent=5), PASS_RATE)
    looks = [look(s, {"acorn": gauge(94), "cedar": gauge(95)}, kpi="pass_rate") for s in (5, 10)]
    _, rulings = follow(looks, rule, PASS_RATE, canary=2)
    assert (rulings[1].verdict, rulings[1].worst) == ("breached", ("acorn", 94))
    assert "is under its limit of 95 %" in rulings[1].sentence


def test_a_share_of_good_ones_is_what_is_not_bad():
    definition = replace(ERROR_RATE, name="success_rate", direction="higher")
    rule = resolve_guardrail(Guardrail("success_rate", at_least=98), definition)
    _, [ruling] = follow([look(5, {"acorn": ratio(1, 100)})], rule, definition)
    assert (ruling.verdict, ruling.value) == ("fine", 99)


def test_a_ratio_told_as_a_gauge_is_judged_without_counts():
    looks = [look(s, {"acorn": gauge(3), "cedar": gauge(2)}) for s in (5, 10)]
    _, rulings = follow(looks, canary=2)
    assert (rulings[1].verdict, rulings[1].value) == ("breached", 2.5)


def test_a_source_that_is_down_is_tolerated_four_times_and_then_no_data():
    looks = [look(0, {"acorn": ratio(0, 100)}), *(down(5 * n) for n in range(1, 9))]
    state, rulings = follow(looks)
    assert [r.verdict for r in rulings] == ["fine", *["undecided"] * 4, *["no_data"] * 4]
    assert rulings[-1].sentence == (
        "error_rate: no data from fleet for 35 s (source down: connection refused)"
    )
    assert (rulings[-1].action, rulings[-1].cause) == ("hold", "source_down")
    assert (state.last_good_at, state.missing_since) == (NOON, after(5))


def test_source_errors_do_not_count_as_failed_looks():
    looks = [look(5, {"acorn": ratio(9, 100)}), down(10), down(15)]
    state, _ = follow(looks)
    assert (state.failed_running, state.errors_running) == (1, 2)


def test_stale_data_is_no_data_at_once():
    _, rulings = follow([look(5, {"acorn": ratio(0, 100)}), look(10, stale=1)])
    assert [r.verdict for r in rulings] == ["fine", "no_data"]


def test_a_silent_minority_is_named_and_a_silent_majority_is_no_data():
    some = {"acorn": ratio(0, 100), "cedar": ratio(0, 100)}
    _, [minority] = follow([look(5, some, no_series=1)], canary=3)
    _, [majority] = follow([look(5, some, no_series=3)], canary=5)
    assert minority.verdict == "fine"
    assert "1 without data" in minority.sentence
    assert majority.verdict == "no_data"


def test_waiting_for_a_second_reading_is_not_missing_data():
    state, [ruling] = follow([look(5, first_reading=3)], canary=3)
    assert (ruling.verdict, state.missing_since) == ("undecided", None)
    assert ruling.sentence == "error_rate: no second reading yet (60 s)"


def test_when_nobody_has_looked_for_long_nothing_is_known():
    wide = replace(TWO_PERCENT, window_seconds=3600)
    old = look(5, {"acorn": ratio(0, 100)})
    state, _ = follow([old], wide)
    seen = measure(wide, ERROR_RATE, [old], canary=1, now=after(60))
    state, ruling = judge(state, seen, wide, now=after(60), soak_started=NOON)
    assert (ruling.verdict, ruling.cause) == ("no_data", "no_look")
    assert promotable([state], [wide])[0] is False


@pytest.mark.parametrize(
    ("on_missing", "verdicts", "plan"),
    [
        ("hold", ["no_data", "no_data"], "hold"),
        ("breach", ["undecided", "breached"], "rollback"),
        ("ignore", ["undecided", "undecided"], "promote"),
        ("zero", ["no_data", "no_data"], "hold"),
    ],
)
def test_the_policy_says_what_missing_data_means(on_missing, verdicts, plan):
    rule = replace(TWO_PERCENT, on_missing=on_missing)
    _, rulings = follow([look(5, stale=1), look(10, stale=1)], rule)
    assert [r.verdict for r in rulings] == verdicts
    assert plan_verdict(rulings[1:]).verdict == plan


@pytest.mark.parametrize(
    ("cause", "verdict"),
    [
        ("no_series", "fine"),
        ("name_gone", "fine"),
        ("not_a_number", "no_data"),
        ("infinite", "no_data"),
        ("negative", "no_data"),
        ("stale", "no_data"),
        ("future", "no_data"),
        ("out_of_range", "no_data"),
    ],
)
def test_only_what_nobody_told_counts_as_zero_never_a_broken_number(cause, verdict):
    rule = replace(TWO_PERCENT, on_missing="zero")
    blind = replace(look(5), causes={cause: 1})
    assert follow([blind], rule)[1][0].verdict == verdict


def test_nothing_is_judged_before_the_initial_delay():
    rule = replace(TWO_PERCENT, initial_delay_seconds=30)
    looks = [look(s, {"acorn": ratio(50, 100)}) for s in (5, 25, 30, 35)]
    _, rulings = follow(looks, rule)
    assert [r.verdict for r in rulings] == ["undecided", "undecided", "undecided", "breached"]
    assert "not judged before 30 s" in rulings[1].sentence


def test_while_the_next_batch_is_called_the_tenants_before_stay_guarded():
    rule = replace(TWO_PERCENT, initial_delay_seconds=30, failure_limit=0)
    state, _ = follow([look(40, {"acorn": ratio(0, 100)})], rule)
    bad = look(100, {"acorn": ratio(9, 100)})
    seen = measure(rule, ERROR_RATE, [bad], canary=1, now=bad.at)
    _, ruling = judge(state, seen, rule, now=bad.at, soak_started=None)
    assert ruling.verdict == "breached"


def test_a_breach_stays_one_until_a_good_look():
    looks = [
        *(look(s, {"acorn": ratio(9, 100)}) for s in (5, 10)),
        look(80, {"acorn": ratio(0, 2)}),
        look(85, {"acorn": ratio(0, 100)}),
    ]
    _, rulings = follow(looks)
    assert [r.verdict for r in rulings] == ["undecided", "breached", "breached", "fine"]
    assert rulings[2].sentence.endswith("2 looks failed before that")


def test_a_dry_run_is_judged_and_asks_for_nothing():
    rule = replace(TWO_PERCENT, dry_run=True)
    state, rulings = follow([look(s, {"acorn": ratio(9, 100)}) for s in (5, 10)], rule)
    assert (rulings[1].verdict, rulings[1].action) == ("breached", "")
    assert plan_verdict(rulings[1:]).verdict == "promote"
    assert promotable([state], [rule])[0] is True


def test_a_batch_passes_only_after_a_good_measurement_of_its_own():
    good = look(5, {"acorn": ratio(0, 100)})
    state, _ = follow([good])
    assert promotable([state], [TWO_PERCENT])[0] is True
    next_soak = look(10, {"acorn": ratio(0, 1)})
    seen = measure(TWO_PERCENT, ERROR_RATE, [next_soak], canary=1, now=after(10))
    state, _ = judge(state, seen, TWO_PERCENT, now=after(10), soak_started=after(8))
    passes, sentence = promotable([state], [TWO_PERCENT])
    assert (passes, sentence) == (False, "error_rate has no good measurement since the soak began")


@pytest.mark.parametrize(
    "newest", [look(70, {"acorn": ratio(9, 100)}), down(10), look(10, not_a_number=1)]
)
def test_a_batch_does_not_pass_on_a_bad_or_blind_last_look(newest):
    state, _ = follow([look(5, {"acorn": ratio(0, 100)}), newest])
    assert promotable([state], [TWO_PERCENT])[0] is False


def test_the_worst_ruling_speaks_for_the_plan():
    fine = follow([look(5, {"acorn": ratio(0, 100)})])[1][-1]
    undecided = follow([look(5, {"acorn": ratio(0, 1)})])[1][-1]
    blind = follow([look(5, stale=1)])[1][-1]
    bad = [look(s, {"acorn": ratio(9, 100)}) for s in (5, 10)]
    breached = follow(bad)[1][-1]
    pause = follow(bad, replace(TWO_PERCENT, action="pause"))[1][-1]
    warn = follow(bad, replace(TWO_PERCENT, action="warn"))[1][-1]
    assert plan_verdict([]).verdict == "promote"
    assert plan_verdict([fine, warn])[:2] == ("promote", warn.sentence)
    assert plan_verdict([fine, undecided])[:2] == ("soak", undecided.sentence)
    assert plan_verdict([undecided, blind])[:2] == ("hold", blind.sentence)
    assert plan_verdict([blind, pause])[:2] == ("hold", pause.sentence)
    assert plan_verdict([pause, blind, breached])[:2] == ("rollback", breached.sentence)


def test_guardrails_are_named_by_what_they_demand():
    assert guardrail_key(TWO_PERCENT) == "error_rate at_most 2 % over 60 s"
    assert guardrail_key(FIELD_FORM) == "latency_ms at_most 200 ms for 95 % over 60 s"


counts = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda c: (c[0], c[0] + c[1]))
windows = st.lists(
    st.dictionaries(st.sampled_from(["acorn", "birch", "cedar"]), counts), min_size=1, max_size=8
)


def as_looks(window):
    return [
        look(5 * number, {tenant: ratio(*pair) for tenant, pair in points.items()})
        for number, points in enumerate(window)
    ]


@given(windows, st.randoms())
def test_the_order_of_looks_does_not_matter(window, source: random.Random):
    looks = as_looks(window)
    shuffled = source.sample(looks, len(looks))
    now = looks[-1].at
    assert measure(TWO_PERCENT, ERROR_RATE, shuffled, canary=3, now=now) == measure(
        TWO_PERCENT, ERROR_RATE, looks, canary=3, now=now
    )


ORDER = ["fine", "undecided", "breached"]


@given(windows, st.integers(0, 7), st.integers(1, 50))
def test_worse_numbers_never_make_a_better_verdict(window, where, more):
    worse = [dict(points) for points in window]
    points = worse[where % len(worse)]
    for tenant, (bad, total) in points.items():
        points[tenant] = (min(total, bad + more), total)
    before = follow(as_looks(window), canary=3)[1][-1].verdict
    after_it = follow(as_looks(worse), canary=3)[1][-1].verdict
    assert ORDER.index(after_it) >= ORDER.index(before)


broken = st.sampled_from([math.nan, math.inf, -math.inf, -1.0, None])


@given(st.lists(st.tuples(broken, broken), min_size=2, max_size=8))
def test_fault_11_broken_and_missing_numbers_are_never_fine(readings):
    cursor: dict[str, Any] = {}
    looks = []
    for number, (bad, total) in enumerate(readings):
        answers = {
            BAD: [] if bad is None else [counter("acorn", "2.0", bad)],
            TOTAL: [] if total is None else [counter("acorn", "2.0", total)],
        }
        sample, cursor = take_look(
            mapping=RATIO_MAPPING,
            definition=ERROR_RATE,
            answers=answers,
            at=after(5 * number),
            upgraded={"acorn": NOON},
            control=(),
            target_version="2.0",
            cursor=cursor,
        )
        looks.append(sample)
    state, rulings = follow(looks)
    assert {ruling.verdict for ruling in rulings} <= {"no_data", "undecided"}
    assert promotable([state], [TWO_PERCENT])[0] is False


@given(windows, st.integers(0, 1000))
def test_another_unit_of_the_limit_changes_no_ruling(window, tenths):
    in_percent = resolve_guardrail(Guardrail("error_rate", at_most=tenths / 10), ERROR_RATE)
    as_share = resolve_guardrail(
        Guardrail("error_rate", at_most=tenths / 1000, unit="1"), ERROR_RATE
    )
    looks = as_looks(window)
    ours = [r.verdict for r in follow(looks, in_percent, canary=3)[1]]
    theirs = [r.verdict for r in follow(looks, as_share, canary=3)[1]]
    assert ours == theirs


@given(windows, st.integers(0, 7))
def test_a_state_that_went_through_json_changes_nothing(window, restart):
    looks = as_looks(window)
    state = GuardState()
    for number, newest in enumerate(looks):
        if number == restart:
            state = GuardState.from_json(json.loads(json.dumps(state.to_json())))
        seen = measure(TWO_PERCENT, ERROR_RATE, looks[: number + 1], canary=3, now=newest.at)
        state, ruling = judge(state, seen, TWO_PERCENT, now=newest.at, soak_started=NOON)
    assert (state, ruling) == (follow(looks, canary=3)[0], follow(looks, canary=3)[1][-1])


@given(windows)
def test_one_look_over_all_is_worth_as_much_as_many(window):
    looks = as_looks(window)
    whole: dict[str, tuple[int, int]] = {}
    for points in window:
        for tenant, (bad, total) in points.items():
            before = whole.get(tenant, (0, 0))
            whole[tenant] = (before[0] + bad, before[1] + total)
    one = look(5 * (len(window) - 1), {tenant: ratio(*pair) for tenant, pair in whole.items()})
    now = one.at
    many = measure(TWO_PERCENT, ERROR_RATE, looks, canary=3, now=now)
    at_once = measure(TWO_PERCENT, ERROR_RATE, [one], canary=3, now=now)
    # Of single tenants only those are judged that the newest look saw.
    nobody: dict[str, Any] = {"by_tenant": {}, "undecided": frozenset()}
    assert replace(many, **nobody) == replace(at_once, **nobody)
