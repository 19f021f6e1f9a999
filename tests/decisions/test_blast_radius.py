"""What goes back by itself, how two rollbacks meet, and how far real failures can run."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.rollout.blast_radius import automatic_scope, meeting
from batches.rollout.pacing import (
    allowed_failures,
    best_success_rate,
    calls_allowed,
    claimed_ahead,
    failure_rate,
    failures,
    most_failures,
)

TRIGGERS = ["failure_rate", "breach", "missing_metrics", "batch_overrun", "hold_expired", "pause"]


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_under_the_widest_rule_the_plan_goes_back(trigger):
    assert automatic_scope(trigger, "plan") == "plan"


@pytest.mark.parametrize("rule", ["plan", "batch", "tenant"])
def test_a_pause_that_nobody_resumed_takes_everything_back(rule):
    assert automatic_scope("pause", rule) == "plan"


@pytest.mark.parametrize("trigger", [t for t in TRIGGERS if t != "pause"])
def test_under_batch_the_newest_batch_goes_back(trigger):
    assert automatic_scope(trigger, "batch") == "batch"


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_under_tenant_only_failed_calls_are_pinned_on_tenants(trigger):
    expected = "tenants" if trigger == "failure_rate" else "plan"
    assert automatic_scope(trigger, "tenant") == expected


@pytest.mark.parametrize("rule", ["plan", "batch", "tenant"])
@pytest.mark.parametrize(("about", "expected"), [("tenant", "tenants"), ("batch", "batch")])
def test_a_narrower_guardrail_takes_no_more_back_than_it_judged(rule, about, expected):
    assert automatic_scope("breach", rule, about=about) == expected
    assert automatic_scope("pause", rule, about=about) == "plan"


@pytest.mark.parametrize(
    ("running", "asked", "covered", "expected"),
    [
        ("plan", "plan", False, "same"),
        ("plan", "batch", False, "same"),
        ("plan", "tenants", False, "same"),
        ("batch", "batch", True, "same"),
        ("tenants", "tenants", True, "same"),
        ("batch", "tenants", True, "same"),
        ("batch", "plan", False, "widen"),
        ("tenants", "plan", False, "widen"),
        ("tenants", "tenants", False, "widen"),
        ("batch", "tenants", False, "apart"),
        ("tenants", "batch", False, "apart"),
    ],
)
def test_what_asking_means_while_a_rollback_runs(running, asked, covered, expected):
    assert meeting(running, asked, covered=covered) == expected


@pytest.mark.parametrize(
    ("size", "rate", "number", "expected"),
    [
        (20, 5, None, 1),
        (10, 5, None, 0),
        (50, 10, None, 5),
        (100, 7, None, 7),
        (1000, 0.3, None, 3),
        (20, 100, 3, 3),
        (20, 5, 3, 1),
        (20, 5, 0, 0),
        (0, 5, None, 0),
    ],
)
def test_the_budget_is_the_percentage_or_the_number_whichever_is_less(size, rate, number, expected):
    assert allowed_failures(size, rate, number) == expected


@given(st.integers(1, 5000), st.integers(0, 1000), st.integers(0, 5000))
def test_the_budget_is_exceeded_exactly_where_the_rate_is(size, tenths, failed):
    rate = tenths / 10
    over = failed > allowed_failures(size, rate)
    assert over == (1000 * failed > tenths * size)


def test_before_the_first_failure_nothing_slows_a_rollout_down():
    assert calls_allowed(100, 0, 25) == 100
    assert calls_allowed(100, 0, 0) == 100


def test_after_the_first_failure_no_more_run_than_the_budget_has_left():
    assert calls_allowed(100, 1, 25) == 24
    assert calls_allowed(10, 1, 25) == 10
    assert calls_allowed(10, 25, 25) == 1


def test_a_budget_that_is_exceeded_lets_nobody_begin():
    assert calls_allowed(10, 26, 25) == 0
    assert calls_allowed(10, 1, 0) == 0


def test_where_no_budget_counts_any_more_all_run():
    assert calls_allowed(10, 9, None) == 10


@given(
    size=st.integers(1, 400),
    parallelism=st.integers(1, 60),
    allowed=st.integers(0, 60),
    bad=st.floats(0, 1),
    seed=st.integers(0, 10**6),
)
def test_never_more_fail_than_the_preview_says(size, parallelism, allowed, bad, seed):
    """Play a batch: begin what may begin, then let one of those under way end, good or bad."""
    chance = random.Random(seed)
    waiting, under_way, failed = size, 0, 0
    while True:
        room = calls_allowed(parallelism, failed, allowed) - under_way
        room += 0 if failed else claimed_ahead(parallelism)
        begun = min(waiting, max(0, room))
        waiting, under_way = waiting - begun, under_way + begun
        if not under_way:
            break
        under_way -= 1
        failed += chance.random() < bad
    assert failed <= most_failures(size, parallelism, allowed)
    assert failed > allowed or not waiting, "a batch within its budget was not called to its end"


def test_who_was_taken_back_unharmed_has_not_failed():
    counts = {"upgraded": 17, "rolled_back": 3}
    assert failures(counts, spared=2) == 1


def test_who_was_never_attempted_counts_neither_for_nor_against():
    counts = {"upgraded": 9, "rolled_back": 1, "excluded": 10}
    assert best_success_rate(counts, left_out=10) == 90
    assert best_success_rate(counts) == 45
    assert best_success_rate({"excluded": 4}, left_out=4) == 100
    assert failure_rate(1, 10) == 10
