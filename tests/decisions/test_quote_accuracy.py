"""How good quotes were: counted from what was measured, and drawn where it belongs."""

from dataclasses import replace
from datetime import UTC, datetime

from batches.quotes.accuracy import PastRollback, accuracy, scatter

KEPT = PastRollback(
    plan="p",
    external_id="winter",
    trigger="breach",
    at=datetime(2026, 1, 5, tzinfo=UTC),
    touched=25,
    quoted=30.0,
    expected=12.0,
    measured=10.0,
    missed=False,
)
LONGER = replace(KEPT, measured=40.0)
NEVER = replace(KEPT, measured=None, missed=True)


def test_only_what_was_measured_is_compared_with_its_quote():
    told = accuracy([KEPT, LONGER, NEVER])
    assert (told.rollbacks, told.measured, told.over_quote, told.missed) == (3, 2, 1, 1)


def test_a_quote_is_close_within_one_and_a_half_times_and_never_when_it_was_too_short():
    close = replace(KEPT, measured=20.0)
    assert accuracy([KEPT]).quote_close == 0
    assert accuracy([close]).quote_close == 1
    assert accuracy([LONGER]).quote_close == 0


def test_the_expected_time_is_close_on_both_sides():
    told = accuracy([KEPT, replace(KEPT, measured=18.0), LONGER, replace(KEPT, expected=None)])
    assert (told.expected_known, told.expected_close) == (3, 2)


def test_nothing_measured_is_nothing_and_no_picture():
    told = accuracy([NEVER])
    assert (told.median_ratio, told.median_expected_ratio) == (None, None)
    assert scatter([NEVER]) is None
    assert scatter([]) is None


def test_a_rollback_longer_than_quoted_stands_above_the_diagonal():
    picture = scatter([KEPT, LONGER])
    assert picture is not None
    below, above = picture.marks
    # the diagonal is where y = side - x; up is less
    assert below.y > picture.side - below.x
    assert above.y < picture.side - above.x
    assert (below.kind, above.kind) == ("kept", "over")


def test_the_axes_hold_every_mark():
    picture = scatter([KEPT, replace(KEPT, measured=0.02, quoted=700.0)])
    assert picture is not None
    assert [tick.label for tick in picture.ticks] == [
        "0.01 s", "0.1 s", "1 s", "10 s", "100 s", "1000 s",
    ]  # fmt: skip
    for mark in picture.marks:
        assert picture.low <= mark.x <= picture.high
        assert 12 <= mark.y <= picture.ticks[0].down
