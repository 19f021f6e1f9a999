"""Rehearsals of a rollback: a plan of its own that must come back by itself."""

from collections.abc import Iterator
from typing import Any

import pytest

from batches.decisions import decide_forward
from batches.drills import rehearsing
from batches.drills.rehearsing import Wanted, begin_rehearsal
from batches.models import DeployerCall, Rollback, RollbackDrill
from batches.rollout.success_rate import success_rates
from plans.approvals import approval
from plans.drafting.drafting import TenantChoice
from plans.models import Plan
from plans.refusal import BadInput, NotAllowed
from tests.builders import FOREST, a_started, check_invariants, kinds, states
from tests.use_cases.watched_fleet import WatchedFleet, quick_policy
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)
WHO = ("acorn", "birch")


@pytest.fixture
def fleet(scene, settings, tmp_path, monkeypatch) -> Iterator[WatchedFleet]:
    """Return a watch that does the hands' work at once, over acorn to fir."""
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    with WatchedFleet(settings, tmp_path, FOREST) as made:
        yield made


@pytest.fixture
def quick(monkeypatch) -> None:
    """Let a rehearsal look and call in fractions of a second; its rules stay."""
    made = rehearsing.policy_of_rehearsal

    def quicker(*args, **kwargs):
        text = made(*args, **kwargs)
        return text.replace(
            "missing_metrics_minutes: 0.5, call_timeout_seconds: 15",
            "missing_metrics_minutes: 0.005, call_timeout_seconds: 0.5, look_seconds: 0.1",
        ).replace("window: 30s", "window: 3s")

    monkeypatch.setattr(rehearsing, "policy_of_rehearsal", quicker)


def wanted(inject: str = "none", **changes) -> Wanted:
    given: dict[str, Any] = {
        "deployer": "fleet",
        "plugin": "pay",
        "to_version": "1.5.0",
        "tenants": TenantChoice(keys=WHO),
        "inject": inject,
    } | changes
    return Wanted(**given)


def rehearse(scene, inject: str = "none") -> RollbackDrill:
    drill = begin_rehearsal(wanted=wanted(inject), by=scene.mara, now=now(), via="page")
    for approver in (scene.aram, scene.sona):
        approval.approve(plan_id=drill.plan_id, approver=approver, now=now(), via="page")
    return drill


def until_ended(fleet: WatchedFleet, drill: RollbackDrill) -> RollbackDrill:
    fleet.until(lambda: RollbackDrill.objects.filter(pk=drill.pk).exclude(outcome="").exists(), 25)
    return RollbackDrill.objects.get(pk=drill.pk)


@pytest.mark.parametrize(
    ("inject", "trigger"),
    [
        ("none", "drill"),
        ("breach", "breach"),
        ("missing_metric", "missing_metrics"),
        ("hung_hook", "drill"),
    ],
)
@pytest.mark.usefixtures("quick")
def test_a_rehearsal_comes_back_by_itself(scene, fleet, inject, trigger):
    drill = until_ended(fleet, rehearse(scene, inject))
    assert (drill.outcome, drill.phase) == ("passed", "ended"), drill.sentence
    rollback = Rollback.objects.get(plan=drill.plan_id)
    assert (rollback.trigger, rollback.by, rollback.restored) == (trigger, None, 2)
    assert drill.seconds == rollback.seconds() < drill.limit_seconds
    assert fleet.versions(FOREST) == {"1.0.0"}
    # The release was really on the tenants before.
    installs = DeployerCall.objects.filter(plan=drill.plan_id, direction="install", outcome="ok")
    assert installs.count() == 2
    assert "drill_passed" in kinds(drill.plan)
    check_invariants(drill.plan)


@pytest.mark.usefixtures("quick")
def test_a_hung_hook_hangs_once_and_only_in_the_rehearsal(scene, fleet):
    drill = until_ended(fleet, rehearse(scene, "hung_hook"))
    unknown = DeployerCall.objects.filter(direction="restore", outcome="unknown")
    assert [call.plan_id for call in unknown] == [drill.plan_id]
    assert "made to hang by the drill" in unknown.get().answer


@pytest.mark.usefixtures("quick")
def test_missing_data_of_a_rehearsal_is_missing_nowhere_else(scene, fleet):
    other = a_started(scene, policy=quick_policy(), keys=("cedar", "dogwood"))
    drill = rehearse(scene, "missing_metric")
    fleet.until_plan(other, "completed")
    assert until_ended(fleet, drill).outcome == "passed"
    assert not other.samples.filter(ok=False).exists()


@pytest.mark.usefixtures("quick")
def test_a_rehearsal_is_no_failure_of_the_plugin(scene, fleet):
    until_ended(fleet, rehearse(scene))
    assert success_rates(now()) == {}


def test_nothing_begins_before_the_approvers_have_agreed(scene, fleet):
    drill = begin_rehearsal(wanted=wanted(), by=scene.mara, now=now(), via="page")
    fleet.tick(5)
    assert str(Plan.objects.get(pk=drill.plan_id).state) == "awaiting_approval"
    assert set(states(drill.plan).values()) <= {"pending"}
    approval.reject(
        plan_id=drill.plan_id, approver=scene.aram, reason="not today", now=now(), via="page"
    )
    drill = until_ended(fleet, drill)
    assert (drill.outcome, drill.seconds) == ("cut_short", None)
    assert "did not take place" in drill.sentence


@pytest.mark.usefixtures("quick")
def test_a_fleet_that_does_not_come_back_fails_the_drill(scene, fleet):
    drill = rehearse(scene)
    fleet.fault("acorn", "refuse", directions=frozenset({"restore"}))
    drill = until_ended(fleet, drill)
    assert drill.outcome == "failed"
    assert "1 tenant could not be taken back" in drill.sentence


@pytest.mark.usefixtures("quick")
def test_a_worker_dies_once_and_only_where_nobody_else_hangs_on_it(scene, fleet):
    plan = Plan.objects.get(pk=rehearse(scene, "killed_worker").plan_id)
    ask: dict[str, Any] = {"direction": "install", "now": now()}
    assert rehearsing.fault_of(plan, executor="watch", **ask) == ""
    other = a_started(scene, policy=quick_policy(), keys=("cedar",))
    row = other.batches.first()
    row.move("open")
    row.save()
    assert rehearsing.fault_of(plan, executor="hands", **ask) == ""
    row.move("settle_calls")
    row.save()
    assert rehearsing.fault_of(plan, executor="hands", **ask) == "killed_worker"
    assert rehearsing.fault_of(plan, executor="hands", **ask) == ""
    assert rehearsing.fault_of(other, executor="hands", **ask) == ""


def test_who_may_not_draft_may_not_drill(scene, fleet):
    with pytest.raises(NotAllowed):
        begin_rehearsal(wanted=wanted(), by=scene.olga, now=now(), via="page")
    assert not RollbackDrill.objects.exists()
    assert not Plan.objects.exists()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"inject": "earthquake"}, "earthquake"),
        ({"deployer": "nowhere"}, "nowhere"),
        ({"to_version": "9.9"}, "9.9"),
        ({"tenants": TenantChoice(keys=("baobab",))}, "baobab"),
    ],
)
def test_what_cannot_be_rehearsed_is_refused_and_nothing_is_kept(scene, fleet, changes, word):
    with pytest.raises(BadInput) as refused:
        begin_rehearsal(wanted=wanted(**changes), by=scene.mara, now=now(), via="page")
    assert word in str(refused.value.problems)
    assert not RollbackDrill.objects.exists()
    assert not Plan.objects.exists()
