"""A placebo backtest counts what fires for nothing, and says how sure that is."""

from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.evidence.calibration import Usual
from batches.evidence.plan_evidence import PlanEvidence, Sums, counts_of, with_counts
from batches.evidence.rules import EvidenceTest, KpiUnderTest
from batches.evidence.ruling import KEY
from batches.history.rollout_history import Leg, Minute, course_of, dealt, shares_of, summed
from batches.looks.kpi_points import GaugePoint, HistogramPoint, LookSample, RatioPoint
from batches.placebo.backtest import ALONE, Judges, backtest, upper_bound
from batches.placebo.looks import ALL, About, Past, evidence_looks, guardrail_looks
from batches.replay.replaying import Judging, Rule, play
from plans.policies.policy import EvidenceRules, Guardrail
from tests.decisions.kpi_looks import ERROR_RATE, LATENCY, NOON, after, look

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


# The evidence test.


def weighing(action: str = "rollback", **more: Any) -> EvidenceTest:
    rules = EvidenceRules(action=action, **more)
    return EvidenceTest(rules, {"error_rate": KpiUnderTest(ERROR_RATE)}, horizon_seconds=600)


def half_of_them_ill(count: int = 30) -> list[Minute]:
    """Return minutes in which the first ten tenants always fail half of their requests."""
    points = {name: RatioPoint(60 if n < 10 else 0, 120) for n, name in enumerate(NAMES)}
    return [Minute(after(60.0 * n), {"error_rate": points}) for n in range(count)]


def known(
    usual: Usual | None = None, *, short: str = "", means: dict[str, float] | None = None
) -> Any:
    """Return what is known before any rollout."""
    past = Past({"error_rate": (usual or Usual(), short)}, {"error_rate": means or {}})
    return lambda _moment: past


def test_evidence_over_equal_tenants_speaks_hardly_ever():
    found = tried(minutes(0.02), Judges([], 5, 30, weighing()), rollouts=30)
    assert found.fired[KEY].rollouts == found.rolled_back == 0


def test_evidence_that_tolerates_nothing_speaks_when_the_upgraded_ones_are_always_worse():
    strict: dict[str, Any] = {"ratio": 1, "points": 0}
    history = half_of_them_ill()
    paused = tried(history, Judges([], 5, 30, weighing("pause", **strict)), rollouts=30)
    assert paused.fired[KEY].rollouts > 0
    assert paused.rolled_back == 0
    back = tried(history, Judges([], 5, 30, weighing(**strict)), rollouts=30)
    assert back.rolled_back == back.fired[KEY].rollouts > 0


def test_who_was_always_ill_does_not_look_like_a_bad_version():
    rates = {name: (5_000.0 if n < 10 else 1.0, 10_000.0) for n, name in enumerate(NAMES)}
    strict = weighing(ratio=1, points=0)
    judges = Judges([], 5, 30, strict, known(Usual(rates)))
    assert tried(half_of_them_ill(), judges, rollouts=30).rolled_back == 0


def test_where_too_little_is_known_it_would_only_have_warned():
    judges = Judges([], 5, 30, weighing(ratio=1, points=0), known(short="10 requests are known"))
    found = tried(half_of_them_ill(), judges, rollouts=30)
    assert found.rolled_back == 0
    assert found.only_warned == found.fired[KEY].rollouts > 0


@given(st.integers(0, 9999))
def test_the_looks_of_a_minute_are_together_what_the_test_makes_of_the_minute(seed):
    """What is dealt out comes from the product's own sums, and nothing of it is lost."""
    dice = Random(seed)
    points = {name: RatioPoint(float(dice.randint(0, 40)), 120.0) for name in NAMES}
    rates = {name: (10.0 + n, 9_000.0) for n, name in enumerate(NAMES)}
    past = Past({"error_rate": (Usual(rates, 1.4), "")}, {})
    course = list(course_of([Minute(NOON, {"error_rate": points})], NAMES, [Leg(0.4, 600)]))
    looks = list(evidence_looks(weighing(), course, past, 5, Random(seed)))
    assert len(looks) == 12
    state = PlanEvidence()
    for _stretch, _at, seen in looks:
        for one in seen:
            state = with_counts(state, weighing(), one, soak_started=NOON)
    minute = LookSample(
        "error_rate",
        NOON,
        canary={name: points[name] for name in NAMES[:8]},
        control={name: points[name] for name in NAMES[8:]},
    )
    counts, expected = counts_of(
        minute, KpiUnderTest(ERROR_RATE), past.usual["error_rate"][0], seconds=60
    )
    assert state.band["error_rate"] == pytest.approx(Sums().plus(counts))
    assert sum(seen[0].expected or 0.0 for _s, _a, seen in looks) == pytest.approx(expected)
    canary = sum(seen[0].counts.canary_expected or 0.0 for _s, _a, seen in looks)
    assert canary == pytest.approx(counts.canary_expected)


def test_slow_requests_are_tested_as_well():
    slow = HistogramPoint({100.0: 10.0, 200.0: 60.0}, 120.0)
    fast = HistogramPoint({100.0: 110.0, 200.0: 120.0}, 120.0)
    points = {name: slow if n < 10 else fast for n, name in enumerate(NAMES)}
    history = [Minute(after(60.0 * n), {"latency_ms": points}) for n in range(30)]
    test = EvidenceTest(
        EvidenceRules(kpis=("latency_ms",), action="rollback", ratio=1, points=0),
        {"latency_ms": KpiUnderTest(LATENCY, 100.0)},
        horizon_seconds=600,
    )
    assert tried(history, Judges([], 5, 30, test), rollouts=30).rolled_back > 0


# Whom a guardrail is about.


def test_a_guardrail_about_each_tenant_takes_no_rollout_back_and_counts_tenants():
    judges = Judges([rule(20.0, scope="tenant")], 5, 30)
    found = tried(half_of_them_ill(), judges, rollouts=10)
    fired = found.fired[judges.rules[0].key]
    assert (found.rolled_back, fired.rollouts) == (0, 10)
    assert fired.judged == 10 * min(ALONE, len(NAMES))
    # Everybody is upgraded in the end, and half of them are always ill.
    assert fired.tenants == fired.judged / 2


def test_of_many_tenants_some_are_judged_alone():
    names = [f"many-{n:03}" for n in range(80)]
    points = {name: RatioPoint(60, 120) for name in names}
    history = [Minute(after(60.0 * n), {"error_rate": points}) for n in range(12)]
    judges = Judges([rule(20.0, scope="tenant")], 5, 30)
    fired = tried(history, judges, rollouts=3).fired[judges.rules[0].key]
    assert (fired.judged, fired.tenants) == (3 * ALONE, 3 * ALONE)


def test_a_guardrail_about_the_batch_is_not_diluted_by_those_before():
    # One ill tenant of two is far over the limit; of all twenty it is within.
    points = {name: RatioPoint(60 if n == 0 else 0, 120) for n, name in enumerate(NAMES)}
    history = [Minute(after(60.0 * n), {"error_rate": points}) for n in range(30)]
    legs = [Leg(0.9, 300), Leg(0.1, 300)]

    def broken(scope: str) -> int:
        judges = Judges([rule(10.0, scope=scope)], 5, 30)
        found = backtest(history, judges, legs, rollouts=60, dice=Random(7))
        assert found.rolled_back == found.fired[judges.rules[0].key].rollouts
        return found.rolled_back

    assert broken("plan") == 0
    # Those in which it is one of the last two.
    assert 0 < broken("batch") < 20


def test_a_new_batch_is_judged_without_what_the_one_before_did():
    points = {name: RatioPoint(0, 120) for name in NAMES}
    course = list(
        course_of([Minute(after(60.0 * n), {"error_rate": points}) for n in range(10)], NAMES, LEGS)
    )
    seen = guardrail_looks(
        "error_rate", About("batch", False), course, Past({}, {}), frozenset(), 5, Random(1)
    )
    first, last = seen.judgings[0], seen.judgings[-1]
    assert (first.about("batch"), last.about("batch")) == (["batch 1"], ["batch 2"])
    assert sum(look.canary.keys() == {"batch 2"} for look in seen.looks) == 5 * 12
    # The eighteen that the second batch adds, and not the two of the first.
    points_of = [list(look.canary.values()) for look in seen.looks[-12:]]
    ratios = [point for parts in points_of for point in parts if isinstance(point, RatioPoint)]
    assert sum(point.total for point in ratios) == 18 * 120


def test_against_their_own_history_tenants_that_were_always_ill_break_nothing():
    means = {name: 50.0 if n < 10 else 0.0 for n, name in enumerate(NAMES)}
    limit = rule(10.0, unit="points", against="own_history", min_samples=200)
    ill = half_of_them_ill()
    assert tried(ill, Judges([limit], 5, 30, None, known(means=means))).rolled_back == 0
    better = dict.fromkeys(NAMES, 1.0)
    assert tried(ill, Judges([limit], 5, 30, None, known(means=better))).rolled_back == 20


def test_where_they_have_no_history_it_says_nothing_and_that_is_counted():
    limit = rule(5.0, unit="points", against="own_history")
    found = tried(half_of_them_ill(), Judges([limit], 5, 30, None, known()), rollouts=10)
    assert found.rolled_back == 0
    assert found.fired[limit.key].unjudged == 10


# What is laid over history.


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
