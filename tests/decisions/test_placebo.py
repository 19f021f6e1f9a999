"""A placebo backtest counts what fires for nothing, and says how sure that is."""

from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.evidence import Tolerance
from batches.kpi_points import GaugePoint, HistogramPoint, RatioPoint
from batches.placebo import ALL, EVIDENCE, Judges, backtest, upper_bound
from batches.placebo_evidence import EvidenceTest
from batches.replaying import Judging, Rule, play
from batches.rollout_history import Leg, Minute, course_of, dealt, shares_of, summed
from plans.policy import Guardrail
from tests.decisions.kpi_looks import ERROR_RATE, NOON, after, look

NAMES = [f"tenant-{n:02}" for n in range(20)]
LEGS = [Leg(0.1, 300), Leg(0.9, 300)]


def rule(at_most: float, **more: Any) -> Rule:
    given: dict[str, Any] = {"unit": "%", "window_seconds": 60.0, "min_samples": 20} | more
    return Rule(
        f"error_rate {at_most}", Guardrail("error_rate", at_most=at_most, **given), ERROR_RATE
    )


def minutes(share: float, *, count: int = 30, requests: int = 120, seed: int = 1) -> list[Minute]:
    """Return minutes in which every request of every tenant fails with this probability."""
    dice = Random(seed)

    def point() -> RatioPoint:
        return RatioPoint(sum(dice.random() < share for _ in range(requests)), requests)

    return [
        Minute(NOON + timedelta(minutes=n), {"error_rate": {name: point() for name in NAMES}})
        for n in range(count)
    ]


def tried(history, judges, *, rollouts: int = 20, seed: int = 7):
    return backtest(history, judges, LEGS, rollouts=rollouts, dice=Random(seed))


def test_a_limit_far_above_what_is_usual_takes_nothing_back():
    found = tried(minutes(0.01), Judges([rule(20.0)], 5, 30))
    assert (found.rollouts, found.rolled_back) == (20, 0)
    assert found.looks == 20 * 10 * 12
    assert found.upper == pytest.approx(1 - 0.05 ** (1 / 20), rel=1e-6)


def test_a_limit_below_what_is_usual_takes_every_rollout_back():
    found = tried(minutes(0.05), Judges([rule(2.0)], 5, 30))
    assert found.rolled_back == found.rollouts == 20
    assert found.fired[rule(2.0).key].rollouts == 20


def test_a_rule_that_only_warns_takes_nothing_back_and_is_counted_all_the_same():
    judges = Judges([rule(2.0, action="warn")], 5, 30)
    found = tried(minutes(0.05), judges)
    assert found.rolled_back == 0
    assert found.fired[judges.rules[0].key].rollouts == 20


def test_a_dry_run_takes_nothing_back():
    found = tried(minutes(0.05), Judges([rule(2.0, dry_run=True)], 5, 30))
    assert found.rolled_back == 0


def test_what_comes_after_the_rollback_is_not_counted():
    soon, late = rule(2.0), rule(2.5, failure_limit=60, action="warn")
    found = tried(minutes(0.05), Judges([soon, late], 5, 30))
    assert found.fired[late.key].rollouts == 0


def test_the_same_seed_gives_the_same_rollouts():
    judges = Judges([rule(3.0)], 5, 30)
    assert tried(minutes(0.02), judges) == tried(minutes(0.02), judges)


def test_it_ends_when_its_time_is_over():
    left = iter([True, True, False])
    found = backtest(
        minutes(0.01),
        Judges([rule(5.0)], 5, 30),
        LEGS,
        rollouts=50,
        dice=Random(1),
        go_on=lambda: next(left),
    )
    assert found.rollouts == 2


def test_without_history_there_is_no_rollout_and_no_certainty():
    found = tried([], Judges([rule(5.0)], 5, 30))
    assert (found.rollouts, found.upper) == (0, 1.0)


def test_evidence_over_equal_tenants_speaks_hardly_ever():
    test = EvidenceTest(("error_rate",), "rollback", 0.01, Tolerance(1.2, 0.005))
    found = tried(minutes(0.02), Judges([], 5, 30, test), rollouts=30)
    assert found.fired[EVIDENCE].rollouts == found.rolled_back == 0


def test_evidence_that_tolerates_nothing_speaks_when_the_upgraded_ones_are_always_worse():
    history = [
        Minute(
            minute.at,
            {
                "error_rate": {
                    name: RatioPoint(60 if n < 10 else 0, 120) for n, name in enumerate(NAMES)
                }
            },
        )
        for minute in minutes(0.0)
    ]
    test = EvidenceTest(("error_rate",), "pause", 0.01, Tolerance(1.0, 0.0))
    found = tried(history, Judges([], 5, 30, test), rollouts=30)
    assert found.fired[EVIDENCE].rollouts > 0
    assert found.rolled_back == 0


def test_batches_add_tenants_one_after_the_other():
    course = list(course_of(minutes(0.0, count=10), NAMES, LEGS))
    assert [len(stretch.upgraded) for stretch in course] == [2] * 5 + [20] * 5
    assert [stretch.soak_started for stretch in course] == [NOON] * 5 + [after(300)] * 5


@given(st.integers(0, 3000), st.integers(1, 12), st.integers(0, 99))
def test_dealt_events_are_the_same_events(count, parts, seed):
    cells = shares_of(float(count), parts, Random(seed))
    assert len(cells) == parts
    assert sum(cells) == count
    assert min(cells) >= 0


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 99))
def test_a_dealt_ratio_adds_up_to_the_minute_again(bad, good, seed):
    parts = dealt(RatioPoint(bad, bad + good), 12, Random(seed))
    ratios = [part for part in parts if isinstance(part, RatioPoint)]
    assert len(ratios) == 12
    assert sum(part.bad for part in ratios) == bad
    assert sum(part.total for part in ratios) == bad + good


def test_a_dealt_histogram_stays_cumulative_and_adds_up():
    whole = HistogramPoint({100.0: 40, 200.0: 90}, 100)
    dealt_ones = dealt(whole, 12, Random(3))
    parts = [part for part in dealt_ones if isinstance(part, HistogramPoint)]
    assert len(parts) == 12
    assert sum(part.total for part in parts) == 100
    assert sum(part.buckets[100.0] for part in parts) == 40
    assert sum(part.buckets[200.0] for part in parts) == 90
    assert all(part.buckets[100.0] <= part.buckets[200.0] <= part.total for part in parts)


def test_a_gauge_is_the_mean_of_its_tenants():
    assert summed([GaugePoint(1.0), GaugePoint(4.0)]) == GaugePoint(2.5)


def test_buckets_that_not_all_tenants_have_are_left_out():
    one, other = HistogramPoint({100.0: 1, 200.0: 2}, 3), HistogramPoint({200.0: 5}, 6)
    assert summed([one, other]) == HistogramPoint({200.0: 7}, 9)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 100)), min_size=1, max_size=12))
def test_all_tenants_as_one_are_judged_as_each_by_itself(counts):
    """A share over all upgraded tenants is that of their sum: same verdicts, same values."""
    points = {f"t{n}": RatioPoint(min(bad, n2), n2) for n, (bad, n2) in enumerate(counts)}
    whole = summed(list(points.values()))
    each, together = _said(points), _said({ALL: whole})
    assert together == each


def _said(seen):
    looks = [look(5.0 * n, seen) for n in range(4)]
    judgings = [
        Judging(after(5.0 * n), tuple(seen), NOON, {"error_rate": after(5.0 * n)}) for n in range(4)
    ]
    steps = play([rule(10.0)], looks, judgings, max_age_seconds=30)
    return [(step.ruling.verdict, step.ruling.value, step.ruling.n) for step in steps]


@pytest.mark.parametrize(
    ("found", "tried_ones", "bound"),
    [(0, 300, 0.009936), (1, 100, 0.04656), (5, 5, 1.0), (0, 0, 1.0)],
)
def test_the_upper_bound_is_the_exact_one(found, tried_ones, bound):
    assert upper_bound(found, tried_ones) == pytest.approx(bound, rel=1e-3)


@given(st.integers(0, 50), st.integers(1, 400))
def test_the_bound_is_above_what_was_seen_and_sinks_with_more_tries(found, more):
    tried_ones = found + more
    assert upper_bound(found, tried_ones) >= found / tried_ones
    assert upper_bound(found, tried_ones + 100) <= upper_bound(found, tried_ones)
