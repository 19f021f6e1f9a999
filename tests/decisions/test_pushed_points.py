"""What becomes of a pushed point: counting on, beginning anew, sent twice, too late."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.pushes.points import PointRefused, PushedPoint, merge

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLDEST = timedelta(seconds=90)
LONG_AGO = NOW - timedelta(days=3)


def point(value, seconds=0.0, **more):
    at = NOW + timedelta(seconds=seconds)
    return PushedPoint("requests_total", {}, more.pop("kind", "counter"), (value,), at, **more)


def merged(before, one):
    return merge(before, one, now=max(NOW, one.at), oldest=OLDEST)


def refusal(before, one, now=NOW):
    with pytest.raises(PointRefused) as refused:
        merge(before, one, now=now, oldest=OLDEST)
    assert refused.value.sentence.startswith(refused.value.code)
    return refused.value.code


def test_what_a_sender_counted_before_we_knew_it_is_no_increment():
    kept = merged(None, point(1000, start=LONG_AGO))
    assert kept.values == (0,)
    assert merged(kept, point(1007, 5, start=LONG_AGO)).values == (7,)
    assert merged(None, point(1000)).values == (0,)


def test_what_a_new_sender_counted_since_its_start_is():
    assert merged(None, point(4, start=NOW - timedelta(seconds=30))).values == (4,)


def test_a_sender_that_began_anew_counts_on():
    kept = merged(merged(None, point(100)), point(130, 5))
    assert kept.values == (30,)
    # Its counter fell, or it says that it started after its last point.
    assert merged(kept, point(4, 10)).values == (34,)
    restarted = merged(kept, point(500, 10, start=NOW + timedelta(seconds=7)))
    assert restarted.values == (530,)
    # A start that moved a little is the same life.
    moved = merged(kept, point(140, 10, start=NOW - timedelta(seconds=100)))
    assert moved.values == (40,)


def test_deltas_add_up():
    kept = merged(None, point(3, delta=True))
    assert kept.values == (3,)
    assert merged(kept, point(4, 5, delta=True)).values == (7,)


@pytest.mark.parametrize("more", [{}, {"delta": True}, {"kind": "gauge"}])
def test_the_same_point_again_changes_nothing(more):
    kept = merged(None, point(3, **more))
    assert merged(kept, point(3, **more)) is kept


def test_buckets_are_counted_one_by_one():
    one = PushedPoint("latency", {}, "histogram", (2, 1, 0), NOW, (0.1, 0.5), delta=True)
    kept = merged(merged(None, one), replace(one, values=(1, 1, 1), at=NOW + timedelta(seconds=5)))
    assert kept.values == (3, 2, 1)
    other = replace(one, bounds=(0.1, 0.2), at=NOW + timedelta(seconds=10))
    assert merged(kept, other).values == (2, 1, 0)


def test_a_gauge_is_what_was_sent_last():
    kept = merged(merged(None, point(3, kind="gauge")), point(-1.5, 5, kind="gauge"))
    assert kept.values == (-1.5,)


def test_late_and_future_points_and_what_is_no_count_are_refused_by_name():
    kept = merged(None, point(5))
    assert refusal(kept, point(4, -1)) == "late"
    assert refusal(kept, point(6, 0)) == "late"
    assert refusal(None, point(1, -91)) == "late"
    assert refusal(None, point(1, 5.1)) == "future"
    assert refusal(None, point(-1)) == "not_a_count"
    assert refusal(None, point(float("nan"))) == "not_a_count"
    assert merged(None, point(1, -89)).values == (0,)
    assert merge(None, point(1, 4.9), now=NOW, oldest=OLDEST).raw == (1,)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=1, max_size=30),
    st.booleans(),
)
def test_what_a_look_sees_rises_by_exactly_what_was_counted(steps, delta):
    """However often the sender begins anew, cumulative and delta senders are seen alike."""
    kept, total, counter = None, 0, 0
    start = NOW - timedelta(seconds=1)
    for second, (events, restarts) in enumerate(steps):
        at = NOW + timedelta(seconds=second)
        if restarts and second:
            counter, start = 0, at
        counter += events
        total += events
        sent = events if delta else counter
        one = PushedPoint("x", {}, "counter", (sent,), at, delta=delta, start=start)
        kept = merge(kept, one, now=at, oldest=OLDEST)
        assert kept.values == (total,)
