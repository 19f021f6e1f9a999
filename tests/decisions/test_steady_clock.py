"""Moments stay where they are in real time while the wall clock is moved."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.runtime.steady_clock import SteadyClock, steady_seconds

BEGAN = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def test_time_that_passes_is_no_move():
    clock = SteadyClock()
    assert [clock.look(after(s), 100 + s) for s in (0, 1, 3600, 90000)] == [0, 0, 0, 0]


@pytest.mark.parametrize("moved", [600, -600, 2.1, -2.1])
def test_a_move_is_told_once_with_its_seconds(moved):
    clock = SteadyClock()
    clock.look(BEGAN, 0)
    assert clock.look(after(1 + moved), 1) == pytest.approx(moved)
    assert clock.look(after(2 + moved), 2) == 0


def test_fine_work_is_told_when_it_adds_up():
    clock = SteadyClock()
    clock.look(BEGAN, 0)
    assert clock.look(after(1.5), 0) == 0
    assert clock.look(after(3.0), 0) == pytest.approx(3.0)


def test_a_moment_first_seen_after_the_move_lies_where_it_is_written():
    clock = SteadyClock()
    clock.look(BEGAN, 0)
    clock.look(after(600), 0)
    assert clock.placed("deadline", after(700)) == after(700)


def test_a_new_moment_under_the_same_name_is_seen_anew():
    clock = SteadyClock()
    clock.look(BEGAN, 0)
    clock.placed("deadline", after(100))
    clock.look(after(600), 0)
    assert clock.placed("deadline", after(100)) == after(700)
    assert clock.placed("deadline", after(800)) == after(800)


def test_nothing_stays_nothing():
    assert SteadyClock().placed("deadline", None) is None


@given(
    st.floats(0, 200),
    st.lists(
        st.tuples(st.floats(0.01, 50), st.floats(-4000, 4000).filter(lambda s: abs(s) > 2.01)),
        min_size=1,
        max_size=6,
    ),
)
def test_what_is_left_of_a_deadline_shrinks_by_real_time_alone(left, steps):
    clock, wall, steady = SteadyClock(), BEGAN, 50.0
    clock.look(wall, steady)
    deadline = wall + timedelta(seconds=left)
    clock.placed("deadline", deadline)
    passed = 0.0
    for seconds, moved in steps:
        passed += seconds
        steady += seconds
        wall += timedelta(seconds=seconds + moved)
        clock.look(wall, steady)
        placed = clock.placed("deadline", deadline)
        assert placed is not None
        assert (placed - wall).total_seconds() == pytest.approx(left - passed, abs=1e-3)


def test_the_steady_clock_of_this_machine_goes_on():
    first = steady_seconds()
    assert 0 <= steady_seconds() - first < 3600
