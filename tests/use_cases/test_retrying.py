"""Only the failed, once more: who is called again, in which batch, and when it begins."""

import pytest

from batches.decisions.plan_facts import plan_facts
from batches.models import Batch, TenantUpgrade
from batches.rollback import ending, rollback
from batches.rollout import control, launch, progress, retrying
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Event, Plan, PlanTenant
from plans.models.driven import NotPossibleNow
from plans.refusal import BadInput, NotAllowed, Refused
from tests.builders import (
    a_started,
    an_approved,
    called,
    kinds,
    opened,
    passed,
    soaking,
    states,
)
from tests.web.api_scene import now


def quarantined(plan, number=1) -> str:
    """Let one tenant of the batch have failed and gone back, as the effect loop leaves it."""
    upgrade = TenantUpgrade.objects.filter(batch__plan=plan, batch__number=number)[0]
    TenantUpgrade.objects.filter(pk=upgrade.pk).update(
        state="rolled_back",
        touched_at=now(),
        exhausted_at=now(),
        restored_at=now(),
        version_before="1.0.0",
        last_error="503",
        set_aside=TenantUpgrade.QUARANTINED,
        set_aside_at=now(),
        set_aside_why="503",
    )
    return upgrade.tenant_key


def retry(scene, plan, *keys, by=None, **more) -> Plan:
    return retrying.retry(
        plan_id=plan.pk, by=by or scene.olga, tenant_keys=keys, now=now(), via="page", **more
    )


def the_batch(plan, number=1) -> Batch:
    return Batch.objects.get(plan=plan, number=number)


def row(key) -> TenantUpgrade:
    return TenantUpgrade.objects.get(tenant_key=key)


@pytest.fixture
def plan(scene) -> Plan:
    return a_started(scene)


def test_the_failed_one_waits_for_its_call_and_the_others_are_left_alone(scene, plan):
    soaking(plan)
    key = quarantined(plan)
    retry(scene, plan, reason="the node is back")
    assert states(plan)[key] == "pending"
    assert (row(key).set_aside, row(key).exhausted_at) == ("", None)
    others = {s for k, s in states(plan).items() if k != key and row(k).batch.number == 1}
    assert others == {"upgraded"}
    told = Event.objects.get(kind="tenants_retried")
    assert told.payload["tenants"] == {key: "pending"}
    assert key in told.sentence
    assert "the node is back" in told.sentence


def failed_in_a_hold(plan) -> str:
    """Let a call have failed, nobody knows how far it came, and the batch be held for it."""
    batch = opened(plan)
    upgrade = TenantUpgrade.objects.filter(batch=batch).order_by("position")[0]
    TenantUpgrade.objects.filter(pk=upgrade.pk).update(
        state="failed", touched_at=now(), exhausted_at=now(), version_before="1.0.0"
    )
    control.hold(batch_id=batch.pk, kind="failure_rate", reason="it failed", now=now())
    return upgrade.tenant_key


def test_who_failed_and_was_not_taken_back_is_unknown_until_it_is_called_again(scene, plan):
    key = failed_in_a_hold(plan)
    retry(scene, plan)
    assert states(plan)[key] == "unknown"
    assert Event.objects.get(kind="tenants_retried").payload["tenants"] == {key: "unknown"}
    assert (
        facts_of(plan).batches[0].forward_left
        == TenantUpgrade.objects.filter(batch__plan=plan, batch__number=1).count()
    )


def test_a_rollback_before_that_call_takes_it_back(scene, plan):
    key = failed_in_a_hold(plan)
    retry(scene, plan)
    record = rollback.request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="no", now=now(), via="page"
    )
    assert key in rollback.in_scope(record).to_restore().values_list("tenant_key", flat=True)
    with pytest.raises(Refused, match="Not every tenant is back yet"):
        ending.finish(rollback_id=record.pk, now=now())


def test_a_soaking_batch_goes_on_at_once_and_soaks_anew(scene, plan):
    batch = soaking(plan)
    Batch.objects.filter(pk=batch.pk).update(soak_left=3)
    quarantined(plan)
    retry(scene, plan)
    again = the_batch(plan)
    assert (str(again.state), again.soak_left, again.calls_done_at) == ("deploying", 60, None)


def test_a_held_batch_goes_on_and_what_held_it_may_hold_it_again(scene, plan):
    batch = soaking(plan)
    quarantined(plan)
    control.acknowledge(batch_id=batch.pk, condition="failure_rate", now=now())
    control.acknowledge(batch_id=batch.pk, condition="missing_metrics", now=now())
    control.hold(batch_id=batch.pk, kind="failure_rate", reason="one failed", now=now())
    retry(scene, plan)
    again = the_batch(plan)
    assert (str(again.state), again.held_kind) == ("deploying", "")
    assert set(again.acknowledged) == {"missing_metrics"}


def test_a_batch_that_has_passed_begins_again_when_no_other_is_under_way(scene, plan):
    passed(plan)
    key = quarantined(plan)
    soaking(plan, 2)
    retry(scene, plan, key)
    assert str(the_batch(plan).state) == "passed"
    assert facts_of(plan).to_reopen.number == 1
    assert facts_of(plan).live.number == 2


def facts_of(plan):
    plan = Plan.objects.select_related("release", "plugin").get(pk=plan.pk)
    return plan_facts(plan, policy_of(current_revision(plan)), now())


def test_the_watch_reopens_it_with_a_word(scene, plan):
    passed(plan)
    quarantined(plan)
    retry(scene, plan)
    retrying.reopen_batch(batch_id=the_batch(plan).pk, now=now())
    assert str(the_batch(plan).state) == "deploying"
    assert kinds(plan)[-1] == "batch_reopened"
    told = Event.objects.get(kind="batch_reopened")
    assert "for 1 tenant; " in told.sentence
    assert told.payload["quote"]["fits"]


def test_nothing_is_reopened_for_nobody_or_in_a_paused_plan(scene, plan):
    batch = passed(plan)
    with pytest.raises(Refused, match="Nobody of this batch"):
        retrying.reopen_batch(batch_id=batch.pk, now=now())
    quarantined(plan)
    retry(scene, plan)
    control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    with pytest.raises(NotPossibleNow, match="paused"):
        retrying.reopen_batch(batch_id=batch.pk, now=now())


def test_a_plan_does_not_complete_over_somebody_who_is_to_be_called_again(scene, plan):
    passed(plan, 1)
    passed(plan, 2)
    quarantined(plan)
    retry(scene, plan)
    with pytest.raises(Refused, match="not accounted for"):
        progress.complete(plan_id=plan.pk, now=now())
    assert str(Plan.objects.get(pk=plan.pk).state) == "running"


def test_a_soak_does_not_begin_over_somebody_who_waits(scene, plan):
    batch = opened(plan)
    with pytest.raises(Refused, match="not accounted for"):
        progress.settle_calls(batch_id=batch.pk, now=now())


def test_a_pause_stays_a_pause(scene, plan):
    soaking(plan)
    quarantined(plan)
    control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    retry(scene, plan)
    assert str(Plan.objects.get(pk=plan.pk).state) == "paused"
    assert str(the_batch(plan).state) == "deploying"


def test_a_batch_that_was_rolled_back_is_called_again_as_a_whole(scene, plan):
    soaking(plan)
    record = rollback.request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="", scope="batch", now=now(), via="page"
    )
    TenantUpgrade.objects.filter(batch=the_batch(plan)).update(
        state="rolled_back", restored_at=now(), observed_at=now()
    )
    ending.finish(rollback_id=record.pk, now=now())
    retry(scene, plan, batch_number=1)
    assert set(TenantUpgrade.objects.filter(batch__number=1).values_list("state", flat=True)) == {
        "pending"
    }
    assert str(the_batch(plan).state) == "rolled_back"


def test_a_retry_that_was_never_called_is_called_off_by_a_rollback(scene, plan):
    passed(plan)
    key = quarantined(plan)
    retry(scene, plan)
    record = rollback.request_rollback(
        plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page"
    )
    TenantUpgrade.objects.filter(plan=plan, state="upgraded").update(
        state="rolled_back", restored_at=now(), observed_at=now()
    )
    ended = ending.finish(rollback_id=record.pk, now=now())
    assert str(ended.state) == "rolled_back"
    assert states(plan)[key] == "rolled_back"
    assert set(states(plan).values()) == {"rolled_back", "excluded"}


def test_a_failure_that_was_retried_costs_no_budget_until_it_fails_again(scene, plan):
    soaking(plan)
    quarantined(plan)
    assert facts_of(plan).batches[0].failures == 1
    retry(scene, plan)
    assert facts_of(plan).batches[0].failures == 0


def test_who_comes_second_learns_who_was_first(scene, plan):
    soaking(plan)
    key = quarantined(plan)
    retry(scene, plan, key)
    with pytest.raises(Refused, match=rf"{key} .*\(Olga, \d\d:\d\d:\d\d UTC\)") as refused:
        retry(scene, plan, key, by=scene.mara)
    assert refused.value.code == "nothing_failed"
    assert kinds(plan).count("tenants_retried") == 1


def test_only_the_failed_and_only_by_whom_may(scene, plan):
    soaking(plan)
    with pytest.raises(Refused, match="No tenant waits for another try"):
        retry(scene, plan)
    with pytest.raises(Refused, match="did not fail"):
        retry(scene, plan, "acorn")
    with pytest.raises(BadInput, match="'oak' is not in this plan"):
        retry(scene, plan, "oak")
    with pytest.raises(BadInput, match="no batch 9"):
        retry(scene, plan, batch_number=9)
    with pytest.raises(NotAllowed, match="called again"):
        retry(scene, plan, by=scene.rita)


def test_needing_a_hand_is_not_retried_forward(scene, plan):
    called(opened(plan), "needs_hand")
    key = TenantUpgrade.objects.filter(state="needs_hand")[0].tenant_key
    with pytest.raises(Refused, match="did not fail"):
        retry(scene, plan, key)


def test_no_rollback_loses_to_a_retry(scene, plan):
    soaking(plan)
    quarantined(plan)
    rollback.request_rollback(plan_id=plan.pk, by=scene.mara, reason="", now=now(), via="page")
    with pytest.raises(NotPossibleNow, match=r"rolling back \(Mara, "):
        retry(scene, plan)


def test_a_tenant_that_another_plan_has_taken_stays_out(scene, plan):
    soaking(plan)
    key = quarantined(plan)
    PlanTenant.objects.filter(plan=plan).update(reserved=False)
    other = an_approved(scene, keys=(key,), external_id="pay-8")
    launch.start(plan_id=other.pk, by=scene.olga, now=now(), via="page")
    with pytest.raises(launch.TenantsTaken, match="pay-8"):
        retry(scene, plan, key)
    assert states(plan)[key] == "rolled_back"
