"""Schedules of drills: agreed to once, run on their days, and loud when they do not run."""

from dataclasses import replace
from datetime import time, timedelta
from typing import Any

import pytest

from batches.drills import schedules
from batches.drills.schedules import NewSchedule, approve_schedule, make_schedule, run_due, switch
from batches.models import Alert, DrillSchedule, RollbackDrill
from plans.drafting.drafting import TenantChoice
from plans.models import Approval, Event, Plan, RoleBinding
from plans.refusal import BadInput, NotAllowed, Refused
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db
NIGHTLY = NewSchedule(
    name="nightly",
    deployer="fleet",
    plugin="pay",
    to_version="1.5.0",
    tenants=TenantChoice(keys=("acorn", "birch")),
    injects=("none", "hung_hook"),
    days=("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
    at=time(3, 0),
    timezone="Europe/Berlin",
)


def made(scene) -> DrillSchedule:
    return make_schedule(given=NIGHTLY, by=scene.mara, now=now(), via="page")


def agreed(scene) -> DrillSchedule:
    schedule = made(scene)
    for person in (scene.aram, scene.sona):
        approve_schedule(schedule_id=schedule.pk, by=person, comment="", now=now(), via="page")
    return schedule


def ended(drill: RollbackDrill) -> None:
    RollbackDrill.objects.filter(pk=drill.pk).update(
        ended_at=now(), outcome="passed", phase="ended"
    )


def test_at_its_time_a_drill_begins_under_the_standing_yes_of_its_approvers(scene):
    schedule = agreed(scene)
    due = schedule.next_at
    run_due(due - timedelta(seconds=1))
    assert not RollbackDrill.objects.exists()
    run_due(due)
    drill = RollbackDrill.objects.get()
    plan = Plan.objects.get(pk=drill.plan_id)
    assert (str(plan.state), drill.schedule, drill.inject) == ("approved", schedule, "none")
    yes = Approval.objects.filter(request__plan=plan)
    assert {(row.user, row.role, row.method) for row in yes} == {
        (scene.aram, "system_admin", "standing"),
        (scene.sona, "role_admin", "standing"),
    }
    assert all("standing approval of the drill schedule nightly" in row.comment for row in yes)
    # Looked at again in the same minute it is not due any more.
    run_due(due)
    assert RollbackDrill.objects.count() == 1


def test_the_faults_come_in_turn(scene):
    schedule = agreed(scene)
    seen = []
    for _turn in range(3):
        schedule = DrillSchedule.objects.get(pk=schedule.pk)
        run_due(schedule.next_at)
        drill = RollbackDrill.objects.filter(ended_at=None).get()
        seen.append(drill.inject)
        ended(drill)
    assert seen == ["none", "hung_hook", "none"]


def test_what_nobody_has_agreed_to_does_not_run_and_says_so(scene):
    schedule = made(scene)
    approve_schedule(schedule_id=schedule.pk, by=scene.aram, comment="", now=now(), via="page")
    run_due(schedule.next_at)
    schedule = DrillSchedule.objects.get()
    assert not Plan.objects.exists()
    assert schedule.problem == "It waits for role_admin to agree."
    assert Alert.objects.filter(kind="drill_not_run", resolved_at=None).count() == 1
    approve_schedule(schedule_id=schedule.pk, by=scene.sona, comment="", now=now(), via="page")
    run_due(schedule.next_at)
    assert DrillSchedule.objects.get().problem == ""
    assert not Alert.objects.filter(resolved_at=None).exists()


def test_an_approver_who_has_lost_the_role_says_yes_no_more(scene):
    schedule = agreed(scene)
    RoleBinding.objects.filter(user=scene.sona).delete()
    run_due(schedule.next_at)
    # Nothing of the run is kept.
    assert not Plan.objects.exists()
    assert "role_admin" in DrillSchedule.objects.get().problem


def test_a_drill_that_still_runs_is_not_run_beside_itself(scene):
    schedule = agreed(scene)
    run_due(schedule.next_at)
    run_due(DrillSchedule.objects.get().next_at)
    assert RollbackDrill.objects.count() == 1
    assert "not ended yet" in DrillSchedule.objects.get().problem


def test_who_made_it_may_not_agree_to_it_and_nobody_agrees_twice(scene):
    schedule = made(scene)
    ask: dict[str, Any] = {"schedule_id": schedule.pk, "comment": "", "now": now(), "via": "page"}
    RoleBinding.objects.create(user=scene.mara, kind=RoleBinding.APPROVAL, role="system_admin")
    with pytest.raises(NotAllowed, match="You made this schedule"):
        approve_schedule(by=scene.mara, **ask)
    approve_schedule(by=scene.aram, **ask)
    with pytest.raises(Refused, match="already"):
        approve_schedule(by=scene.aram, **ask)
    with pytest.raises(NotAllowed, match="do not hold such a role"):
        approve_schedule(by=scene.rita, **ask)


def test_switched_off_it_rests_and_on_again_it_waits_for_its_next_day(scene):
    schedule = agreed(scene)
    due = schedule.next_at
    ask: dict[str, Any] = {"schedule_id": schedule.pk, "by": scene.mara, "via": "page"}
    switch(on=False, now=now(), **ask)
    run_due(due)
    assert not RollbackDrill.objects.exists()
    switch(on=True, now=due, **ask)
    assert DrillSchedule.objects.get().next_at > due
    switch(on=True, now=due, **ask)
    kinds = Event.objects.filter(kind__startswith="drill_schedule_o").order_by("seq")
    assert list(kinds.values_list("kind", flat=True)) == ["drill_schedule_off", "drill_schedule_on"]


def test_run_now_needs_a_person_who_may_start(scene):
    schedule = agreed(scene)
    ask: dict[str, Any] = {"schedule_id": schedule.pk, "now": now(), "via": "page"}
    with pytest.raises(NotAllowed):
        schedules.run_now(by=scene.rita, **ask)
    drill = schedules.run_now(by=scene.olga, **ask)
    assert drill.schedule == schedule


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"deployer": "nowhere"}, "nowhere"),
        ({"to_version": "9.9"}, "9.9"),
        ({"tenants": TenantChoice(keys=("baobab",))}, "baobab"),
        ({"days": ()}, "days"),
        ({"injects": ()}, "injects"),
        ({"timezone": "Middle/Earth"}, "Middle/Earth"),
        ({"injects": ("earthquake",)}, "earthquake"),
    ],
)
def test_a_schedule_that_could_not_run_is_not_kept(scene, changes, word):
    with pytest.raises(BadInput) as refused:
        make_schedule(given=replace(NIGHTLY, **changes), by=scene.mara, now=now(), via="page")
    assert word in str(refused.value.problems)
    assert not DrillSchedule.objects.exists()


def test_a_name_is_taken_once(scene):
    made(scene)
    with pytest.raises(BadInput, match="already"):
        made(scene)
