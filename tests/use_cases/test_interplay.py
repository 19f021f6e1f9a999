"""Two things at once: rollbacks of a part, retries, openings, drills and changes of a plan meet."""

from datetime import datetime, timedelta

import pytest

from batches.adjust.batches import standing_of
from batches.alerting import alerts
from batches.break_glass import offline
from batches.break_glass.offline_file import Touched
from batches.decisions.plan_facts import plan_facts
from batches.drills import drilling
from batches.effects.runs import _failures_allowed as failures_allowed
from batches.models import Alert, Batch, Rollback, RollbackDrill, TenantUpgrade
from batches.rollback import ending, rollback
from batches.rollout import control, launch, leaving_out, retrying, settling, waiting
from batches.rollout.stopping import stop_here
from batches.rollout.success_rate import alert_below
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Plan, PlanTenant
from plans.openings.freezing import declare_freeze
from plans.refusal import BadInput
from tests.builders import (
    FOREST,
    a_started,
    called,
    opened,
    passed,
    soaking,
    states,
    tenants,
)
from tests.use_cases.adjusted import change, three_waves
from tests.use_cases.watched_fleet import WatchedFleet
from tests.web.api_scene import now

FOUR = """
      - {name: b1, percentage: 20, soak_minutes: 1}
      - {name: b2, percentage: 20, soak_minutes: 1}
      - {name: b3, percentage: 20, soak_minutes: 1}
      - {name: b4, percentage: 40, soak_minutes: 3}"""

HALF = """
      - {name: half, percentage: 50, soak_minutes: 1}
      - {name: rest, percentage: 50, soak_minutes: 1}"""


@pytest.fixture
def plan(scene) -> Plan:
    tenants(*FOREST)
    return a_started(scene, policy=three_waves())


def fresh(plan: Plan) -> Plan:
    return Plan.objects.select_related("release", "plugin").get(pk=plan.pk)


def batch_of(plan: Plan, number: int = 1) -> Batch:
    return Batch.objects.get(plan=plan, number=number)


def facts_of(plan: Plan, at):
    return plan_facts(fresh(plan), policy_of(current_revision(plan)), at)


def take_back(scene, plan: Plan, *, at=None, **part) -> Rollback:
    return rollback.request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="odd", now=at or now(), via="page", **part
    )


def is_back(plan: Plan, *, at=None, **rows) -> Plan:
    """Let the effect loop's work be done and the rollback end."""
    open_one = rollback.open_rollback(plan)
    assert open_one is not None
    rollback.in_scope(open_one).touched().filter(
        **rows, state__in=("upgraded", "restoring", "unknown", "needs_hand", "upgrading")
    ).update(state="rolled_back", restored_at=at or now(), observed_at=at or now())
    return ending.finish(rollback_id=open_one.pk, now=at or now())


def keys_of(plan: Plan, number: int = 1) -> list[str]:
    rows = TenantUpgrade.objects.filter(plan=plan, batch__number=number)
    return list(rows.values_list("tenant_key", flat=True))


def test_a_soak_stands_still_while_some_of_its_tenants_go_back_and_the_plan_waits(scene, plan):
    batch = soaking(plan)
    began = batch.soak_counted_at
    assert isinstance(began, datetime)
    take_back(scene, plan, at=began + timedelta(seconds=20), tenants=keys_of(plan)[:1])
    is_back(plan, at=began + timedelta(seconds=30))
    assert str(fresh(plan).state) == "paused"
    later = began + timedelta(hours=5)
    control.resume(plan_id=plan.pk, by=scene.olga, now=later, via="page")
    facts = facts_of(plan, later)
    assert facts.live is not None
    assert facts.live.soak_left == pytest.approx(batch.soak_seconds - 20, abs=0.1)


def test_the_batch_that_goes_back_is_the_one_that_began_again(scene, plan):
    passed(plan)
    passed(plan, 2)
    first = batch_of(plan)
    TenantUpgrade.objects.filter(batch=first).update(
        state="rolled_back", set_aside="quarantined", exhausted_at=now()
    )
    retrying.retry(plan_id=plan.pk, by=scene.olga, now=now(), via="page", batch_number=1)
    retrying.reopen_batch(batch_id=first.pk, now=now())
    assert take_back(scene, plan, scope="batch").batch == first
    assert str(batch_of(plan, 2).state) == "passed"


def test_a_batch_that_begins_again_has_waited_for_no_opening_yet(scene, plan):
    batch = opened(plan)
    waiting.wait_for_opening(batch_id=batch.pk, why="frozen", now=now())
    TenantUpgrade.objects.filter(batch=batch).update(state="upgraded", touched_at=now())
    Batch.objects.filter(pk=batch.pk).update(waited_seconds=8 * 3600)
    take_back(scene, plan, scope="batch")
    is_back(plan)
    assert batch_of(plan).waits_since is None
    control.resume(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    retrying.retry(plan_id=plan.pk, by=scene.olga, now=now(), via="page", batch_number=1)
    again = retrying.reopen_batch(batch_id=batch.pk, now=now())
    assert (again.waits_since, again.waited_seconds) == (None, 0)
    live = facts_of(plan, now()).live
    assert live is not None
    assert live.calling_since == again.calling_since


def test_a_freeze_over_a_batch_that_is_to_begin_again_keeps_it_from_that(scene, plan):
    passed(plan)
    key = keys_of(plan)[0]
    TenantUpgrade.objects.filter(plan=plan, tenant_key=key).update(
        state="rolled_back", set_aside="quarantined", exhausted_at=now()
    )
    others = keys_of(plan, 2)
    retrying.retry(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    declare_freeze(name="a", reason="r", tenants=others, by=scene.olga, now=now(), via="page")
    assert facts_of(plan, now()).window_open
    declare_freeze(name="b", reason="r", tenants=[key], by=scene.olga, now=now(), via="page")
    facts = facts_of(plan, now())
    assert facts.to_reopen is not None
    assert not facts.window_open


def test_shares_behind_a_skipped_batch_change_and_those_before_it_stay(scene):
    tenants(*FOREST, *(f"t{n:02d}" for n in range(14)))
    plan = a_started(scene, policy=three_waves(batches=FOUR))
    passed(plan)
    leaving_out.skip_batch(
        plan_id=plan.pk, batch_number=3, reason="later", by=scene.olga, now=now(), via="page"
    )
    before = {number: keys_of(plan, number) for number in (1, 2, 3, 4)}
    assert standing_of(plan).begun == 3
    with pytest.raises(BadInput, match="stands in front of a skipped batch"):
        change(scene, plan, batches={"b2": {"percentage": 10}, "b4": {"percentage": 50}})
    change(
        scene,
        plan,
        batches={"b4": {"percentage": 20}, "b5": {"percentage": 20, "soak_minutes": 3}},
    )
    assert {number: keys_of(plan, number) for number in (1, 2, 3)} == {
        number: before[number] for number in (1, 2, 3)
    }
    assert keys_of(plan, 4) + keys_of(plan, 5) == before[4]
    assert [str(batch_of(plan, n).state) for n in (1, 2, 3, 4, 5)] == [
        "passed",
        "pending",
        "skipped",
        "pending",
        "pending",
    ]
    for batch in Batch.objects.filter(plan=plan):
        assert batch.size == len(keys_of(plan, batch.number))


@pytest.fixture
def drilled(scene) -> Plan:
    """Return a plan whose drill takes a tenant of its first batch back right now."""
    tenants(*FOREST)
    policy = three_waves(batches=HALF, more="rollback: {drill: true}")
    plan = a_started(scene, policy=policy)
    batch = soaking(plan)
    drill = drilling.begin_plan_drill(batch_id=batch.pk, now=now())
    TenantUpgrade.objects.filter(plan=plan, tenant_key=drill.tenants[0]).update(state="restoring")
    return plan


def test_a_drill_goes_on_after_others_were_taken_back(scene, drilled):
    drill = RollbackDrill.objects.get(plan=drilled)
    other = next(key for key in keys_of(drilled) if key not in drill.tenants)
    take_back(scene, drilled, tenants=[other])
    is_back(drilled)
    control.resume(plan_id=drilled.pk, by=scene.olga, now=now(), via="page")
    step = facts_of(drilled, now()).drill
    assert step is not None
    assert (step.step, step.pk) == ("run", str(drill.pk))


def test_a_rollback_of_the_drilled_tenant_ends_its_drill(scene, drilled):
    drill = RollbackDrill.objects.get(plan=drilled)
    take_back(scene, drilled, tenants=drill.tenants)
    drill.refresh_from_db()
    assert drill.outcome == "cut_short"


def test_a_plan_that_is_stopped_in_a_drill_gives_its_tenant_to_a_person(scene, drilled):
    stop_here(plan_id=drilled.pk, reason="enough", by=scene.olga, now=now(), via="page")
    drill = RollbackDrill.objects.get(plan=drilled)
    assert (drill.outcome, drill.phase) == ("cut_short", "ended")
    assert "stopped where it stands" in drill.sentence
    assert states(drilled)[drill.tenants[0]] == "needs_hand"
    assert not drilling.under_drill()


def test_who_is_unknown_and_may_be_called_again_lets_an_ended_batch_begin_again(scene, plan):
    batch = passed(plan)
    TenantUpgrade.objects.filter(batch=batch).update(state="unknown", exhausted_at=None)
    assert facts_of(plan, now()).to_reopen is not None
    assert str(retrying.reopen_batch(batch_id=batch.pk, now=now()).state) == "deploying"


def test_a_batch_whose_last_tenant_was_taken_back_at_another_try_needs_no_hand_any_more(
    scene, plan
):
    batch = opened(plan)
    called(batch, "needs_hand")
    stop_here(plan_id=plan.pk, reason="enough", by=scene.olga, now=now(), via="page")
    assert str(batch_of(plan).state) == "needs_hand"
    settling.retry_needs_hand(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    is_back(plan)
    assert str(batch_of(plan).state) == "rolled_back"


def test_a_batch_that_is_brought_back_takes_nobody_from_another_plan(scene, plan):
    passed(plan)
    leaving_out.skip_batch(
        plan_id=plan.pk, batch_number=3, reason="later", by=scene.olga, now=now(), via="page"
    )
    # As after it had ended and a part of it went back: its tenants were let go.
    PlanTenant.objects.filter(plan=plan).update(reserved=False)
    key = keys_of(plan, 3)[0]
    other = a_started(scene, external_id="pay-8", keys=(key,))
    with pytest.raises(launch.TenantsTaken, match="pay-8"):
        leaving_out.unskip_batch(
            plan_id=plan.pk, batch_number=3, by=scene.olga, now=now(), via="page"
        )
    assert str(batch_of(plan, 3).state) == "skipped"
    PlanTenant.objects.filter(plan=other).update(reserved=False)
    leaving_out.unskip_batch(plan_id=plan.pk, batch_number=3, by=scene.olga, now=now(), via="page")
    assert PlanTenant.objects.get(plan=plan, tenant__key=key).reserved


def test_a_failed_drill_uses_up_nothing_of_the_batch_s_budget(scene, drilled):
    batch = batch_of(drilled)
    allowed = failures_allowed(batch)
    drill = RollbackDrill.objects.get(plan=drilled)
    TenantUpgrade.objects.filter(plan=drilled, tenant_key=drill.tenants[0]).update(
        state="needs_hand", exhausted_at=now()
    )
    drilling.advance(drill_id=drill.pk, step="lost", why="it hangs", now=now())
    assert failures_allowed(batch) == allowed + 1


def test_a_wider_rollback_counts_who_is_on_the_way_back_already(scene, plan):
    passed(plan)
    soaking(plan, 2)
    touched = len(keys_of(plan)) + len(keys_of(plan, 2))
    take_back(scene, plan, scope="batch")
    TenantUpgrade.objects.filter(plan=plan, batch__number=2).update(state="restoring")
    assert take_back(scene, plan, scope="plan").touched == touched


def test_a_rate_that_is_not_there_any_more_alerts_nobody(scene, plan):
    called(opened(plan), "failed")
    alert_below(now())
    assert Alert.objects.filter(kind="success_rate", resolved_at=None).count() == 1
    alert_below(now() + timedelta(days=31))
    assert not Alert.objects.filter(kind="success_rate", resolved_at=None).exists()


def test_what_a_person_let_pass_alerts_no_longer(scene, plan):
    batch = soaking(plan)
    control.hold(batch_id=batch.pk, kind="missing_metrics", reason="no data", now=now())
    for kind in ("missing_metrics", "hold_expired", "pause_expired", "frozen"):
        alerts.fire(plan=plan, kind=kind, sentence="look", now=now())
    control.release_hold(plan_id=plan.pk, by=scene.olga, reason="seen", now=now(), via="page")
    control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    control.resume(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    assert [alert.kind for alert in Alert.objects.filter(resolved_at=None)] == ["frozen"]


def test_a_release_without_a_way_back_is_not_taken_back_offline_either(scene, plan):
    policy = policy_of(current_revision(plan))
    plan.release.irreversible = True
    offline.open_file(plan, policy)
    offline.note_touched(plan.pk, [Touched("acorn", "1.0.0", None, now())])
    assert not offline.file_of(plan.pk).exists()


@pytest.mark.django_db(transaction=True)
def test_an_alert_of_a_wait_ends_with_the_wait(scene, settings, tmp_path):
    tenants(*FOREST)
    plan = a_started(scene, policy=three_waves(more="advance: manual"))
    with WatchedFleet(settings, tmp_path, FOREST) as fleet:
        for kind in ("quote_exceeds_limit", "cannot_start", "hold_expired"):
            alerts.fire(plan=plan, kind=kind, sentence="it waits", now=now())
        fleet.tick(2)
        assert [alert.kind for alert in Alert.objects.filter(resolved_at=None)] == ["hold_expired"]
