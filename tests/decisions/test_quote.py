"""The rollback quote: what taking everything back costs in the worst case."""

from hypothesis import given
from hypothesis import strategies as st

from batches.quote import expected_per_restore, rollback_quote


def quote(touched: int, **changes: float):
    numbers = {
        "parallelism": 10,
        "per_restore": 1.0,
        "call_timeout": 5.0,
        "rollback_seconds": 180.0,
        "pause_wait": 60.0,
    } | changes
    return rollback_quote(touched=touched, **numbers)  # type: ignore[arg-type]


def test_rounds_tail_late_calls_and_overhead_add_up():
    # 3 rounds of 1 s, one time-out of 5 s, its retry, 10 s for late calls, 2 s of overhead
    assert quote(25).seconds == 3 + 5 + 1 + 10 + 2


def test_the_terms_shown_are_the_sum_shown():
    shown = quote(25)
    assert sum(value for _label, value in shown.terms) == shown.seconds


def test_one_tenant_more_than_a_full_round_costs_a_round():
    assert quote(21).seconds - quote(20).seconds == 1


def test_nothing_touched_costs_nothing():
    assert (quote(0).seconds, quote(0).fits) == (0, True)


def test_the_wait_of_a_pause_is_taken_from_the_promise():
    assert quote(1).limit == 120


def test_a_shorter_promise_leaves_what_it_says_where_the_pause_leaves_more():
    assert quote(1, rollback_seconds=90).limit == 90
    assert quote(1, rollback_seconds=90, pause_wait=120).limit == 60


def test_exactly_the_limit_still_fits_and_a_round_more_does_not():
    # 120 s - 18 s of tail = 102 rounds of 10
    assert quote(1020).fits
    assert not quote(1021).fits
    assert "exceeds the 120 s" in quote(1021).sentence


def test_a_deployer_without_parallelism_works_one_by_one():
    assert quote(3, parallelism=0).seconds == quote(3, parallelism=1).seconds


def test_before_twenty_calls_the_configured_seconds_count():
    assert expected_per_restore([9.0] * 19, 19, 1.5) == 1.5


def test_from_twenty_calls_the_95th_percentile_counts():
    assert expected_per_restore([*[1.0] * 19, 8.0], 20, 1.5) == 1.0
    assert expected_per_restore([*[1.0] * 18, 8.0, 8.0], 20, 1.5) == 8.0


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_more_tenants_never_cost_less(one, other):
    fewer, more = sorted((one, other))
    assert quote(fewer).seconds <= quote(more).seconds


@given(st.integers(1, 5000), st.integers(1, 200), st.floats(0.01, 60))
def test_a_quote_fits_exactly_when_it_is_within_its_limit(touched, parallelism, seconds):
    one = quote(touched, parallelism=parallelism, per_restore=seconds)
    assert one.fits == (one.seconds <= one.limit)
