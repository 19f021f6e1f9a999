"""A forecast says before the start what a soak can find, and what would help."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.evidence.soak_forecast import (
    EvidenceAsked,
    LimitRule,
    Traffic,
    evidence_seconds,
    forecast,
    guardrail_seconds,
)

RULE = LimitRule(limit=0.02, window_seconds=60, min_samples=20, failure_limit=1, look_seconds=5)
BUSY = Traffic(tenants=6, per_second=12, control_per_second=228, usual=0.005)
RATES = st.floats(0.01, 1000)


def told(traffic=BUSY, *, rules=(RULE,), evidence=None, soak: float = 1800):
    return forecast(
        kpi="error_rate",
        batch="canary",
        soak_seconds=soak,
        traffic=traffic,
        rules=rules,
        evidence=evidence,
    )


def test_it_speaks_as_a_release_engineer_does():
    said = told(evidence=EvidenceAsked()).sentence
    assert said.startswith("6 tenants at 12 events/s: ")
    assert "5 % is found in " in said
    assert "1 % can't be found" in said
    assert said.endswith("the soak of 30 min is enough for 2 %")


def test_evidence_finds_what_the_planner_says():
    # The reference case F8-1: 4.76 minutes at 20 requests/s.
    traffic = Traffic(2, 20, 20 / 0.05263157894736842, 0.005)
    assert evidence_seconds(0.02, traffic, EvidenceAsked()) == pytest.approx(285.693, rel=1e-4)


def test_a_fault_inside_the_tolerance_is_never_found():
    assert evidence_seconds(0.008, BUSY, EvidenceAsked()) is None


def test_without_a_control_nothing_is_compared():
    alone = replace(BUSY, control_per_second=0.0)
    assert evidence_seconds(0.2, alone, EvidenceAsked()) is None


def test_a_share_under_the_limit_is_never_found_by_it():
    assert guardrail_seconds(0.02, 1000, RULE) is None


@given(RATES, st.floats(1.01, 20), st.floats(0.021, 0.9))
def test_more_traffic_never_finds_later(rate, times, size):
    slow, fast = (guardrail_seconds(size, r, RULE) for r in (rate, rate * times))
    assert slow is None or (fast is not None and fast <= slow)


@given(RATES, st.floats(0.021, 0.45), st.floats(1.01, 2))
def test_a_worse_fault_is_never_found_later(rate, size, times):
    small, large = (guardrail_seconds(s, rate, RULE) for s in (size, size * times))
    assert small is None or (large is not None and large <= small)


@given(RATES, st.floats(0.03, 0.5))
def test_no_breach_comes_before_two_looks(rate, size):
    seconds = guardrail_seconds(size, rate, RULE)
    assert seconds is None or seconds >= 2 * RULE.look_seconds


def test_too_little_traffic_is_said_before_the_start_with_what_would_help():
    idle = Traffic(tenants=1, per_second=0.1, control_per_second=1.9, usual=0.005)
    found = told(idle)
    assert not found.enough
    assert found.sentence.endswith(
        "error_rate would never be judged: 20 events are needed within 1 min, and about 6 come"
    )
    assert "a window of 3 min 20 s would have its 20 events" in found.advice


def test_a_soak_that_is_too_short_is_told_how_long_it_should_be():
    found = told(evidence=EvidenceAsked(), soak=60)
    assert not found.enough
    (longer, *_rest) = found.advice
    assert longer.startswith("soak ")
    assert longer.endswith(" to find 2 %")
    minutes = float(longer.split()[1])
    assert told(evidence=EvidenceAsked(), soak=60 * minutes).enough


def test_more_tenants_help_and_it_says_how_many():
    found = told(evidence=EvidenceAsked(), soak=400)
    while found.enough:
        found = told(evidence=EvidenceAsked(), soak=found.soak_seconds * 0.9)
    line = next(one for one in found.advice if "tenants" in one)
    tenants = int(line.split()[0])
    each = BUSY.per_second / BUSY.tenants
    more = replace(
        BUSY,
        tenants=tenants,
        per_second=each * tenants,
        control_per_second=240 - each * tenants,
    )
    assert told(more, evidence=EvidenceAsked(), soak=found.soak_seconds).enough


def test_no_traffic_at_all_says_so():
    silent = Traffic(tenants=2, per_second=0.0, control_per_second=10, usual=0.005)
    assert told(silent).advice == ("put tenants with traffic into this batch: these bring none",)


def test_evidence_is_offered_where_it_would_find_what_the_limit_does_not():
    found = told(rules=(replace(RULE, limit=0.3),), soak=1800)
    assert not found.enough
    assert any(one.startswith("with `evidence:` 2 % would be found in ") for one in found.advice)


def test_with_nobody_left_to_compare_with_a_hold_back_is_the_advice():
    everybody = replace(BUSY, tenants=120, per_second=240.0, control_per_second=0.0)
    found = told(everybody, evidence=EvidenceAsked())
    assert not found.enough
    (advice,) = found.advice
    assert advice.startswith("hold some tenants back to the end")
