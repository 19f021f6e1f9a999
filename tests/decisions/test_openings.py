"""Windows and freezes together: what may be called now, until when, and when it opens next."""

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plans.openings.opening import FreezeSpan, opening
from plans.openings.windows import SEARCH, window_state
from plans.policies.policy import Window

EVERY_DAY = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NIGHT = Window("allow", EVERY_DAY, time(22), time(4), "Europe/Berlin")


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def freeze(begins, ends=None, name="Black Friday", reason="no changes while the shop is full"):
    return FreezeSpan(name, name, reason, utc(begins), utc(ends) if ends else None)


def found(*freezes, at, windows=(), not_after=None):
    return opening(windows, not_after and utc(not_after), freezes, utc(at))


def test_without_freezes_the_windows_decide():
    assert found(at="2031-03-03T12:00").is_open
    closed = found(at="2031-03-03T12:00", windows=[NIGHT])
    assert (closed.is_open, closed.next_opening) == (False, utc("2031-03-03T21:00"))
    assert closed.freezes == ()


def test_a_freeze_closes_an_open_window_and_says_why():
    frozen = found(freeze("2031-03-03T00:00", "2031-03-05T00:00"), at="2031-03-03T12:00")
    assert not frozen.is_open
    assert frozen.next_opening == utc("2031-03-05T00:00")
    assert frozen.sentence == (
        "Frozen by 'Black Friday': no changes while the shop is full."
        " Opens Wed 5 Mar 2031 00:00 (UTC)."
    )
    assert [f.name for f in frozen.freezes] == ["Black Friday"]


def test_a_freeze_without_an_end_lasts_until_it_is_lifted():
    frozen = found(freeze("2031-03-03T00:00"), at="2031-03-03T12:00")
    assert frozen.next_opening is None
    assert frozen.sentence.endswith("It lasts until somebody lifts it.")


def test_the_opening_after_a_freeze_is_the_next_open_window():
    frozen = found(
        freeze("2031-03-03T00:00", "2031-03-05T12:00"), at="2031-03-03T22:00", windows=[NIGHT]
    )
    assert frozen.next_opening == utc("2031-03-05T21:00")
    assert "Opens Wed 5 Mar 2031 22:00 (Europe/Berlin)." in frozen.sentence


def test_a_closed_window_looks_past_the_freeze_that_comes():
    closed = found(
        freeze("2031-03-03T20:00", "2031-03-04T20:00"), at="2031-03-03T12:00", windows=[NIGHT]
    )
    assert closed.next_opening == utc("2031-03-04T21:00")
    assert closed.sentence.endswith("Because of a freeze: Tue 4 Mar 2031 22:00 (Europe/Berlin).")
    assert closed.freezes == ()


def test_a_freeze_to_come_closes_what_is_open_now():
    now_open = found(freeze("2031-03-03T18:00"), at="2031-03-03T12:00")
    assert (now_open.is_open, now_open.closes_at) == (True, utc("2031-03-03T18:00"))
    assert now_open.sentence == (
        "Open until Mon 3 Mar 2031 18:00 (UTC), when the freeze 'Black Friday' begins."
    )


def test_the_window_closes_first_when_it_does():
    now_open = found(freeze("2031-03-05T00:00"), at="2031-03-03T22:00", windows=[NIGHT])
    assert now_open.closes_at == utc("2031-03-04T03:00")


def test_of_several_freezes_the_longest_is_named_first():
    frozen = found(
        freeze("2031-03-03T00:00", "2031-03-04T00:00", "short"),
        freeze("2031-03-03T00:00", None, "long"),
        at="2031-03-03T12:00",
    )
    assert [f.name for f in frozen.freezes] == ["long", "short"]
    assert "Also by 'short'." in frozen.sentence


def test_a_freeze_ends_at_its_end():
    one = freeze("2031-03-03T00:00", "2031-03-03T12:00")
    assert not found(one, at="2031-03-03T11:59").is_open
    assert found(one, at="2031-03-03T12:00").is_open


def test_after_the_end_of_the_policy_no_freeze_matters_any_more():
    ended = found(freeze("2031-03-03T00:00"), at="2031-03-03T12:00", not_after="2031-03-03T12:00")
    assert (ended.is_open, ended.for_good, ended.freezes) == (False, True, ())
    assert "Closed for good" in ended.sentence


START = datetime(2031, 1, 1, tzinfo=UTC)
moments = st.integers(0, 60 * 24 * 30).map(lambda minutes: START + timedelta(minutes=minutes))
freezes = st.lists(
    st.builds(
        lambda begins, hours: FreezeSpan(
            "f", "f", "why", begins, begins + timedelta(hours=hours) if hours else None
        ),
        moments,
        st.integers(0, 90),
    ),
    max_size=4,
)
windows = st.sampled_from([(), (NIGHT,), (Window("deny", ("sat",), time(0), time(0), "UTC"),)])


@settings(max_examples=150)
@given(windows, freezes, moments)
def test_what_is_promised_comes_true(rules, spans, at):
    state = opening(rules, None, spans, at)
    a_minute = timedelta(minutes=1)
    if state.next_opening is not None:
        assert not state.is_open
        assert at < state.next_opening
        assert opening(rules, None, spans, state.next_opening).is_open
        assert not opening(rules, None, spans, state.next_opening - a_minute).is_open
    if state.closes_at is not None:
        assert state.is_open
        assert at < state.closes_at <= max(at + SEARCH, *(s.begins_at for s in spans), at)
        assert not opening(rules, None, spans, state.closes_at).is_open
        assert opening(rules, None, spans, state.closes_at - a_minute).is_open


@settings(max_examples=100)
@given(windows, freezes, moments)
def test_a_freeze_only_ever_closes(rules, spans, at):
    assert opening(rules, None, spans, at).is_open == (
        window_state(rules, None, at).is_open and not any(span.holds(at) for span in spans)
    )


@pytest.mark.parametrize("ends", [None, "2031-03-04T00:00"])
def test_a_plan_that_was_let_through_is_held_again_when_that_ends(ends):
    again = freeze("2031-03-03T15:00", ends)
    let_through = found(again, at="2031-03-03T12:00")
    assert (let_through.is_open, let_through.closes_at) == (True, utc("2031-03-03T15:00"))
