"""The rollback quote: what taking everything back costs at worst, and as usual."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.quotes.quote import Pace, WayBack, expected_seconds, pace, rollback_quote

WAY = WayBack(
    parallelism=10,
    call_timeout=5.0,
    rollback_seconds=180.0,
    pause_wait=60.0,
    restore=Pace(1.0, 0.8, 40),
    deployer_parallelism=50,
)


def quote(touched: int, **changes: object):
    return rollback_quote(replace(WAY, **changes), touched=touched)  # type: ignore[arg-type]


def label_of(told, words: str) -> float:
    return next((value for label, value in told.terms if words in label), 0.0)


def test_rounds_late_calls_tail_and_overhead_add_up():
    # 3 rounds of 1 s beside 10 s for late calls, one time-out of 5 s, its retry, 2 s of overhead
    assert quote(25).seconds == 10 + 5 + 1 + 2


def test_late_calls_are_waited_for_beside_the_rounds_not_after_them():
    # 30 rounds outlast the 10 s in which a late call may still be applied
    assert quote(300).seconds == 30 + 5 + 1 + 2
    assert label_of(quote(300), "applied late") == 0
    assert label_of(quote(25), "applied late") == 10 - 3


def test_each_tenant_is_read_back_and_all_of_them_once_more():
    looked = quote(25, look=Pace(0.5, 0.4, 40), call_timeout=1.0)
    assert label_of(looked, "reading each back") == 3 * 0.5
    assert label_of(looked, "once more") == 3 * 0.5
    assert looked.seconds == 3 + 1.5 + 1 + 1.5 + 1.5 + 2


def test_the_terms_shown_are_the_sum_shown():
    shown = quote(25)
    assert sum(value for _label, value in shown.terms) == pytest.approx(shown.seconds)


def test_one_tenant_more_than_a_full_round_costs_a_round():
    assert quote(301).seconds - quote(300).seconds == 1


def test_nothing_touched_costs_nothing():
    told = quote(0)
    assert (told.seconds, told.expected_seconds, told.fits) == (0, 0, True)


def test_the_wait_of_a_pause_is_taken_from_the_promise():
    assert quote(1).limit == 120


def test_a_shorter_promise_leaves_what_it_says_where_the_pause_leaves_more():
    assert quote(1, rollback_seconds=90).limit == 90
    assert quote(1, rollback_seconds=90, pause_wait=120).limit == 60


def test_exactly_the_limit_still_fits_and_a_round_more_does_not():
    # 120 s - 8 s of tail = 112 rounds of 10
    assert quote(1120).fits
    assert not quote(1121).fits
    assert "exceeds the 120 s" in quote(1121).sentence


def test_a_deployer_without_parallelism_works_one_by_one():
    assert quote(3, parallelism=0).seconds == quote(3, parallelism=1).seconds


def test_other_plans_on_the_same_deployer_count_where_they_fill_it():
    # alone: 30 rounds of 10; together 2,300 tenants through 50 connections: 46 rounds
    assert label_of(quote(300, elsewhere=2000), "shared with 2000 tenants") == 46
    assert quote(300, elsewhere=100).seconds == quote(300).seconds


def test_a_platform_faster_than_the_console_is_quoted_at_the_consoles_pace():
    told = quote(5000, parallelism=100, restore=Pace(0.001, 0.001, 40))
    assert label_of(told, "the console's own pace") == 50


def test_before_twenty_calls_the_configured_seconds_count():
    assert pace([9.0] * 19, 19, 1.5) == Pace(1.5, 1.5)


def test_from_twenty_calls_the_95th_percentile_counts_at_worst_and_the_median_as_usual():
    told = pace([*[1.0] * 19, 8.0], 20, 1.5)
    assert told.worst == pytest.approx(1.35)
    assert (told.usual, told.measured) == (1.0, 20)
    assert pace([*[1.0] * 18, 8.0, 8.0], 20, 1.5).worst == 8.0


def test_few_calls_that_are_very_slow_raise_the_worst_pace_to_the_mean():
    assert pace([*[0.2] * 98, 20.0, 20.0], 100, 1.0).worst == pytest.approx(0.596)


def test_the_expected_time_counts_only_late_calls_that_are_known():
    assert expected_seconds(WAY, touched=25) == pytest.approx(3 * 0.8 + 0.5)
    assert expected_seconds(WAY, touched=25, late_seconds=7.0) == 7.5


ways = st.builds(
    WayBack,
    parallelism=st.integers(0, 200),
    call_timeout=st.floats(0.5, 60),
    rollback_seconds=st.floats(10, 180),
    pause_wait=st.floats(0, 120),
    restore=st.floats(0.01, 60).flatmap(
        lambda worst: st.floats(0.005, worst).map(lambda usual: Pace(worst, usual, 20))
    ),
    look=st.floats(0, 5).map(lambda worst: Pace(worst, worst / 2)),
    deployer_parallelism=st.integers(1, 200),
    elsewhere=st.integers(0, 5000),
)


@given(ways, st.integers(0, 5000), st.integers(0, 5000))
def test_more_tenants_never_cost_less(way, one, other):
    fewer, more = sorted((one, other))
    less = rollback_quote(way, touched=fewer).seconds
    assert less <= rollback_quote(way, touched=more).seconds + 0.02


@given(ways, st.integers(1, 5000))
def test_a_quote_fits_exactly_when_it_is_within_its_limit(way, touched):
    one = rollback_quote(way, touched=touched)
    assert one.fits == (one.seconds <= one.limit)


@given(ways, st.integers(0, 5000), st.floats(0, 120))
def test_what_is_expected_is_never_more_than_the_worst_case(way, touched, late):
    told = rollback_quote(way, touched=touched, late_seconds=min(late, way.late_wait))
    assert told.expected_seconds <= told.seconds
