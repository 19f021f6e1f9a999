"""After a rollback: only a full window of good looks is back in band."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.kpis.dictionary import KpiDefinition
from batches.looks.kpi_points import GaugePoint, HistogramPoint, LookSample, RatioPoint
from batches.rollback.back_in_band import Aftermath, GuardLooks, judge_aftermath, watch_plan
from plans.policies.policy import BatchSpec, Guardrail, RollbackRules, UpgradePolicy

BACK = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
UNTIL = BACK + timedelta(minutes=15)
RATE = KpiDefinition(name="error_rate", kind="ratio", unit="%", direction="lower")
TEMPERATURE = KpiDefinition(name="temperature", kind="gauge", unit="C", direction="lower")
LATENCY = KpiDefinition(name="latency_ms", kind="histogram", unit="ms", direction="lower")
ERRORS = Guardrail("error_rate", at_most=5, window_seconds=60, min_samples=20)
HEAT = Guardrail("temperature", at_most=30, window_seconds=20, min_samples=1)
SLOW = Guardrail("latency_ms", at_most=200, window_seconds=60, slow_share_percent=5)


def at(seconds: float) -> datetime:
    return BACK + timedelta(seconds=seconds)


def looks(bad: Sequence[float | None], *, every: float = 5.0) -> list[LookSample]:
    """Return one look for each share of 100 requests; the first sets counters, None is no data."""
    made = [LookSample("error_rate", at(0), causes={"first_reading": 1}, source="fleet")]
    for number, share in enumerate(bad, start=1):
        moment = at(number * every)
        if share is None:
            made.append(LookSample("error_rate", moment, causes={"source_down": 1}, ok=False))
            continue
        made.append(LookSample("error_rate", moment, canary={"acorn": RatioPoint(share, 100)}))
    return made


def judged(
    seen: Sequence[LookSample],
    *,
    guardrail: Guardrail = ERRORS,
    definition: KpiDefinition = RATE,
    now: datetime | None = None,
    unusable: dict[str, str] | None = None,
) -> Aftermath:
    return judge_aftermath(
        [GuardLooks(guardrail.kpi, guardrail, definition, seen)],
        unusable=unusable or {},
        tenants=1,
        since=BACK,
        until=UNTIL,
        now=now or seen[-1].at,
        max_age_seconds=30,
    )


def test_a_full_window_of_good_looks_is_back_in_band():
    found = judged(looks([0] * 12))
    assert found.ending == "in_band"
    assert found.kpis[0].n == 1200
    assert found.sentence.startswith("Back in band 60 s after")


def test_good_looks_over_less_than_a_window_are_not_yet():
    found = judged(looks([0] * 11))
    assert (found.ending, found.kpis[0].verdict) == ("watching", "not_yet")


def test_one_look_without_data_begins_the_window_anew():
    assert judged(looks([0] * 8 + [None] + [0] * 12)).ending == "watching"
    assert judged(looks([0] * 8 + [None] + [0] * 13)).ending == "in_band"


def test_a_time_in_which_nobody_looked_begins_the_window_anew():
    seen = looks([0] * 6)
    seen += [replace(look, at=look.at + timedelta(seconds=90)) for look in seen[1:]]
    assert judged(seen).ending == "watching"


def test_bad_numbers_before_the_limit_are_only_watched():
    assert judged(looks([20] * 30)).ending == "watching"


def test_bad_numbers_at_the_limit_are_still_bad_and_say_so():
    seen = [replace(look, at=look.at + timedelta(minutes=13)) for look in looks([20] * 24)]
    found = judged(seen, now=UNTIL)
    assert found.ending == "still_bad"
    assert "The release was not the cause" in found.sentence
    assert "limit 5 %" in found.sentence


@pytest.mark.parametrize(
    "seen",
    [[], looks([None] * 3), looks([0] * 3)],
    ids=["nobody looked", "no data", "old looks only"],
)
def test_nothing_seen_at_the_limit_is_never_good(seen):
    found = judged(seen, now=UNTIL)
    assert found.ending == "no_data"
    assert "Nobody knows" in found.sentence


def test_too_few_requests_at_the_limit_are_never_good():
    few = Guardrail("error_rate", at_most=5, window_seconds=60, min_samples=10_000)
    seen = [replace(look, at=look.at + timedelta(minutes=14)) for look in looks([0] * 12)]
    found = judged(seen, guardrail=few, now=UNTIL)
    assert (found.ending, found.kpis[0].verdict) == ("no_data", "not_yet")


def test_a_guardrail_that_cannot_be_judged_any_more_is_no_data():
    found = judged(looks([0] * 200), now=UNTIL + timedelta(seconds=100), unusable={"x": "gone"})
    assert found.ending == "no_data"
    assert "gone" in found.sentence


def test_what_is_not_critical_does_not_decide_when_it_is_silent():
    silent = GuardLooks("heat", replace(HEAT, critical=False), TEMPERATURE)
    good = [replace(look, at=look.at + timedelta(minutes=14)) for look in looks([0] * 12)]
    found = judge_aftermath(
        [GuardLooks("rate", ERRORS, RATE, good), silent],
        unusable={},
        tenants=1,
        since=BACK,
        until=UNTIL,
        now=UNTIL,
        max_age_seconds=30,
    )
    assert found.ending == "in_band"


def test_a_gauge_must_have_been_fine_at_every_look_of_the_window():
    def heat(values: Sequence[float]) -> list[LookSample]:
        return [
            LookSample("temperature", at(5 * n), canary={"acorn": GaugePoint(value)})
            for n, value in enumerate(values)
        ]

    steady = judged(heat([20] * 5), guardrail=HEAT, definition=TEMPERATURE)
    flapping = judged(heat([20, 20, 50, 20, 20]), guardrail=HEAT, definition=TEMPERATURE)
    assert (steady.ending, flapping.ending) == ("in_band", "watching")
    assert flapping.kpis[0].verdict == "still_bad"


def test_a_histogram_is_judged_by_its_share():
    seen = [LookSample("latency_ms", at(0), causes={"first_reading": 1})]
    for number in range(1, 13):
        point = HistogramPoint({200.0: 90.0}, 100.0)
        seen.append(LookSample("latency_ms", at(5 * number), canary={"acorn": point}))
    found = judged(seen, guardrail=SLOW, definition=LATENCY)
    assert found.kpis[0].verdict == "still_bad"
    assert "wrong side of 200 ms, allowed 5 %" in found.kpis[0].sentence


@given(shares=st.lists(st.one_of(st.none(), st.integers(0, 100)), min_size=1, max_size=40))
def test_in_band_is_never_said_of_a_window_with_a_hole_or_above_the_limit(shares):
    found = judged(looks(shares))
    if found.ending == "in_band":
        last = shares[-12:]
        assert len(last) == 12
        assert None not in last
        assert sum(last) <= 5 * 12


def policy(minutes: float, *guardrails: Guardrail) -> UpgradePolicy:
    return UpgradePolicy(
        "quick",
        (BatchSpec("all", 100, 60),),
        guardrails=guardrails,
        rollback=RollbackRules(watch_after_minutes=minutes),
    )


@pytest.mark.parametrize(
    ("rules", "restored", "why"),
    [
        (policy(0, ERRORS), 3, "watch_after_minutes: 0"),
        (policy(15), 3, "no guardrail"),
        (policy(15, replace(ERRORS, dry_run=True)), 3, "no guardrail"),
        (policy(15, ERRORS), 0, "no tenant was restored"),
    ],
)
def test_what_is_not_watched_says_why(rules, restored, why):
    until, sentence = watch_plan(rules, restored=restored, since=BACK)
    assert until is None
    assert why in sentence


def test_the_watch_lasts_as_the_policy_says_and_at_least_the_longest_window():
    until, sentence = watch_plan(policy(15, ERRORS), restored=3, since=BACK)
    assert until == UNTIL
    assert "3 restored tenants are watched until error_rate is back in band" in sentence
    until, _sentence = watch_plan(policy(0.5, ERRORS), restored=3, since=BACK)
    assert until == at(60 + 3 * 5)
