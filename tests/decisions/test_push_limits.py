"""How much may come in per second."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from batches.pushes.limits import BURST_SECONDS, Bucket, take

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_burst_comes_through_and_then_there_is_a_wait():
    bucket = take(None, 90, per_second=10, now=NOW)
    assert bucket == Bucket(10, NOW)
    assert take(bucket, 15, per_second=10, now=NOW) == 0.5
    later = NOW + timedelta(seconds=0.5)
    assert take(bucket, 15, per_second=10, now=later) == Bucket(0, later)


def test_a_request_larger_than_the_burst_comes_through_a_full_bucket_and_is_paid_for_after():
    bucket = take(None, 300, per_second=10, now=NOW)
    assert bucket == Bucket(-200, NOW)
    assert take(bucket, 1, per_second=10, now=NOW) == 20.1


def test_a_clock_that_was_set_back_fills_nothing():
    assert take(Bucket(0, NOW), 1, per_second=10, now=NOW - timedelta(hours=1)) == 0.1


@given(
    st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 120)), max_size=60),
    st.integers(1, 50),
)
def test_over_any_time_no_more_comes_in_than_burst_and_rate(requests, rate):
    bucket, now, took = None, NOW, 0
    for milliseconds, points in requests:
        now += timedelta(milliseconds=milliseconds)
        after = take(bucket, points, per_second=rate, now=now)
        if isinstance(after, Bucket):
            bucket, took = after, took + points
        else:
            assert after > 0
    # One request may be larger than the burst and goes through whole.
    passed = (now - NOW).total_seconds()
    assert took <= rate * (BURST_SECONDS + passed) + 120 + 1e-6
