"""Cumulative counters become what happened since the last look, and nothing else."""

import json
import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.metric_sources import Series, SourceSpec
from batches.sources.increments import (
    LookSample,
    RatioPoint,
    failed_look,
    max_age,
    oldest_reading,
    take_look,
)
from tests.decisions.kpi_looks import (
    BAD,
    BUCKET_MAPPING,
    BUCKETS,
    ERROR_RATE,
    LATENCY,
    NOON,
    PASS_RATE,
    RATIO_MAPPING,
    TOTAL,
    VALUE,
    VALUE_MAPPING,
    after,
    counter,
    ratio,
    requests,
)


def take(seconds, counts, cursor, *, upgraded=(), control=("birch",), confirmed=NOON, **more):
    return take_look(
        mapping=more.pop("mapping", RATIO_MAPPING),
        definition=more.pop("definition", ERROR_RATE),
        answers=more.pop("answers", None) or requests(counts),
        at=after(seconds),
        upgraded=dict.fromkeys(upgraded, confirmed),
        control=control,
        target_version="2.0",
        cursor=cursor,
        **more,
    )


def test_fault_13_the_first_reading_is_a_baseline_and_the_second_gives_the_difference():
    first, cursor = take(1, {("acorn", "2.0"): (3, 100)}, {}, upgraded=["acorn"])
    second, _ = take(6, {("acorn", "2.0"): (5, 140)}, cursor, upgraded=["acorn"])
    assert (dict(first.canary), first.causes) == ({}, {"first_reading": 1})
    assert second.canary == {"acorn": ratio(2, 40)}
    assert second.causes == {}


def test_what_was_counted_before_the_upgrade_was_confirmed_does_not_count():
    _, cursor = take(1, {("acorn", "1.0"): (0, 10)}, {}, control=["acorn"])
    _, cursor = take(6, {("acorn", "1.0"): (0, 20)}, cursor, control=["acorn"])
    switched, cursor = take(
        11,
        {("acorn", "1.0"): (9, 30), ("acorn", "2.0"): (7, 8)},
        cursor,
        upgraded=["acorn"],
        confirmed=after(9),
    )
    assert dict(switched.canary) == {}
    later, _ = take(
        16,
        {("acorn", "1.0"): (99, 300), ("acorn", "2.0"): (8, 12)},
        cursor,
        upgraded=["acorn"],
        confirmed=after(9),
    )
    assert later.canary == {"acorn": ratio(1, 4)}


def test_a_reading_taken_before_the_confirmation_is_no_baseline():
    old = {
        BAD: [counter("acorn", "2.0", 1, after(3))],
        TOTAL: [counter("acorn", "2.0", 9, after(3))],
    }
    sample, cursor = take(6, {}, {}, upgraded=["acorn"], confirmed=after(5), answers=old)
    assert sample.causes == {"first_reading": 1}
    assert cursor["tenants"] == {}


def test_fault_12_a_reading_from_before_the_confirmation_is_waited_for_and_later_it_is_stale():
    old = {
        BAD: [counter("acorn", "2.0", 1, after(3))],
        TOTAL: [counter("acorn", "2.0", 9, after(3))],
    }
    fresh, _ = take(34, {}, {}, upgraded=["acorn"], confirmed=after(5), answers=old)
    late, _ = take(36, {}, {}, upgraded=["acorn"], confirmed=after(5), answers=old)
    assert (fresh.causes, late.causes) == ({"first_reading": 1}, {"stale": 1})


def test_a_reading_is_as_old_as_the_oldest_of_its_counters():
    answers = {
        BAD: [counter("acorn", "2.0", 1, after(40))],
        TOTAL: [counter("acorn", "2.0", 9, after(100))],
    }
    sample, _ = take(100, {}, {}, upgraded=["acorn"], answers=answers)
    assert sample.causes == {"stale": 1}


def test_an_upgraded_tenant_is_never_part_of_the_control():
    both = {"upgraded": ["acorn"], "control": ["acorn"]}
    _, cursor = take(1, {("acorn", "2.0"): (0, 10)}, {}, **both)
    sample, _ = take(6, {("acorn", "2.0"): (1, 20)}, cursor, **both)
    assert (dict(sample.canary), dict(sample.control)) == ({"acorn": ratio(1, 10)}, {})


def test_a_tenant_upgraded_once_more_gets_a_new_baseline():
    _, cursor = take(1, {("acorn", "2.0"): (0, 10)}, {}, upgraded=["acorn"])
    again, _ = take(6, {("acorn", "2.0"): (9, 20)}, cursor, upgraded=["acorn"], confirmed=after(4))
    assert again.causes == {"first_reading": 1}


def test_the_control_counts_all_versions_of_a_tenant():
    _, cursor = take(1, {("birch", "1.0"): (1, 10), ("birch", "1.1"): (0, 5)}, {})
    sample, _ = take(6, {("birch", "1.0"): (2, 15), ("birch", "1.1"): (1, 9)}, cursor)
    assert sample.control == {"birch": ratio(2, 9)}


def test_fault_13_a_counter_reset_drops_the_interval_and_says_so():
    _, cursor = take(1, {("acorn", "2.0"): (5, 100)}, {}, upgraded=["acorn"])
    reset, cursor = take(6, {("acorn", "2.0"): (0, 20)}, cursor, upgraded=["acorn"])
    after_it, _ = take(11, {("acorn", "2.0"): (1, 50)}, cursor, upgraded=["acorn"])
    assert (dict(reset.canary), reset.causes) == ({}, {"reset": 1})
    assert after_it.canary == {"acorn": ratio(1, 30)}


def test_after_a_long_gap_counting_starts_anew():
    _, cursor = take(1, {("acorn", "2.0"): (0, 10)}, {}, upgraded=["acorn"])
    sample, _ = take(300, {("acorn", "2.0"): (90, 900)}, cursor, upgraded=["acorn"])
    assert sample.causes == {"gap": 1}


@pytest.mark.parametrize(
    ("value", "cause"),
    [(math.nan, "not_a_number"), (math.inf, "infinite"), (-1.0, "negative")],
)
def test_fault_11_broken_values_are_dropped_with_their_cause(value, cause):
    _, cursor = take(1, {("acorn", "2.0"): (0, 10)}, {}, upgraded=["acorn"])
    broken, cursor = take(6, {("acorn", "2.0"): (value, 20)}, cursor, upgraded=["acorn"])
    healed, _ = take(11, {("acorn", "2.0"): (1, 30)}, cursor, upgraded=["acorn"])
    assert (dict(broken.canary), broken.causes) == ({}, {cause: 1})
    assert healed.canary == {"acorn": ratio(1, 20)}


@pytest.mark.parametrize(("taken", "cause"), [(-60, "stale"), (60, "future")])
def test_fault_12_old_and_future_values_are_dropped(taken, cause):
    moment = after(100 + taken)
    answers = {
        BAD: [counter("acorn", "2.0", 1, moment)],
        TOTAL: [counter("acorn", "2.0", 9, moment)],
    }
    sample, _ = take(100, {}, {}, upgraded=["acorn"], answers=answers)
    assert sample.causes == {cause: 1}


def test_a_missing_error_counter_is_no_data_and_not_zero():
    answers = {BAD: [], TOTAL: [counter("acorn", "2.0", 9)]}
    sample, _ = take(5, {}, {}, upgraded=["acorn"], answers=answers)
    assert sample.causes == {"no_bad_series": 1}


def test_a_fresh_tenant_without_series_is_waited_for_and_later_it_is_lost():
    only_birch = {("birch", "1.0"): (0, 1)}
    fresh, _ = take(10, only_birch, {}, upgraded=["acorn"])
    late, _ = take(40, only_birch, {}, upgraded=["acorn"])
    gone, _ = take(40, {}, {}, upgraded=["acorn"])
    assert (fresh.causes, fresh.lost) == ({"first_reading": 1}, 0)
    assert (late.causes, late.lost) == ({"no_series": 1}, 1)
    assert gone.causes == {"name_gone": 1}


def test_other_labels_of_a_counter_are_summed():
    def answer(get, post):
        labels = {"tenant": "acorn", "version": "2.0"}
        return {
            BAD: [Series(labels, 0)],
            TOTAL: [Series({**labels, "m": "get"}, get), Series({**labels, "m": "post"}, post)],
        }

    _, cursor = take(1, {}, {}, upgraded=["acorn"], answers=answer(1, 2))
    sample, _ = take(6, {}, cursor, upgraded=["acorn"], answers=answer(4, 8))
    assert sample.canary == {"acorn": ratio(0, 9)}


def test_two_gauges_of_one_tenant_spoil_the_look():
    twice = {VALUE: [Series({"tenant": "acorn"}, 0.5), Series({"tenant": "acorn"}, 0.6)]}
    sample, _ = take(
        5, {}, {}, upgraded=["acorn"], answers=twice, mapping=VALUE_MAPPING, definition=PASS_RATE
    )
    assert not sample.ok
    assert sample.sentence.startswith("several series for tenant acorn")


def test_a_gauge_comes_in_the_unit_of_the_kpi_and_inside_its_range():
    answers = {VALUE: [Series({"tenant": "acorn"}, 0.985), Series({"tenant": "cedar"}, 1.2)]}
    sample, cursor = take(
        5,
        {},
        {},
        upgraded=["acorn", "cedar"],
        answers=answers,
        mapping=VALUE_MAPPING,
        definition=PASS_RATE,
    )
    assert sample.canary["acorn"].value == 98.5
    assert sample.causes == {"out_of_range": 1}
    assert cursor["tenants"] == {}


def buckets(*counts, bounds=("0.1", "0.2", "+Inf")):
    pairs = zip(bounds, counts, strict=True)
    return {BUCKETS: [Series({"tenant": "acorn", "le": le}, n) for le, n in pairs]}


def take_buckets(seconds, answers, cursor):
    return take(
        seconds,
        {},
        cursor,
        upgraded=["acorn"],
        answers=answers,
        mapping=BUCKET_MAPPING,
        definition=LATENCY,
    )


def test_buckets_come_as_counts_at_or_below_each_bound_in_the_unit_of_the_kpi():
    _, cursor = take_buckets(1, buckets(1, 2, 3), {})
    sample, _ = take_buckets(6, buckets(11, 22, 33), json.loads(json.dumps(cursor)))
    assert sample.canary["acorn"].buckets == {100.0: 10, 200.0: 20}
    assert sample.canary["acorn"].total == 30


@pytest.mark.parametrize(
    ("answers", "cause"),
    [
        (buckets(1, 2, bounds=("0.1", "0.2")), "no_total_bucket"),
        (buckets(5, 2, 9), "bad_bucket"),
        (buckets(1, 2, 3, bounds=("0.1", "fast", "+Inf")), "bad_bucket"),
    ],
)
def test_buckets_that_make_no_histogram_are_dropped(answers, cause):
    sample, _ = take_buckets(6, answers, {})
    assert sample.causes == {cause: 1}


def test_a_bucket_told_twice_by_a_query_spoils_the_look():
    sample, _ = take_buckets(6, buckets(1, 2, 3, bounds=("0.1", "0.1", "+Inf")), {})
    assert (sample.ok, sample.cause) == (False, "bad_answer")


def test_other_buckets_than_before_are_a_reset():
    _, cursor = take_buckets(1, buckets(1, 2, 3), {})
    sample, _ = take_buckets(6, buckets(1, 2, 3, bounds=("0.1", "0.3", "+Inf")), cursor)
    assert sample.causes == {"reset": 1}


def test_readings_may_be_three_looks_old_and_never_less_than_half_a_minute():
    assert (max_age(5), max_age(60)) == (30, 180)


steps = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 500)).map(lambda s: (s[0], s[0] + s[1])),
    min_size=2,
    max_size=8,
)


@given(steps)
def test_fault_13_the_increments_add_up_to_what_the_counters_rose(deltas):
    cursor: dict[str, Any] = {}
    bad, total, seen = 0, 0, []
    for number, (more_bad, more) in enumerate(deltas):
        bad, total = bad + more_bad, total + more
        sample, cursor = take(
            5 * number + 1, {("acorn", "2.0"): (bad, total)}, cursor, upgraded=["acorn"]
        )
        seen += sample.canary.values()
    assert sum(p.bad for p in seen) == bad - deltas[0][0]
    assert sum(p.total for p in seen) == total - deltas[0][1]


@given(steps, st.integers(0, 7))
def test_a_cursor_that_went_through_json_changes_nothing(deltas, restart):
    def run(restart_at):
        cursor: dict[str, Any] = {}
        bad, total, samples = 0, 0, []
        for number, (more_bad, more) in enumerate(deltas):
            bad, total = bad + more_bad, total + more
            if number == restart_at:
                cursor = json.loads(json.dumps(cursor))
            sample, cursor = take(
                5 * number + 0.123457,
                {("acorn", "2.0"): (bad, total)},
                cursor,
                upgraded=["acorn"],
            )
            samples.append(sample)
        return samples

    assert run(restart) == run(None)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=5),
        st.builds(RatioPoint, st.floats(0, 1e9), st.floats(0, 1e9)),
    )
)
def test_a_look_reads_back_from_json_as_it_was(points):
    sample = LookSample("error_rate", NOON, canary=points, causes={"reset": 2}, source="fleet")
    assert LookSample.from_json(json.loads(json.dumps(sample.to_json()))) == sample


def test_histograms_and_gauges_read_back_too():
    _, cursor = take_buckets(1, buckets(1, 2, 3), {})
    sample, _ = take_buckets(6, buckets(11, 22, 33), cursor)
    assert LookSample.from_json(json.loads(json.dumps(sample.to_json()))) == sample
    assert sample.to_json()["bounds"] == [[100.0, 200.0]]


def test_a_failed_look_tells_its_cause_and_keeps_no_points():
    sample = failed_look(
        kpi="error_rate",
        source="fleet",
        at=NOON + timedelta(seconds=1),
        cause="timeout",
        sentence="no answer within 3 s",
    )
    assert (sample.ok, sample.cause, sample.sentence) == (False, "timeout", "no answer within 3 s")


def test_what_is_sent_to_us_may_be_as_old_as_its_source_allows():
    assert oldest_reading(5, None) == max_age(5) == 30
    assert oldest_reading(5, SourceSpec("prom", "prometheus")) == 30
    assert oldest_reading(5, SourceSpec("apps", "push")) == 90
    assert oldest_reading(5, SourceSpec("apps", "push", {"stale_seconds": 150})) == 150
    assert oldest_reading(60, SourceSpec("apps", "push")) == 180


def test_a_sender_that_pushes_once_a_minute_is_no_gap_and_never_stale():
    labels = {"tenant": "acorn", "version": "2.0"}

    def look(second, sent_at, counts, cursor):
        answers = {
            TOTAL: [Series(labels, counts[0], after(sent_at))],
            BAD: [Series(labels, counts[1], after(sent_at))],
        }
        return take(
            second, None, cursor, upgraded=("acorn",), control=(), answers=answers,
            max_age_seconds=90,
        )  # fmt: skip

    sample, cursor = look(5, 1, (100, 1), {})
    assert sample.causes == {"first_reading": 1}
    sample, cursor = look(55, 1, (100, 1), cursor)
    assert sample.canary["acorn"] == RatioPoint(0, 0)
    sample, cursor = look(65, 61, (160, 4), cursor)
    assert sample.canary["acorn"] == RatioPoint(3, 60)
    sample, _cursor = look(160, 61, (160, 4), cursor)
    assert sample.causes == {"stale": 1}
