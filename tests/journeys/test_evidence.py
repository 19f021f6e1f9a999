"""A fault that no threshold sees, found in the running product by comparing with who waits."""

import json
from collections.abc import Iterator

import pytest

from tests.journeys.stack import GOOD, OLD, Stack, assert_nothing_doubled, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

POLICIES = """
policies:
  sees-more:
    description: "A limit of 5 %, and the evidence test beside it."
    batches:
      - {name: canary, percentage: 50, soak_minutes: 3}
      - {name: rest, percentage: 50, soak_minutes: 3}
    rollback_thresholds: {error_rate: 5}
    limits: {look_seconds: 1}
    evidence: {kpis: [error_rate], action: rollback}
approvals:
  default: {required_roles: [system_admin, role_admin], max_pending_minutes: 60}
"""
USUAL, WORSE = 0.005, 0.02
# What the recorder would have written in the five hours before: nobody waits that long here.
_RECORDED = """
import json, sys
import django
django.setup()
from datetime import timedelta
from django.utils import timezone
from batches.models import KpiRollup
from tests.use_cases.recorded_history import past
given = json.load(sys.stdin)
# The demonstration brings a past of its own.
KpiRollup.objects.filter(kpi="error_rate").delete()
rates = {tenant: (given["share"], 60.0) for tenant in given["tenants"]}
past(timezone.now() - timedelta(minutes=2), minutes=300, rates=rates)
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("evidence"), policies=POLICIES) as started:
        yield started


def test_two_percent_where_half_a_percent_is_usual_is_found_below_a_limit_of_five(stack):
    tenants = stack.take_tenants(12)
    remembered = json.dumps({"tenants": tenants, "share": USUAL})
    done = stack.beside("-c", _RECORDED, given=remembered)
    assert done.returncode == 0, done.stderr
    stack.turn(traffic=8, error_rates={OLD: USUAL, GOOD: WORSE}, latency_seconds=0.05)
    plan = stack.begin(tenants, policy="sees-more")

    stack.wait_for(plan, "rolled_back", seconds=150)

    rollback = stack.rollback(plan)
    assert rollback["trigger"] == "breach"
    assert "evidence 100 %" in rollback["sentence"]
    told = {rail["kpi"]: rail for rail in stack.snapshot(plan)["guardrails"]}
    assert told["error_rate"]["verdict"] != "breached"
    breached = stack.rows(
        "SELECT guardrail FROM batches_ruling WHERE verdict = 'breached' AND plan_id = ?",
        plan.replace("-", ""),
    )
    assert [row["guardrail"] for row in breached] == ["evidence"]
    assert set(stack.versions(tenants).values()) == {OLD}
    assert_nothing_doubled(stack, plan)
