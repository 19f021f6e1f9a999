"""Windows are wall time of their zone; deny wins; the operator reads when it opens or closes."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plans.openings.windows import SEARCH, window_state
from plans.policies.policy import Window

EVERY_DAY = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def window(kind="allow", days=EVERY_DAY, start="22:00", end="04:00", timezone="UTC"):
    return Window(kind, days, time.fromisoformat(start), time.fromisoformat(end), timezone)


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def state(*windows, at, not_after=None):
    return window_state(windows, None if not_after is None else utc(not_after), utc(at))


def test_without_windows_it_is_open():
    found = state(at="2031-03-03T12:00")
    assert (found.is_open, found.next_opening, found.closes_at) == (True, None, None)
    assert found.sentence == "Open: the policy has no windows."


NIGHT = window(days=("mon", "tue"), timezone="Asia/Shanghai")


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2031-03-03T13:59", False),  # Monday 21:59 in Shanghai
        ("2031-03-03T14:00", True),
        ("2031-03-03T19:59", True),  # Tuesday 03:59
        ("2031-03-03T20:00", False),
        ("2031-03-04T19:59", True),  # Wednesday 03:59: the window of Tuesday
        ("2031-03-05T14:00", False),  # Wednesday 22:00
        ("2031-03-02T19:00", False),  # Monday 03:00: Sunday has no window
    ],
)
def test_a_window_belongs_to_the_day_on_which_it_starts(at, is_open):
    assert state(NIGHT, at=at).is_open is is_open


def test_an_open_window_says_when_it_closes():
    found = state(NIGHT, at="2031-03-03T15:00")
    assert found.closes_at == utc("2031-03-03T20:00")
    assert found.next_opening is None
    assert found.sentence == "Open until Tue 4 Mar 2031 04:00 (Asia/Shanghai)."


def test_a_closed_window_says_when_it_opens():
    found = state(NIGHT, at="2031-03-06T12:00")
    assert found.next_opening == utc("2031-03-10T14:00")
    assert found.closes_at is None
    assert found.sentence == (
        "Closed: no allow window holds now. Opens Mon 10 Mar 2031 22:00 (Asia/Shanghai)."
    )


def test_deny_wins_over_allow():
    deny = window("deny", start="23:00", end="23:30")
    allow = window()
    assert state(allow, deny, at="2031-03-03T22:30").closes_at == utc("2031-03-03T23:00")
    found = state(allow, deny, at="2031-03-03T23:10")
    assert found.next_opening == utc("2031-03-03T23:30")
    assert found.sentence == (
        "Closed: now is denied by the window every day 23:00-23:30 (UTC). "
        "Opens Mon 3 Mar 2031 23:30 (UTC)."
    )


def test_with_deny_windows_alone_all_other_time_is_open():
    weekend = window("deny", ("sat", "sun"), "00:00", "00:00")
    found = state(weekend, at="2031-03-05T12:00")
    assert found.closes_at == utc("2031-03-08T00:00")
    closed = state(weekend, at="2031-03-08T12:00")
    assert closed.next_opening == utc("2031-03-10T00:00")
    assert "denied by the window sat, sun 00:00-24:00 (UTC)" in closed.sentence


def test_windows_that_touch_are_one():
    found = state(
        window(start="10:00", end="12:00"),
        window(start="12:00", end="14:00"),
        at="2031-03-03T11:00",
    )
    assert found.closes_at == utc("2031-03-03T14:00")


def test_a_window_that_never_closes_says_so():
    found = state(window(start="00:00", end="00:00"), at="2031-03-03T11:00")
    assert (found.is_open, found.closes_at) == (True, None)
    assert found.sentence == "Open for the next 14 days."


def test_a_window_that_never_opens_says_so():
    found = state(window("deny", start="00:00", end="00:00"), at="2031-03-03T11:00")
    assert (found.is_open, found.next_opening) == (False, None)
    assert found.sentence.endswith("It does not open within 14 days.")


def test_after_not_after_it_is_closed_for_good():
    found = state(window(), at="2031-03-03T23:00", not_after="2031-03-03T23:00")
    assert (found.is_open, found.next_opening) == (False, None)
    assert found.sentence == "Closed for good: the policy ends at Mon 3 Mar 2031 23:00 (UTC)."


def test_not_after_cuts_an_open_window():
    found = state(window(), at="2031-03-03T22:30", not_after="2031-03-03T23:00")
    assert found.closes_at == utc("2031-03-03T23:00")
    assert found.sentence == "Open until Mon 3 Mar 2031 23:00 (UTC), when the policy ends."


def test_not_after_alone_closes_the_plan():
    assert state(at="2031-03-03T22:30", not_after="2031-09-03T23:00").closes_at == utc(
        "2031-09-03T23:00"
    )


def test_no_opening_is_promised_after_not_after():
    found = state(window(), at="2031-03-03T12:00", not_after="2031-03-03T20:00")
    assert (found.is_open, found.next_opening) == (False, None)
    assert "before the policy ends at Mon 3 Mar 2031 20:00" in found.sentence


@pytest.mark.parametrize(
    ("start", "end", "opens", "closes"),
    [
        # On 30 March 2031 Berlin's clocks jump from 02:00 to 03:00 (01:00 UTC).
        ("02:30", "05:00", "01:00", "03:00"),
        ("01:00", "02:30", "00:00", "01:00"),
        ("02:30", "03:15", "01:00", "01:15"),
        ("01:30", "03:30", "00:30", "01:30"),
    ],
)
def test_fault_25_a_time_that_the_clocks_skip_is_the_moment_after_the_jump(
    start, end, opens, closes
):
    night = window(start=start, end=end, timezone="Europe/Berlin")
    found = state(night, at="2031-03-29T23:30")
    assert found.next_opening == utc(f"2031-03-30T{opens}")
    assert window_state([night], None, found.next_opening).closes_at == utc(f"2031-03-30T{closes}")


def test_fault_25_a_window_inside_the_jump_does_not_happen_that_night():
    night = window(start="02:15", end="02:45", timezone="Europe/Berlin")
    assert state(night, at="2031-03-29T12:00").next_opening == utc("2031-03-31T00:15")


def test_fault_25_a_time_that_the_clocks_show_twice_counts_the_first_time():
    # On 26 October 2031 Berlin's clocks go from 03:00 back to 02:00 (01:00 UTC).
    night = window(start="02:15", end="02:45", timezone="Europe/Berlin")
    found = state(night, at="2031-10-25T12:00")
    assert found.next_opening == utc("2031-10-26T00:15")
    assert state(night, at="2031-10-26T00:20").closes_at == utc("2031-10-26T00:45")
    assert state(night, at="2031-10-26T01:20").next_opening == utc("2031-10-27T01:15")


windows = st.builds(
    Window,
    st.sampled_from(["allow", "deny"]),
    st.sets(st.sampled_from(EVERY_DAY), min_size=1).map(
        lambda days: tuple(day for day in EVERY_DAY if day in days)
    ),
    st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30])),
    st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30])),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati"]),
)
moments = st.integers(0, 365 * 24 * 60).map(
    lambda minutes: datetime(2031, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


@settings(max_examples=60)
@given(st.lists(windows, max_size=4), moments)
def test_fault_25_what_is_promised_comes_true(rules, at):
    found = window_state(rules, None, at)
    moment = timedelta(minutes=1)
    if found.next_opening is not None:
        assert not found.is_open
        assert at < found.next_opening <= at + SEARCH
        assert window_state(rules, None, found.next_opening).is_open
        assert not window_state(rules, None, found.next_opening - moment).is_open
    if found.closes_at is not None:
        assert found.is_open
        assert at < found.closes_at <= at + SEARCH
        assert not window_state(rules, None, found.closes_at).is_open
        assert window_state(rules, None, found.closes_at - moment).is_open


@settings(max_examples=60)
@given(st.lists(windows, max_size=3), windows, moments)
def test_one_more_deny_window_never_opens_anything(rules, more, at):
    deny = Window("deny", more.days, more.start, more.end, more.timezone)
    if not window_state(rules, None, at).is_open:
        assert not window_state([*rules, deny], None, at).is_open


def test_a_window_of_the_leap_day_belongs_to_it():
    # 29 February 2032 is a Sunday.
    leap = window(days=("sun",), start="23:00", end="01:00")
    found = state(leap, at="2032-02-28T12:00")
    assert found.next_opening == utc("2032-02-29T23:00")
    assert state(leap, at="2032-02-29T23:30").closes_at == utc("2032-03-01T01:00")


def test_equal_times_are_24_hours():
    one = window(days=("wed",), start="09:30", end="09:30")
    assert state(one, at="2031-03-05T09:30").closes_at == utc("2031-03-06T09:30")
    assert not state(one, at="2031-03-05T09:29").is_open


def test_24_hours_of_wall_time_are_23_when_the_clocks_jump():
    one = window(days=("sat",), start="12:00", end="12:00", timezone="Europe/Berlin")
    opened = utc("2031-03-29T11:00")
    assert window_state([one], None, opened).closes_at - opened == timedelta(hours=23)


def transitions(zone, year):
    """Return the moments of the year at which the clocks of the zone are moved."""
    found, step = [], timedelta(hours=6)
    at = datetime(year, 1, 1, tzinfo=UTC)
    while at.year == year:
        low, high = at, at + step
        if low.astimezone(zone).utcoffset() != high.astimezone(zone).utcoffset():
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) / 2
                same = middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset()
                low, high = (middle, high) if same else (low, middle)
            found.append(high.replace(microsecond=0))
        at += step
    return found


def distinct_transitions(year):
    """Return one zone for each way in which the clocks of the world are moved in the year."""
    found = {}
    for name in sorted(available_timezones() - {"localtime", "Factory"}):
        zone = ZoneInfo(name)
        for jump in transitions(zone, year):
            before = (jump - timedelta(hours=1)).astimezone(zone).utcoffset()
            found.setdefault((jump, before, jump.astimezone(zone).utcoffset()), zone)
    return [(jump, zone) for (jump, _before, _after), zone in found.items()]


def test_around_every_transition_of_the_world_windows_keep_their_word():
    jumps = distinct_transitions(2027)
    assert len(jumps) > 20
    for jump, zone in jumps:
        local = (jump - timedelta(hours=1)).astimezone(zone)
        night = Window("allow", EVERY_DAY, local.time(), time(12, 0), zone.key)
        opened, at = 0, jump - timedelta(hours=20)
        was = window_state([night], None, at).is_open
        while at < jump + timedelta(hours=20):
            at += timedelta(minutes=15)
            is_open = window_state([night], None, at).is_open
            opened += is_open and not was
            was = is_open
            shows = at.astimezone(zone).time()
            start, end = night.start, night.end
            inside = start <= shows < end if start < end else shows >= start or shows < end
            # By the clock on the wall, except in the hours that it shows twice or never.
            if abs(at - jump) > timedelta(hours=3):
                assert is_open is inside, (zone.key, at)
        assert opened <= 2, f"an hour that {zone.key} shows twice opened the window twice"
