"""A freeze or a closing window in the middle of a batch; a release that cannot be taken back."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from batches.decisions import decide_forward
from batches.decisions.plan_facts import plan_facts
from batches.deployers.base import Observed
from batches.effects.ledger_writes import Writes
from batches.effects.runs import prepare_forward, prepare_stragglers
from batches.models import Batch, DeployerCall, TenantUpgrade
from batches.rollback.rollback import CannotBeTakenBack, request_rollback
from batches.rollout import control
from batches.rollout.retrying import retry
from batches.rollout.settling import retry_needs_hand, settle
from batches.rollout.stopping import may_be_read, settle_as_read, stop_here
from batches.rollout.waiting import go_on_at_opening, plan_opening, wait_for_opening
from batches.runtime.leases import Keeper, acquire
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Event, Plan, Release
from plans.openings.freezing import declare_freeze, lift_freeze
from plans.refusal import BadInput, NotAllowed, Refused
from tests.builders import (
    FOREST,
    a_started,
    called,
    check_invariants,
    kinds,
    opened,
    soaking,
    states,
)
from tests.use_cases.watched_fleet import WatchedFleet, alerts_of, quick_policy, the_rollback
from tests.web.api_scene import Scene, now

pytestmark = pytest.mark.django_db(transaction=True)
FREEZE_IT = "rollback: {irreversible: freeze}"


@pytest.fixture
def fleet(scene, settings, tmp_path, monkeypatch) -> Iterator[WatchedFleet]:
    """Return a watch that does the hands' work at once, over acorn to fir."""
    monkeypatch.setattr(decide_forward, "TAKEOVER_SECONDS", 0.0)
    with WatchedFleet(settings, tmp_path, FOREST) as made:
        yield made


def frozen(scene: Scene, **more):
    given: dict[str, Any] = {
        "name": "Black Friday",
        "reason": "the shops are full",
        "by": scene.mara,
    }
    return declare_freeze(**given | {"now": now(), "via": "page"} | more)


def lift(scene: Scene, freeze) -> None:
    lift_freeze(freeze_id=freeze.pk, why="over", by=scene.olga, now=now(), via="page")


def one_by_one(fleet: WatchedFleet, scene: Scene, **more) -> Plan:
    """Return a plan in the middle of its first batch: one call has ended, one is in flight."""
    for tenant in FOREST:
        fleet.fault(tenant, "ok", latency_seconds=0.15, directions=frozenset({"install"}))
    policy = quick_policy(limits="parallelism: 1", **more)
    plan = a_started(scene, policy=policy.replace("66", "10").replace("34", "90"))
    fleet.until(lambda: TenantUpgrade.objects.filter(plan=plan, state="upgraded").exists())
    return plan


def calls_of(plan: Plan) -> int:
    return DeployerCall.objects.filter(plan=plan, direction="install").count()


def first_batch(plan: Plan) -> Batch:
    return Batch.objects.get(plan=plan, number=1)


def test_fault_24_a_freeze_in_a_batch_lets_calls_end_and_starts_nothing_new(scene, fleet):
    plan = one_by_one(fleet, scene)
    freeze = frozen(scene)
    began = calls_of(plan)
    fleet.until(lambda: first_batch(plan).waits_since is not None)
    fleet.tick(30)
    assert calls_of(plan) == began
    assert not DeployerCall.objects.filter(plan=plan, ended_at=None).exists()
    left = states(plan)
    assert set(left.values()) == {"upgraded", "pending"}
    waiting = Plan.objects.get(pk=plan.pk).waiting_for
    assert waiting.startswith("Frozen by 'Black Friday': the shops are full")
    assert kinds(plan).count("batch_waits") == 1
    assert kinds(plan).count("plan_waits") == 0
    check_invariants(plan)
    lift(scene, freeze)
    plan = fleet.until_plan(plan, "completed")
    assert (kinds(plan).count("batch_goes_on"), plan.waiting_for) == (1, "")
    assert first_batch(plan).waited_seconds > 0
    assert set(states(plan).values()) == {"upgraded"}
    check_invariants(plan)


def test_fault_24_a_breach_while_a_batch_waits_takes_back_in_spite_of_the_freeze(scene, fleet):
    plan = one_by_one(fleet, scene)
    frozen(scene)
    fleet.until(lambda: first_batch(plan).waits_since is not None)
    fleet.metrics.bad_versions = {"1.5.0"}
    fleet.until_plan(plan, "rolled_back")
    assert the_rollback(plan).trigger == "breach"
    assert fleet.versions(FOREST) == {"1.0.0"}
    check_invariants(plan)


def test_what_failed_is_taken_back_in_spite_of_the_freeze(scene, fleet):
    limits = "failure_rate: 60, success_rate: 10"
    policy = quick_policy(limits=limits).replace("66", "10").replace("34", "90")
    plan = a_started(scene, policy=policy, keys=FOREST)
    TenantUpgrade.objects.filter(plan=plan, tenant_key="acorn").update(batch=first_batch(plan))
    batch = opened(plan)
    called(batch, "failed", ["acorn"])
    fleet.fleet.tenant("acorn").version = "1.5.0"
    frozen(scene)
    fleet.until(lambda: states(plan)["acorn"] == "rolled_back")
    assert fleet.fleet.tenant("acorn").version == "1.0.0"
    assert calls_of(plan) == 0
    assert first_batch(plan).waits_since is not None


def test_nobody_prepares_a_forward_run_while_it_is_closed_and_everybody_a_restore(scene):
    batch = opened(a_started(scene))
    lease = acquire("test", holder="me", kind="watch", now=now())
    assert lease is not None
    keeper = Keeper(lease)
    assert prepare_forward(batch.pk, "watch", keeper) is not None
    frozen(scene)
    assert prepare_forward(batch.pk, "watch", keeper) is None
    assert prepare_stragglers(batch.pk, "watch", keeper) is not None


def windows_until(closes: datetime) -> str:
    hours = f'from: "{closes - timedelta(hours=2):%H:%M}", to: "{closes:%H:%M}"'
    return f"windows: [{{kind: allow, {hours}, timezone: UTC}}]"


@pytest.mark.parametrize("closing", ["wait", "finish_batch"])
def test_a_run_knows_when_its_windows_close(scene, closing):
    closes = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=5)
    more = f"{windows_until(closes)}\nwindows_closing: {closing}"
    batch = opened(a_started(scene, policy=quick_policy(more=more)))
    lease = acquire("test", holder="me", kind="watch", now=now())
    assert lease is not None
    run = prepare_forward(batch.pk, "watch", Keeper(lease))
    assert run is not None
    assert run.scope.closes_at == (closes if closing == "wait" else None)


@pytest.mark.parametrize("closing", ["wait", "finish_batch"])
def test_only_a_batch_that_has_begun_is_finished(scene, closing):
    closes = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=5)
    policy_text = quick_policy(more=f"{windows_until(closes)}\nwindows_closing: {closing}")
    plan = a_started(scene, policy=policy_text)
    policy = policy_of(current_revision(plan))
    assert plan_opening(plan, policy, now()).is_open
    assert not plan_opening(plan, policy, closes).is_open
    opened(plan)
    assert plan_opening(plan, policy, closes).is_open is (closing == "finish_batch")
    frozen(scene)
    assert not plan_opening(plan, policy, now()).is_open


def test_waiting_leaves_the_clock_of_calls_out(scene):
    plan = a_started(scene)
    batch = opened(plan)
    began = now()
    Batch.objects.filter(pk=batch.pk).update(
        acknowledged={"batch_overrun": began.isoformat(), "missing_metrics": began.isoformat()}
    )
    epoch = Plan.objects.get(pk=plan.pk).epoch
    wait_for_opening(batch_id=batch.pk, why="frozen", now=began)
    wait_for_opening(batch_id=batch.pk, why="frozen", now=began + timedelta(minutes=1))
    assert Plan.objects.get(pk=plan.pk).epoch == epoch + 1
    later = began + timedelta(hours=8)
    go_on_at_opening(batch_id=batch.pk, now=later)
    go_on_at_opening(batch_id=batch.pk, now=later + timedelta(minutes=1))
    kept = Batch.objects.get(pk=batch.pk)
    assert (kept.waits_since, kept.waited_seconds) == (None, 8 * 3600)
    assert kept.handed_out_at == later
    assert kept.acknowledged == {
        "batch_overrun": later.isoformat(),
        "missing_metrics": began.isoformat(),
    }
    assert kinds(plan).count("batch_waits") == kinds(plan).count("batch_goes_on") == 1
    facts = plan_facts(
        Plan.objects.select_related("release").get(pk=plan.pk),
        policy_of(current_revision(plan)),
        later,
    )
    assert facts.live is not None
    assert facts.live.calling_since == batch.calling_since + timedelta(hours=8)


def test_only_a_batch_that_is_called_waits(scene):
    plan = a_started(scene)
    batch = soaking(plan)
    for act in (lambda: wait_for_opening(batch_id=batch.pk, why="x", now=now()),
                lambda: go_on_at_opening(batch_id=batch.pk, now=now())):  # fmt: skip
        with pytest.raises(Refused, match="Only a batch that is being called"):
            act()


def test_fault_24_a_window_that_closes_in_a_run_ends_its_claims(scene):
    batch = opened(a_started(scene))
    lease = acquire("test", holder="me", kind="watch", now=now())
    assert lease is not None
    run = prepare_forward(batch.pk, "watch", Keeper(lease))
    assert run is not None
    writes = Writes(run.scope)
    soon = Writes(replace(run.scope, closes_at=now() - timedelta(seconds=1)))
    assert writes.may_go_on()
    assert not soon.may_go_on()
    with transaction.atomic():
        assert soon.apply([("claim", [5])]) == [[]]
    assert set(states(batch.plan).values()) == {"pending"}


# Releases that cannot be taken back.


@pytest.fixture
def one_way(scene) -> Scene:
    """Return the scene with a release that cannot be taken back."""
    Release.objects.update(irreversible=True)
    return scene


def test_a_policy_that_refuses_lets_no_such_release_in(one_way):
    with pytest.raises(BadInput, match="cannot be taken back"):
        a_started(one_way, policy=quick_policy())


def test_a_breach_stops_widening_and_restores_nothing(one_way, fleet):
    fleet.metrics.bad_versions = {"1.5.0"}
    plan = a_started(one_way, policy=quick_policy(more=FREEZE_IT))
    batch = fleet.until_batch(plan, "held")
    fleet.tick(30)
    assert "cannot be taken back, so nothing is restored" in batch.held_reason
    assert alerts_of(plan) == {"breach"}
    assert not plan.rollbacks.exists()
    assert not DeployerCall.objects.filter(plan=plan, direction="restore").exists()
    assert str(Batch.objects.get(plan=plan, number=2).state) == "pending"
    check_invariants(plan)


def test_who_failed_needs_a_hand_and_a_person_settles(one_way, fleet):
    fleet.fault("acorn", "fail", directions=frozenset({"install"}))
    limits = "failure_rate: 60, success_rate: 50"
    plan = a_started(one_way, policy=quick_policy(limits=limits, more=FREEZE_IT))
    plan = fleet.until_plan(plan, "needs_hand")
    assert states(plan)["acorn"] == "needs_hand"
    assert not DeployerCall.objects.filter(plan=plan, direction="restore").exists()
    check_invariants(plan)
    with pytest.raises(CannotBeTakenBack):
        retry_needs_hand(plan_id=plan.pk, by=one_way.olga, now=now(), via="page")
    settle(
        plan_id=plan.pk, tenant_keys=["acorn"], outcome="excluded", reason="mended by hand",
        by=one_way.olga, now=now(), via="page",
    )  # fmt: skip
    assert str(Plan.objects.get(pk=plan.pk).state) == "completed"
    check_invariants(plan)


def test_nobody_rolls_it_back_and_a_pause_has_no_deadline(one_way):
    plan = a_started(one_way, policy=quick_policy(more=FREEZE_IT))
    called(opened(plan))
    with pytest.raises(CannotBeTakenBack, match="stop it here"):
        request_rollback(plan_id=plan.pk, by=one_way.olga, reason="", now=now(), via="page")
    paused = control.pause(plan_id=plan.pk, by=one_way.olga, reason="", now=now(), via="page")
    assert (paused.resume_by, paused.pause_deadline) == (None, None)
    assert str(Plan.objects.get(pk=plan.pk).state) == "paused"


# Stop here.


def stop(scene: Scene, plan: Plan, **more) -> Plan:
    given: dict[str, Any] = {"plan_id": plan.pk, "reason": "enough", "by": scene.olga, "now": now()}
    return stop_here(**given | {"via": "page"} | more)


def test_a_plan_is_stopped_where_it_stands(one_way):
    plan = a_started(one_way, policy=quick_policy(more=FREEZE_IT))
    batch = opened(plan)
    called(batch)
    plan = stop(one_way, plan)
    assert str(plan.state) == "stopped"
    assert set(states(plan).values()) == {"upgraded", "excluded"}
    assert [str(b.state) for b in Batch.objects.filter(plan=plan)] == ["stopped", "skipped"]
    assert kinds(plan)[-1] == "plan_stopped_here"
    assert not plan.plan_tenants.filter(reserved=True).exists()
    with pytest.raises(Refused, match="is stopped"):
        stop(one_way, plan)


def test_what_is_half_done_when_it_is_stopped_needs_a_hand(one_way):
    plan = a_started(one_way, policy=quick_policy(more=FREEZE_IT))
    batch = opened(plan)
    one = str(TenantUpgrade.objects.filter(batch=batch)[0].tenant_key)
    called(batch, "unknown", [one])
    plan = stop(one_way, plan)
    assert str(plan.state) == "needs_hand"
    assert states(plan)[one] == "needs_hand"
    told = Event.objects.get(stream__key=plan.stream_key, kind="plan_stopped_here")
    assert "1 was half done and is read now" in told.sentence
    settle(
        plan_id=plan.pk, tenant_keys=[one], outcome="upgraded", reason="seen",
        by=one_way.olga, now=now(), via="page",
    )  # fmt: skip
    assert str(Plan.objects.get(pk=plan.pk).state) == "stopped"


def test_a_retry_that_was_never_called_is_called_off_when_the_plan_is_stopped(scene):
    plan = a_started(scene)
    batch = opened(plan)
    one = str(TenantUpgrade.objects.filter(batch=batch)[0].tenant_key)
    called(batch, "rolled_back", [one])
    TenantUpgrade.objects.filter(tenant_key=one).update(version_before="1.0.0", touched_at=now())
    retry(plan_id=plan.pk, tenant_keys=[one], by=scene.olga, now=now(), via="page")
    plan = stop(scene, plan)
    assert str(plan.state) == "stopped"
    assert states(plan)[one] == "rolled_back"


def test_a_plan_is_not_stopped_while_calls_are_under_way(scene):
    plan = a_started(scene)
    batch = opened(plan)
    upgrade = TenantUpgrade.objects.filter(batch=batch)[0]
    DeployerCall.objects.create(
        plan=plan, upgrade=upgrade, direction="install", generation=1, attempt=1, key="k",
        fence=1, version="1.5.0", executor="watch", started_at=now(),
    )  # fmt: skip
    with pytest.raises(Refused, match="1 call is under way"):
        stop(scene, plan)
    stop(scene, plan, now=now() + timedelta(seconds=41))


def test_a_stopped_plan_can_still_be_rolled_back_where_the_release_can(scene, fleet):
    plan = a_started(scene, policy=quick_policy())
    fleet.until_batch(plan, "soaking")
    stop(scene, plan)
    request_rollback(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    fleet.until_plan(plan, "rolled_back")
    assert fleet.versions(FOREST) == {"1.0.0"}
    check_invariants(plan)


def test_stopping_takes_a_reason_and_a_role(scene):
    plan = a_started(scene)
    with pytest.raises(BadInput, match="say why"):
        stop(scene, plan, reason=" ")
    with pytest.raises(NotAllowed):
        stop(scene, plan, by=scene.rita)


# Who is half done when a plan is stopped is read before a person gets it.


def stopped_half_done(scene, fleet) -> tuple[Plan, str, str]:
    """Return a plan that was stopped while two of its tenants were half done, and the two."""
    plan = a_started(scene, policy=quick_policy())
    batch = opened(plan)
    one, other = TenantUpgrade.objects.filter(batch=batch).values_list("tenant_key", flat=True)
    called(batch, "upgrading")
    return stop(scene, plan), str(one), str(other)


def test_who_was_half_done_is_settled_by_what_it_shows(scene, fleet):
    plan, one, other = stopped_half_done(scene, fleet)
    assert str(plan.state) == "needs_hand"
    assert alerts_of(plan) == set()
    fleet.fleet.tenant(one).version = "1.5.0"
    plan = fleet.until_plan(plan, "stopped")
    assert (states(plan)[one], states(plan)[other]) == ("upgraded", "rolled_back")
    assert "tenants_settled" in kinds(plan)
    assert kinds(plan)[-1] == "plan_settled"
    assert not plan.plan_tenants.filter(reserved=True).exists()
    assert not DeployerCall.objects.filter(plan=plan).exists()
    check_invariants(plan)


def test_who_shows_neither_version_needs_a_person_and_is_told_of(scene, fleet):
    plan, one, other = stopped_half_done(scene, fleet)
    fleet.fleet.tenant(one).version = "9.9.9"
    fleet.until(lambda: alerts_of(plan) == {"needs_hand"})
    assert (states(plan)[one], states(plan)[other]) == ("needs_hand", "rolled_back")
    assert "shows 9.9.9" in TenantUpgrade.objects.get(plan=plan, tenant_key=one).last_error
    fleet.fleet.tenant(one).version = "1.5.0"
    fleet.tick(10)
    assert states(plan)[one] == "needs_hand", "it is a person's by now"


def test_nobody_is_read_while_a_late_call_may_still_change_it(scene):
    plan = a_started(scene)
    batch = opened(plan)
    called(batch, "unknown")
    upgrade = TenantUpgrade.objects.filter(batch=batch)[0]
    DeployerCall.objects.create(
        plan=plan, upgrade=upgrade, direction="install", generation=1, attempt=1, key="k",
        fence=1, version="1.5.0", executor="watch", started_at=now(), ended_at=now(),
        outcome="unknown",
    )  # fmt: skip
    plan = stop(scene, plan)
    assert not may_be_read(plan, 20, now() + timedelta(seconds=39))
    assert may_be_read(plan, 20, now() + timedelta(seconds=41))


def test_a_rollback_that_began_since_is_not_disturbed_by_what_was_read(scene, fleet):
    plan, one, other = stopped_half_done(scene, fleet)
    request_rollback(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    seen = {one: Observed("1.5.0"), other: Observed("1.5.0")}
    settle_as_read(plan_id=plan.pk, seen=seen, now=now())
    assert {states(plan)[one], states(plan)[other]} == {"needs_hand"}
    fleet.until_plan(plan, "rolled_back")
    check_invariants(plan)
