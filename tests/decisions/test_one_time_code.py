"""One-time codes: those of the standard, and whose period a code is."""

from hypothesis import given
from hypothesis import strategies as st

from plans.log_in.one_time_code import as_typed, code_of, matching_period, period_at

SECRET = b"12345678901234567890"
# RFC 6238, appendix B: the last six of its eight digits.
STANDARD = {
    59: "287082",
    1111111109: "081804",
    1111111111: "050471",
    1234567890: "005924",
    2000000000: "279037",
    20000000000: "353130",
}
moments = st.floats(min_value=60, max_value=4e9, allow_nan=False)


def test_the_codes_are_those_of_the_standard():
    assert {at: code_of(SECRET, period_at(at)) for at in STANDARD} == STANDARD


@given(st.binary(min_size=10, max_size=32), moments, st.integers(-1, 1))
def test_a_code_of_this_period_or_of_the_one_beside_it_is_right(secret, at, aside):
    period = period_at(at) + aside

    # Two periods may share a code by chance: then either of them will do.
    found = matching_period(secret, code_of(secret, period), unix_time=at)

    assert found is not None
    assert code_of(secret, found) == code_of(secret, period)
    assert abs(found - period_at(at)) <= 1


@given(moments, st.integers(2, 1000))
def test_a_code_of_a_period_further_away_is_wrong(at, away):
    code = code_of(SECRET, period_at(at) + away)

    found = matching_period(SECRET, code, unix_time=at)

    assert found is None or code_of(SECRET, found) == code


@given(st.text(max_size=12), moments)
def test_nothing_that_is_typed_breaks_it(typed, at):
    found = matching_period(SECRET, typed, unix_time=at)

    assert found is None or code_of(SECRET, found) == as_typed(typed)


def test_blanks_and_hyphens_between_the_digits_do_no_harm():
    assert matching_period(SECRET, " 287 082\n", unix_time=59) == 1
    assert matching_period(SECRET, "287-082", unix_time=59) == 1
