"""Soak clocks, failure rates and what can still be reached."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from batches.rollout.pacing import best_success_rate, failure_rate, failures, overdue, soak_left

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
STATES = st.dictionaries(
    st.sampled_from(["pending", "upgrading", "upgraded", "failed", "rolled_back", "needs_hand"]),
    st.integers(0, 500),
)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def test_the_soak_clock_runs_while_it_counts():
    assert soak_left(60, ago(25), NOW, counting=True) == 35


def test_the_soak_clock_stands_while_paused_or_never_started():
    assert soak_left(60, ago(25), NOW, counting=False) == 60
    assert soak_left(60, None, NOW, counting=True) == 60


def test_the_soak_clock_never_goes_below_zero():
    assert soak_left(10, ago(25), NOW, counting=True) == 0


def test_who_waits_or_is_being_called_has_not_failed():
    counts = {"pending": 3, "upgrading": 2, "upgraded": 4, "failed": 1, "rolled_back": 1}
    assert failures(counts) == 2


def test_a_tenant_that_was_only_stopped_has_not_failed():
    assert failures({"unknown": 3, "upgraded": 1}, unknown_to_retry=2) == 1


def test_the_rate_is_a_share_in_percent():
    assert failure_rate(1, 20) == 5
    assert failure_rate(0, 0) == 0


def test_what_can_be_reached_counts_everybody_who_may_still_make_it():
    assert best_success_rate({"pending": 8, "upgraded": 1, "rolled_back": 1}) == 90
    assert best_success_rate({}) == 100


def test_overdue_begins_after_the_minutes_not_at_them():
    assert not overdue(ago(300), 5, NOW)
    assert overdue(ago(300.001), 5, NOW)
    assert not overdue(None, 0, NOW)


@given(STATES)
def test_failures_and_the_best_rate_tell_the_same_story(counts):
    total = sum(counts.values())
    if total:
        best = best_success_rate(counts)
        assert abs(best - (100 - failure_rate(failures(counts), total))) < 1e-9


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.booleans())
def test_soak_is_never_prolonged(left, seconds, counting):
    assert 0 <= soak_left(left, ago(seconds), NOW, counting=counting) <= left
