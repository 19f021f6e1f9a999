"""What a rehearsal is made of, and when it has passed; and when a schedule runs next."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.drills.faults import FaultyDeployer, with_fault
from batches.drills.rehearsal_policy import (
    INJECTS,
    Rehearsed,
    outcome_of,
    policy_name,
    policy_of_rehearsal,
    usable_kpi,
)
from batches.drills.times import DAYS, next_run
from batches.guardrails.measurement import measure
from batches.kpis.dictionary import KpiDefinition, resolve_guardrail
from batches.looks.kpi_points import GaugePoint, LookSample
from plans.policies.policy_yaml import parse_policy_file

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
RATE = KpiDefinition("error_rate", "ratio", "%", "lower", (0, 100))
OPEN = KpiDefinition("queue", "gauge", "count", "lower", None)
SHARE = KpiDefinition("pass_rate", "gauge", "%", "higher", (0, 100))
SLOW = KpiDefinition("latency_ms", "histogram", "ms", "lower", None)


@pytest.mark.parametrize("inject", INJECTS)
def test_each_policy_is_one_that_the_console_takes(inject):
    text = policy_of_rehearsal(inject, kpi=RATE, roles=("a", "b"), max_pending_minutes=60)
    file = parse_policy_file(text)
    policy = file.policies[policy_name(inject)]
    assert policy.approvals == "drill"
    assert file.approvals["drill"].required_roles == ("a", "b")
    assert policy.rollback.watch_after_minutes == 0
    assert bool(policy.guardrails) == (inject == "breach")
    assert ("error_rate" in policy.watched_kpis) == (inject in {"breach", "missing_metric"})


@pytest.mark.parametrize("kpi", [OPEN, SHARE], ids=["no range", "higher is better"])
@given(value=st.floats(0.01, 100))
def test_no_value_worth_having_keeps_the_limit_of_a_breach(kpi, value):
    text = policy_of_rehearsal("breach", kpi=kpi, roles=("a",), max_pending_minutes=60)
    (rule,) = parse_policy_file(text).policies[policy_name("breach")].guardrails
    guardrail = resolve_guardrail(rule, kpi)
    look = LookSample(kpi.name, NOW, canary={"acorn": GaugePoint(value)})
    assert measure(guardrail, kpi, [look], canary=1, now=NOW).outcome == "failed"


def test_a_limit_within_the_range_of_a_ratio_is_taken():
    text = policy_of_rehearsal("breach", kpi=RATE, roles=("a",), max_pending_minutes=60)
    (rule,) = parse_policy_file(text).policies[policy_name("breach")].guardrails
    assert resolve_guardrail(rule, RATE).at_least == 100


def test_the_first_ratio_is_taken_before_a_gauge_and_never_a_histogram():
    assert usable_kpi([SLOW, OPEN, RATE]) == RATE
    assert usable_kpi([SLOW, OPEN]) == OPEN
    assert usable_kpi([SLOW]) is None


GOOD = Rehearsed("breach", "rolled_back", True, "breach", 41.0, 180.0, restored=2, rolled_back=True)


def test_a_rehearsal_that_was_found_out_and_is_back_in_time_has_passed():
    assert outcome_of(GOOD) == (
        "passed",
        "Drill (breach) passed: 2 tenants back 41.0 s after the trigger.",
    )
    assert outcome_of(replace(GOOD, inject="none"))[1].startswith("Drill (no fault)")


@pytest.mark.parametrize(
    ("changes", "outcome", "word"),
    [
        ({"seconds": 181.0}, "failed", "181.0 s instead of 180 s"),
        ({"seconds": None}, "failed", "no end"),
        ({"missed": True}, "failed", "instead of 180 s"),
        ({"needs_hand": 1}, "failed", "1 tenant could not be taken back"),
        ({"trigger": "drill"}, "failed", "did not find it out by itself"),
        ({"restored": 0}, "failed", "no tenant was restored"),
        ({"injected": False}, "failed", "the fault never happened"),
        ({"state": "rejected", "rolled_back": False}, "cut_short", "rejected"),
        ({"state": "completed", "rolled_back": False}, "failed", "nothing was taken back"),
        ({"state": "stopped", "rolled_back": False}, "failed", "nothing was taken back"),
    ],
)
def test_anything_else_says_what_was_wrong(changes, outcome, word):
    found, sentence = outcome_of(replace(GOOD, **changes))
    assert found == outcome
    assert word in sentence


@pytest.mark.parametrize("state", ["awaiting_approval", "approved", "running", "rolling_back"])
def test_a_rehearsal_that_goes_on_has_no_outcome(state):
    assert outcome_of(replace(GOOD, state=state, rolled_back=False)) == ("", "")


def test_no_other_job_gets_anything_but_its_own_deployer():
    deployer: Any = object()
    assert with_fault(deployer, "", asyncio.sleep) is deployer


async def test_a_killed_worker_dies_before_anything_is_sent():
    died = []

    class Sent(Exception):
        pass

    class Behind:
        name, parallelism, expected_seconds = "fleet", 1, 1.0

        async def install(self, order, *, timeout):
            raise Sent

    behind: Any = Behind()
    order: Any = None
    deployer = FaultyDeployer(behind, "killed_worker", asyncio.sleep, die=lambda: died.append(1))
    with pytest.raises(Sent):
        await deployer.install(order, timeout=1)
    assert died == [1]


@given(
    days=st.sets(st.sampled_from(DAYS), min_size=1),
    at=st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Shanghai", "America/New_York"]),
    minutes=st.integers(0, 60 * 24 * 400),
)
def test_the_next_run_is_later_within_eight_days_and_on_a_chosen_day(days, at, zone, minutes):
    after = NOW + timedelta(minutes=minutes)
    found = next_run(days, at, zone, after=after)
    assert after < found <= after + timedelta(days=8, hours=1)
    assert next_run(days, at, zone, after=found) > found


def test_a_time_is_the_wall_time_of_its_zone():
    # A Monday, 10:00 in Berlin.
    assert next_run({"mon"}, time(10, 30), "Europe/Berlin", after=NOW) == NOW + timedelta(
        minutes=30
    )
    assert next_run({"mon"}, time(10, 0), "Europe/Berlin", after=NOW) == NOW + timedelta(days=7)
