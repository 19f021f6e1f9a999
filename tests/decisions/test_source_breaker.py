"""When a failing source is left alone, and how it comes back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.sources.breaker import (
    COUNTED,
    FAILURES,
    LONGEST_SECONDS,
    SHORTEST_SECONDS,
    Breaker,
)


def failed(breaker, now, cause="source_down"):
    return breaker.answered(now, cause=cause, sentence="HTTP 503")


def opened(now=0.0):
    breaker = Breaker()
    for _read in range(FAILURES):
        breaker = failed(breaker, now)
    return breaker


def test_it_opens_with_the_fifth_failure_running_and_not_before():
    breaker = Breaker()
    for _read in range(FAILURES - 1):
        breaker = failed(breaker, 0)
        assert breaker.asked(0) is breaker
    breaker = failed(breaker, 0)
    assert breaker.state == "open"
    assert breaker.asked(SHORTEST_SECONDS - 0.1) is None
    assert breaker.refusal(0.5) == (
        "not asked: 5 reads failed in a row (HTTP 503); tried again in 2 s"
    )


def test_one_read_tries_it_and_alone_decides():
    trying = opened().asked(SHORTEST_SECONDS)
    assert trying.state == "half_open"
    assert trying.asked(SHORTEST_SECONDS + 100) is None
    assert trying.answered(SHORTEST_SECONDS) == Breaker()
    again = failed(trying, 10)
    assert (again.state, again.retry_at) == ("open", 10 + 2 * SHORTEST_SECONDS)


def test_the_waits_double_up_to_the_longest():
    breaker, now, waits = opened(), 0.0, []
    for _turn in range(8):
        waits.append(breaker.retry_at - now)
        now = breaker.retry_at
        breaker = failed(breaker.asked(now), now)
    assert waits[:3] == [2, 4, 8]
    assert waits[3:] == [LONGEST_SECONDS] * 5


@pytest.mark.parametrize("cause", ["", "bad_answer", "name_gone"])
def test_whoever_answers_at_all_closes_it(cause):
    assert opened().asked(99).answered(99, cause=cause) == Breaker()


@given(st.lists(st.sampled_from(["", "bad_answer", *sorted(COUNTED)]), max_size=60))
def test_a_source_is_never_left_alone_for_longer_than_the_longest(causes):
    breaker, now = Breaker(), 0.0
    for cause in causes:
        trying = breaker.asked(now)
        if trying is None:
            assert 0 < breaker.retry_at - now <= LONGEST_SECONDS
            now = breaker.retry_at
            trying = breaker.asked(now)
            assert trying is not None
        breaker = trying.answered(now, cause=cause, sentence="x")
        assert (breaker.state == "open") == (breaker.failures >= FAILURES)
        now += 1
