"""One worker of the hands calls the batches of several plans at once."""

from typing import Any

import pytest
from django.db import connections

from batches import tasks
from batches.deployers.simulated_deployer import (
    SimulatedDeployer,
    SimulatedFleet,
    SimulatedOptions,
)
from batches.effects import hands_loop
from batches.effects.loop import EffectLoop
from batches.models import Batch, DeployerCall, TenantUpgrade
from plans.models import Plan
from tests.builders import a_started, opened
from tests.web.api_scene import Scene

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> SimulatedFleet:
    """Return a fleet that the hands reach, slow enough for two batches to overlap."""
    made = SimulatedFleet(SimulatedOptions(version="1.0.0", latency_seconds=0.5))
    monkeypatch.setattr(
        hands_loop,
        "new_effect_loop",
        lambda: EffectLoop(
            build=lambda name: SimulatedDeployer("fleet", made, parallelism=20, expected_seconds=1)
        ),
    )
    return made


def a_batch(scene: Scene, *tenants: str) -> Batch:
    return opened(a_started(scene, keys=tenants, external_id="-".join(tenants)))


def spans(plan: Plan) -> tuple[Any, Any]:
    calls = DeployerCall.objects.filter(plan=plan).order_by("started_at")
    ends = [call.ended_at for call in calls if call.ended_at is not None]
    return calls[0].started_at, max(ends)


def test_a_busy_worker_joins_a_batch_that_is_handed_out_meanwhile(
    scene: Scene, fleet: SimulatedFleet
) -> None:
    first, second = a_batch(scene, "acorn", "birch"), a_batch(scene, "cedar", "elm")
    tasks.run_batch(first.pk)
    connections.close_all()
    for batch in (first, second):
        assert TenantUpgrade.objects.filter(batch=batch).counts() == {"upgraded": batch.size}
    began, _ended = spans(second.plan)
    _began, ended = spans(first.plan)
    assert began < ended


def test_fault_17_the_task_of_a_batch_that_was_joined_calls_nobody_again(
    scene: Scene, fleet: SimulatedFleet
) -> None:
    first, second = a_batch(scene, "acorn", "birch"), a_batch(scene, "cedar", "elm")
    tasks.run_batch(first.pk)
    before = len(fleet.log)
    tasks.run_batch(second.pk)
    connections.close_all()
    assert len(fleet.log) == before
