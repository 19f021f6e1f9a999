"""What would make a plan fit: every advice that is given is true."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from batches.quotes.advice import Advice, advice, forecast
from batches.quotes.quote import Pace, WayBack, rollback_quote
from tests.decisions.test_quote import ways

WAY = WayBack(
    parallelism=20,
    call_timeout=20.0,
    rollback_seconds=180.0,
    pause_wait=60.0,
    restore=Pace(5.0, 5.0, 40),
    deployer_parallelism=100,
)
"""119 s at worst for 360 tenants: 18 rounds of 5 s, 20 s, 5 s and 2 s are 117 s."""


def followed(way: WayBack, one: Advice, touched: int) -> tuple[WayBack, int]:
    """Do what the advice says."""
    match one.key:
        case "limits.parallelism":
            return replace(way, parallelism=int(one.value)), touched
        case "limits.call_timeout_seconds":
            return replace(way, call_timeout=one.value), touched
        case "rollback.on_manual_pause.rollback_after_seconds":
            return replace(way, pause_wait=one.value), touched
    return way, int(one.value)


@given(ways, st.integers(1, 5000))
def test_whoever_follows_an_advice_fits(way, touched):
    for one in advice(way, touched=touched):
        changed, left = followed(way, one, touched)
        quote = rollback_quote(changed, touched=left)
        assert quote.fits
        assert (quote.seconds, quote.limit) == (one.seconds, one.limit)


@given(ways, st.integers(1, 5000))
def test_a_plan_that_fits_gets_no_advice(way, touched):
    if rollback_quote(way, touched=touched).fits:
        assert advice(way, touched=touched) == ()


@given(ways, st.integers(1, 5000))
def test_no_smaller_change_would_do(way, touched):
    for one in advice(way, touched=touched):
        match one.key:
            case "limits.parallelism":
                less = replace(way, parallelism=int(one.value) - 1)
                assert not rollback_quote(less, touched=touched).fits
            case "tenants":
                assert not rollback_quote(way, touched=int(one.value) + 1).fits


@given(ways, st.lists(st.integers(1, 800), min_size=1, max_size=6), st.integers(0, 500))
def test_a_forecast_names_the_first_batch_that_does_not_fit(way, sizes, touched):
    told = forecast(way, sizes, touched=touched)
    fit = [quote.fits for quote in told.quotes]
    assert told.first_over == (fit.index(False) if False in fit else None)
    assert told.quotes[-1].touched == touched + sum(sizes)


def keys(touched: int, **changes: object) -> set[str]:
    return {one.key for one in advice(replace(WAY, **changes), touched=touched)}  # type: ignore[arg-type]


def test_more_parallelism_is_advised_up_to_the_deployers():
    found = {one.key: one for one in advice(WAY, touched=500)}
    # 19 rounds of 5 s, 20 s, 5 s and 2 s are 122 s; 18 rounds fit: 28 at a time
    assert found["limits.parallelism"].value == 28
    assert (
        "with parallelism 28 instead of 20 it fits: 117 s" in found["limits.parallelism"].sentence
    )
    assert "limits.parallelism" not in keys(500, deployer_parallelism=27)


def test_a_shorter_time_out_is_advised_only_above_twice_the_worst_call():
    found = {one.key: one for one in advice(WAY, touched=380)}
    assert found["limits.call_timeout_seconds"].value == 18
    assert "limits.call_timeout_seconds" not in keys(500, restore=Pace(9.5, 9.0, 40))


def test_a_shorter_wait_of_a_pause_is_advised_where_it_is_what_is_missing():
    found = {one.key: one for one in advice(WAY, touched=400)}
    assert found["rollback.on_manual_pause.rollback_after_seconds"].value == 53
    assert "rollback.on_manual_pause.rollback_after_seconds" not in keys(400, rollback_seconds=90)


def test_a_first_batch_that_is_too_large_is_told_its_size():
    told = forecast(WAY, [500, 500])
    (first,) = [one for one in told.advice if one.key == "batches.percentage"]
    assert (told.first_over, first.value) == (0, 360)
    assert "360 tenants in the first batch (36 % of the plan)" in first.sentence


def test_a_plan_that_is_too_large_later_is_told_how_much_of_it_may_be_touched():
    told = forecast(WAY, [300, 300])
    (most,) = [one for one in told.advice if one.key == "tenants"]
    assert (told.first_over, most.value) == (1, 360)


def test_a_later_batch_is_never_called_the_first():
    told = forecast(WAY, [500], touched=100)
    assert {one.key for one in told.advice} >= {"tenants"}
    assert "batches.percentage" not in {one.key for one in told.advice}


def test_where_nothing_helps_nothing_is_said():
    hopeless = replace(WAY, restore=Pace(200.0, 200.0, 40), deployer_parallelism=20)
    assert advice(hopeless, touched=10) == ()
