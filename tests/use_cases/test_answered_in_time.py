"""A person who goes on with a plan in time is not overruled by a tick that began before."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from batches.models import Batch, Rollback, TenantUpgrade
from batches.rollback.rollback import request_rollback
from batches.rollout import control, settling
from plans import failpoints
from plans.models import Plan
from tests.builders import FOREST, a_started, called, check_invariants, kinds, passed
from tests.use_cases.watched_fleet import WatchedFleet, quick_policy
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def fleet(scene, settings, tmp_path) -> Iterator[WatchedFleet]:
    with WatchedFleet(settings, tmp_path, FOREST) as made:
        yield made


@pytest.fixture
def soaking(scene, fleet) -> Batch:
    """Return a batch that soaks for a long time."""
    policy = quick_policy().replace("soak_minutes: 0.002", "soak_minutes: 5")
    return fleet.until_batch(a_started(scene, policy=policy), "soaking")


@contextmanager
def between_decision_and_act(act) -> Iterator[list[str]]:
    """Let somebody act once after the watch has decided and before it acts."""
    done: list[str] = []

    def reached(point: str) -> None:
        if point == "watch.decided" and not done:
            done.append(point)
            act()

    old = failpoints.trap(reached)
    try:
        yield done
    finally:
        failpoints.trap(old)


def test_who_resumes_before_the_watch_acts_has_resumed(scene, fleet, soaking):
    plan = soaking.plan
    control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    Plan.objects.filter(pk=plan.pk).update(resume_by=now())

    def resume():
        control.resume(plan_id=plan.pk, by=scene.olga, now=now(), via="page")

    with between_decision_and_act(resume) as done:
        fleet.tick()
    fleet.tick(3)
    assert done
    assert str(Plan.objects.get(pk=plan.pk).state) == "running"
    assert not Rollback.objects.exists()
    check_invariants(plan)


def test_a_pause_of_its_own_has_a_time_of_its_own(scene, fleet, soaking):
    plan = soaking.plan
    control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    Plan.objects.filter(pk=plan.pk).update(resume_by=now())

    def resume_and_pause_again():
        control.resume(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
        control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")

    with between_decision_and_act(resume_and_pause_again):
        fleet.tick()
    fleet.tick(3)
    assert str(Plan.objects.get(pk=plan.pk).state) == "paused"
    assert kinds(plan).count("plan_paused") == 2
    assert not Rollback.objects.exists()


def test_who_releases_a_hold_before_the_watch_acts_has_released_it(scene, fleet, soaking):
    plan = soaking.plan
    control.hold(batch_id=soaking.pk, kind="missing_metrics", reason="no data", now=now())
    Batch.objects.filter(pk=soaking.pk).update(held_at=now() - timedelta(hours=2))

    def release():
        control.release_hold(plan_id=plan.pk, by=scene.olga, reason="seen", now=now(), via="page")

    with between_decision_and_act(release) as done:
        fleet.tick()
    fleet.tick(3)
    assert done
    assert str(Batch.objects.get(pk=soaking.pk).state) == "soaking"
    assert not Rollback.objects.exists()
    check_invariants(plan)


def test_when_nobody_answers_everybody_goes_back(scene, fleet, soaking):
    plan = soaking.plan
    control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    Plan.objects.filter(pk=plan.pk).update(resume_by=now())
    fleet.until_plan(plan, "rolled_back")
    assert Rollback.objects.get(plan=plan).trigger == "pause"


@pytest.fixture
def left_over(scene, fleet) -> TenantUpgrade:
    """Return a tenant that needs a person, of a plan of which nothing else is left to do."""
    limits = "failure_rate: 60, success_rate: 50"
    plan = a_started(scene, policy=quick_policy(limits=limits))
    passed(plan, 1)
    tenant = TenantUpgrade.objects.filter(batch=passed(plan, 2))[0]
    called(tenant.batch, "needs_hand", keys=[tenant.tenant_key])
    return tenant


def test_who_takes_a_plan_back_before_it_is_left_to_a_person_gets_it_back(scene, fleet, left_over):
    plan = left_over.plan

    def take_back():
        request_rollback(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")

    with between_decision_and_act(take_back) as done:
        fleet.tick()
    assert done
    fleet.until_plan(plan, "rolled_back")
    assert Rollback.objects.get(plan=plan).finished_at is not None
    check_invariants(plan)


def test_who_settles_the_last_tenant_before_the_plan_is_left_to_a_person_ends_it(
    scene, fleet, left_over
):
    plan = left_over.plan

    def settle():
        settling.settle(
            plan_id=plan.pk, tenant_keys=[left_over.tenant_key], outcome="upgraded",
            reason="seen", by=scene.olga, now=now(), via="page",
        )  # fmt: skip

    with between_decision_and_act(settle) as done:
        fleet.tick()
    assert done
    fleet.until_plan(plan, "completed")
