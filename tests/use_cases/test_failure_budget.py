"""Calls in flight are capped by what the failure budget leaves: real failures cannot run away."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from batches.deployers.simulated_deployer import (
    Fault,
    SimulatedDeployer,
    SimulatedFleet,
    SimulatedOptions,
)
from batches.effects import execution, runs
from batches.effects.ledger_claims import Scope
from batches.effects.loop import EffectLoop
from batches.models import Batch, DeployerCall, TenantUpgrade
from batches.rollout import control
from batches.rollout.pacing import allowed_failures, most_failures
from plans.models import Tenant
from tests.builders import a_started, check_invariants, opened, policy_text
from tests.use_cases.test_ledger import moved, scope_of, start_of, using
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)
ONE_BATCH = "\n      - {name: all, percentage: 100, soak_minutes: 0}"
OAKS = tuple(f"oak-{number:02d}" for number in range(40))


def a_batch(scene, *, limits: str = "failure_rate: 10, parallelism: 10", n: int = 40) -> Batch:
    """Return a batch of oaks that waits for its calls: by the default 4 of 40 may fail."""
    Tenant.objects.bulk_create(Tenant(key=key) for key in OAKS[:n])
    policy = policy_text(
        batches=ONE_BATCH, more=f"limits: {{attempts: 1, call_timeout_seconds: 2, {limits}}}"
    )
    return opened(a_started(scene, policy=policy, keys=OAKS[:n]))


def budgeted(batch: Batch, allowed: int | None, **changes: Any) -> Scope:
    changes = {"batch_id": batch.pk, "parallelism": 10, "failures_allowed": allowed} | changes
    return scope_of(batch.plan, **changes)


def fail(batch: Batch, n: int) -> None:
    """Let n tenants have failed for good."""
    rows = TenantUpgrade.objects.filter(batch=batch, state="pending")[:n]
    TenantUpgrade.objects.filter(pk__in=[row.pk for row in rows]).update(
        state="failed", touched_at=now(), exhausted_at=now()
    )


def claims(scope: Scope, limit: int = 100) -> int:
    return len(using(scope, lambda one: one.claim_many(limit)))


def test_a_batch_without_a_failure_is_claimed_without_a_bound(scene):
    assert claims(budgeted(a_batch(scene), 4)) == 40


@pytest.mark.parametrize(
    ("failed", "allowed", "expected"),
    [(1, 4, 3), (3, 4, 1), (4, 4, 1), (5, 4, 0), (1, 0, 0), (1, 30, 10), (5, None, 35)],
)
def test_after_a_failure_no_more_is_claimed_than_the_budget_leaves(
    scene, failed, allowed, expected
):
    batch = a_batch(scene)
    fail(batch, failed)
    assert claims(budgeted(batch, allowed)) == expected


def test_those_under_way_count_against_what_is_left(scene):
    batch = a_batch(scene)

    async def work(one):
        first = await one.claim_many(3)
        await asyncio.to_thread(fail, batch, 1)
        none = await one.claim_many(10)
        (call,) = await one.begin_calls([start_of(first[0])])
        assert call is not None
        await one.record_many([moved(first[0], "confirm")])
        return len(first), len(none), len(await one.claim_many(10))

    assert using(budgeted(batch, 4), work) == (3, 0, 1)


def test_what_a_lost_executor_left_is_not_under_way(scene):
    batch = a_batch(scene)
    assert claims(budgeted(batch, 4), 3) == 3
    fail(batch, 1)
    assert claims(budgeted(batch, 4)) == 3


def test_over_the_budget_not_even_a_claimed_tenant_is_called(scene):
    batch = a_batch(scene)

    async def work(one):
        (task,) = await one.claim_many(1)
        await asyncio.to_thread(fail, batch, 5)
        return await one.begin_calls([start_of(task)])

    assert using(budgeted(batch, 4), work) == [None]
    assert not DeployerCall.objects.exists()


def run(batch: Batch, fleet: SimulatedFleet) -> None:
    """Call the batch once, as the hands do."""
    deployer = SimulatedDeployer("fleet", fleet, parallelism=100, expected_seconds=0.01)
    loop = EffectLoop(build=lambda name: deployer)
    asyncio.run(
        execution.call_batch(loop, batch_id=batch.pk, plan_id=batch.plan_id, executor="hands")
    )


def fleet_of(bad: tuple[str, ...] = ()) -> SimulatedFleet:
    fleet = SimulatedFleet(SimulatedOptions(version="1.0.0", latency_seconds=0.01))
    for tenant in bad:
        fleet.faults[tenant] = Fault("fail", directions=frozenset({"install"}))
    return fleet


def failed(batch: Batch) -> int:
    return TenantUpgrade.objects.filter(batch=batch, state="failed").count()


def test_when_everybody_fails_the_calls_stop_where_the_preview_says(scene):
    batch = a_batch(scene)
    run(batch, fleet_of(OAKS))
    assert 5 <= failed(batch) <= most_failures(40, 10, allowed_failures(40, 10)) == 15
    assert TenantUpgrade.objects.filter(batch=batch, state="pending").count() == 40 - failed(batch)
    check_invariants(batch.plan)


def test_a_budget_in_tenants_stops_a_large_batch_early(scene):
    batch = a_batch(scene, limits="failure_rate: 100, failures: 1, parallelism: 4")
    run(batch, fleet_of(OAKS))
    assert 2 <= failed(batch) <= most_failures(40, 4, 1) == 6


def test_within_the_budget_a_batch_is_called_to_its_end_in_one_run(scene):
    batch = a_batch(scene)
    run(batch, fleet_of(OAKS[:3]))
    assert failed(batch) == 3
    assert TenantUpgrade.objects.filter(batch=batch, state="upgraded").count() == 37
    check_invariants(batch.plan)


def test_what_a_person_let_pass_is_not_capped(scene):
    batch = a_batch(scene)
    control.acknowledge(batch_id=batch.pk, condition="failure_rate", now=now())
    run(batch, fleet_of(OAKS))
    assert failed(batch) == 40


def test_tenants_left_out_make_the_batch_and_its_budget_smaller(scene):
    batch = a_batch(scene)
    keeper: Any = SimpleNamespace(lost=False)
    forward = runs.prepare_forward(batch.pk, "hands", keeper)
    assert forward is not None
    assert forward.scope.failures_allowed == 4
    TenantUpgrade.objects.filter(tenant_key__in=OAKS[:20]).update(state="excluded")
    smaller = runs.prepare_forward(batch.pk, "hands", keeper)
    assert smaller is not None
    assert smaller.scope.failures_allowed == 2
