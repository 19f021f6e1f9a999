"""Starting a plan, and I1: a tenant is in one live plan of a plugin at most."""

from datetime import timedelta

import pytest

from batches.models import Batch, TenantUpgrade
from batches.rollback import ending, rollback
from batches.rollout import control, launch, progress
from batches.rollout.stopping import stop_here
from plans import flags
from plans.models import Plan, PlanTenant, Tenant
from plans.refusal import NotAllowed
from plans.releases.registering import ReleaseNotTrusted, revoke_key
from tests.builders import (
    a_started,
    an_approved,
    called,
    kinds,
    opened,
    passed,
    policy_text,
    states,
)
from tests.web.api_scene import now


def start(scene, plan):
    return launch.start(plan_id=plan.pk, by=scene.olga, now=now(), via="page")


def test_a_start_makes_the_batches_and_reserves_the_tenants(scene):
    plan = a_started(scene)
    assert str(plan.state) == "running"
    sizes = dict(Batch.objects.filter(plan=plan).values_list("name", "size"))
    assert sizes == {"canary": 2, "rest": 4}
    assert set(states(plan).values()) == {"pending"}
    assert PlanTenant.objects.filter(plan=plan, reserved=True).count() == 6


def test_fault_30_labels_that_changed_after_the_approval_do_not_change_the_batches(scene):
    three = """
      - {name: one, percentage: 30, soak_minutes: 1}
      - {name: two, percentage: 30, soak_minutes: 2}
      - {name: three, percentage: 40, soak_minutes: 3}"""
    rule = policy_text(batches=three, more="selection: {exclude: [{tier: gold}]}")
    plan = an_approved(scene, policy=rule, keys=("acorn", "birch", "cedar"))
    Tenant.objects.filter(key="birch").update(labels={"tier": "gold"})
    start(scene, plan)
    made = Batch.objects.filter(plan=plan).order_by("number").values_list("name", "size")
    assert list(made) == [("one", 1), ("two", 1), ("three", 1)]


def test_the_loser_is_told_which_plan_holds_the_tenant(scene):
    a_started(scene, keys=("acorn", "birch"))
    other = an_approved(scene, keys=("birch", "cedar"), external_id="pay-8")
    with pytest.raises(launch.TenantsTaken, match=r"birch is being upgraded by plan pay-7"):
        start(scene, other)
    assert not PlanTenant.objects.filter(plan=other, reserved=True).exists()
    assert not TenantUpgrade.objects.filter(plan=other).exists()
    assert str(Plan.objects.get(pk=other.pk).state) == "approved"


def test_plans_over_other_tenants_run_side_by_side(scene):
    a_started(scene, keys=("acorn", "birch"))
    other = a_started(scene, keys=("cedar", "dogwood"), external_id="pay-8")
    assert str(other.state) == "running"


def test_a_completed_plan_frees_its_tenants(scene):
    plan = a_started(scene, keys=("acorn", "birch"))
    passed(plan, 1)
    passed(plan, 2)
    progress.complete(plan_id=plan.pk, now=now())
    other = a_started(scene, keys=("acorn", "birch"), external_id="pay-8")
    assert str(other.state) == "running"


def test_a_plan_that_was_taken_back_frees_its_tenants(scene):
    plan = a_started(scene, keys=("acorn", "birch"))
    called(opened(plan))
    record = rollback.request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page"
    )
    TenantUpgrade.objects.filter(plan=plan, state="upgraded").update(
        state="rolled_back", restored_at=now(), observed_at=now()
    )
    assert PlanTenant.objects.filter(plan=plan, reserved=True).exists()
    ending.finish(rollback_id=record.pk, now=now())
    assert not PlanTenant.objects.filter(plan=plan, reserved=True).exists()


def test_a_plan_that_needs_a_hand_keeps_its_tenants(scene):
    plan = a_started(scene, keys=("acorn", "birch"))
    passed(plan)
    called(opened(plan, 2), "needs_hand")
    progress.need_a_hand(plan_id=plan.pk, now=now())
    other = an_approved(scene, keys=("acorn",), external_id="pay-8")
    with pytest.raises(launch.TenantsTaken, match="needs_hand"):
        start(scene, other)


def test_nothing_starts_while_the_switch_is_off(scene):
    plan = an_approved(scene)
    flags.turn(name=flags.ORCHESTRATOR, on=False, reason="", by=scene.ada, now=now(), via="page")
    with pytest.raises(launch.NotYet, match="is off"):
        start(scene, plan)
    assert str(Plan.objects.get().state) == "approved"


def test_nothing_starts_before_its_time(scene):
    plan = an_approved(scene)
    Plan.objects.update(not_before=now() + timedelta(hours=1))
    with pytest.raises(launch.NotYet, match="not before"):
        start(scene, plan)


def test_nothing_starts_outside_its_window(scene):
    days = "[mon, tue, wed, thu, fri, sat, sun]"
    closed = f'windows: [{{kind: deny, days: {days}, from: "00:00", to: "00:00", timezone: UTC}}]'
    plan = an_approved(scene, policy=policy_text(more=closed))
    with pytest.raises(launch.NotYet):
        start(scene, plan)
    assert not Batch.objects.exists()


def test_nothing_starts_whose_first_batch_could_not_be_taken_back_in_time(scene):
    slow = policy_text(more="limits: {call_timeout_seconds: 45, parallelism: 1}")
    plan = an_approved(scene, policy=slow)
    with pytest.raises(launch.NotYet, match="exceeds the 120 s") as refused:
        start(scene, plan)
    assert refused.value.code == "quote_exceeds_limit"
    assert not PlanTenant.objects.filter(reserved=True).exists()


def test_nothing_starts_with_a_release_that_is_not_trusted_any_more(scene):
    plan = an_approved(scene)
    revoke_key(key_id=scene.key.key_id, reason="leaked", by=None, now=now(), via="command")
    with pytest.raises(ReleaseNotTrusted):
        start(scene, plan)


def test_an_approver_does_not_start(scene):
    plan = an_approved(scene)
    with pytest.raises(NotAllowed, match="start plans"):
        launch.start(plan_id=plan.pk, by=scene.aram, now=now(), via="page")


def test_a_start_and_a_batch_are_told_in_the_trail(scene):
    plan = a_started(scene)
    opened(plan)
    assert kinds(plan)[-2:] == ["plan_started", "batch_opened"]


# A plan that has ended has let its tenants go; a rollback takes back what it needs.


def completed(scene, keys=("acorn", "birch"), **choice):
    plan = a_started(scene, keys=keys, **choice)
    passed(plan, 1)
    passed(plan, 2)
    return progress.complete(plan_id=plan.pk, now=now())


def reserved_by(plan) -> set[str]:
    held = PlanTenant.objects.filter(plan=plan, reserved=True)
    return set(held.values_list("tenant__key", flat=True))


def taken_back(scene, plan, **more):
    return rollback.request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page", **more
    )


def all_are_back(plan) -> None:
    TenantUpgrade.objects.filter(plan=plan, state="upgraded").update(
        state="rolled_back", restored_at=now(), observed_at=now()
    )


def test_nobody_else_starts_on_tenants_that_a_completed_plan_takes_back(scene):
    plan = completed(scene)
    record = taken_back(scene, plan)
    assert reserved_by(plan) == {"acorn", "birch"}
    other = an_approved(scene, keys=("birch", "cedar"), external_id="pay-8")
    with pytest.raises(launch.TenantsTaken, match=r"pay-7 \(rolling_back\)"):
        start(scene, other)
    all_are_back(plan)
    ending.finish(rollback_id=record.pk, now=now())
    assert reserved_by(plan) == set()
    assert str(start(scene, other).state) == "running"


def test_a_part_of_a_completed_plan_that_went_back_stays_reserved_until_a_person_has_chosen(scene):
    plan = completed(scene)
    record = taken_back(scene, plan, tenants=["birch"])
    assert reserved_by(plan) == {"birch"}
    TenantUpgrade.objects.filter(plan=plan, tenant_key="birch").update(
        state="rolled_back", restored_at=now(), observed_at=now()
    )
    ending.finish(rollback_id=record.pk, now=now())
    assert (str(Plan.objects.get(pk=plan.pk).state), reserved_by(plan)) == ("paused", {"birch"})
    control.resume(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    ended = progress.complete(plan_id=plan.pk, now=now())
    assert (str(ended.state), reserved_by(plan)) == ("completed", set())


def test_a_rollback_takes_no_tenant_from_a_plan_that_has_it_by_now(scene):
    plan = completed(scene)
    other = a_started(scene, keys=("birch",), external_id="pay-8")
    record = taken_back(scene, plan)
    assert (reserved_by(plan), reserved_by(other)) == ({"acorn"}, {"birch"})
    assert record.touched == 2


def test_a_part_of_a_stopped_plan_that_went_back_leaves_it_stopped(scene):
    plan = a_started(scene, keys=("acorn", "birch"))
    called(opened(plan))
    stop_here(plan_id=plan.pk, reason="enough", by=scene.olga, now=now(), via="page")
    record = taken_back(scene, plan, scope="batch")
    all_are_back(plan)
    ending.finish(rollback_id=record.pk, now=now())
    control.resume(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    ended = progress.complete(plan_id=plan.pk, now=now())
    assert str(ended.state) == "stopped"
    assert kinds(plan)[-1] == "plan_stopped_here"
