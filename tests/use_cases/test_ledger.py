"""The ledger in the database: each intent once, nothing stale, everything told."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from batches.deployers.base import Answer, Observed
from batches.effects import ledger
from batches.effects.ledger import DatabaseLedger
from batches.effects.ledger_claims import Scope
from batches.effects.ledger_writes import Writes
from batches.effects.ports import CallEnd, CallStart, Move, Outcome, Task
from batches.models import Batch, DeployerCall, DeployerMeasurement, Rollback, TenantUpgrade
from batches.rollback.rollback import request_rollback
from batches.rollout import control
from batches.rollout.progress import complete
from plans import flags
from plans.models import Event, Installation, Plan
from tests.builders import a_started, artifact, called, check_invariants, opened, passed, states
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db(transaction=True)


def scope_of(plan: Plan, **changes: Any) -> Scope:
    plan = Plan.objects.select_related("release").get(pk=plan.pk)
    base = Scope(
        plan_id=plan.pk,
        plugin_id=plan.plugin_id,
        direction="install",
        epoch=plan.epoch,
        executor="hands",
        target_version="1.5.0",
        target_digest=artifact("pay", "1.5.0"),
        call_timeout=20,
        deployer="fleet",
        lease_lost=lambda: False,
        batch_id=Batch.objects.get(plan=plan, number=1).pk,
    )
    return replace(base, **changes)


def back_scope(record: Rollback, **changes: Any) -> Scope:
    defaults = {
        "direction": "restore",
        "rollback_id": record.pk,
        "batch_id": None,
        "triggered_at": record.triggered_at,
    }
    return scope_of(record.plan, **defaults | changes)


def using(scope: Scope, work: Callable[[DatabaseLedger], Coroutine[Any, Any, Any]]) -> Any:
    """Run the work over a ledger with its own writer thread."""

    async def run() -> Any:
        with DatabaseLedger(scope) as one:
            return await work(one)

    return asyncio.run(run())


def start_of(task: Task, attempt: int = 1) -> CallStart:
    return CallStart(task, attempt, "1.0.0", {"limit": 5}, "")


def end_of(call_id: int, outcome: str = "ok", seconds: float = 1.0) -> CallEnd:
    at = now()
    return CallEnd(call_id, at - timedelta(seconds=seconds), at, Answer(outcome, "done"))  # type: ignore[arg-type]


def moved(task: Task, move: Move, version: str = "1.5.0", **more: Any) -> Outcome:
    return Outcome(task, now(), move, Observed(version), **more)


def row(tenant: str) -> TenantUpgrade:
    return TenantUpgrade.objects.get(tenant_key=tenant)


@pytest.fixture
def plan(scene):
    """Return a running plan whose first batch waits for its calls."""
    started = a_started(scene)
    opened(started)
    return started


# Claims.


def test_each_tenant_of_the_batch_is_claimed_once(plan):
    async def work(one):
        return [*await one.claim_many(10), *await one.claim_many(10)]

    tasks = using(scope_of(plan), work)
    assert {task.tenant for task in tasks} == set(
        TenantUpgrade.objects.filter(batch__number=1).values_list("tenant_key", flat=True)
    )
    assert len(tasks) == 2
    assert [task.generation for task in tasks] == [1, 1]


def test_a_claim_is_a_new_generation_with_a_key_of_its_own(plan):
    (task, *_) = using(scope_of(plan), lambda one: one.claim_many(1))
    assert task.key == f"{plan.pk}:{task.tenant}:install:1"
    assert (task.version, task.digest) == ("1.5.0", artifact("pay", "1.5.0"))
    assert row(task.tenant).state == "upgrading"


def test_fences_rise_over_runs_and_plans(plan):
    first = using(scope_of(plan), lambda one: one.claim_many(10))
    Installation.objects.update(fence=10**15)
    called(Batch.objects.get(plan=plan, number=1))
    record = request_rollback(plan_id=plan.pk, by=None, reason="", now=now(), via="watch")
    second = using(back_scope(record), lambda one: one.claim_many(10))
    assert max(task.fence for task in first) < 10**15
    assert {task.fence for task in second} == {10**15 + 1}
    assert set(
        Installation.objects.filter(tenant__key__in=[t.tenant for t in second]).values_list(
            "fence", flat=True
        )
    ) == {10**15 + 1}


@pytest.mark.parametrize("stop", ["pause", "hold", "flag", "lease", "rollback"])
def test_nothing_is_claimed_or_called_after_a_stop(scene, plan, stop):
    scope = scope_of(plan, lease_lost=lambda: stop == "lease" and bool(stopped))
    stopped: list[bool] = []

    async def work(one):
        (task,) = await one.claim_many(1)
        stopped.append(True)
        await asyncio.to_thread(stops[stop])
        return (
            await one.claim_many(5),
            await one.begin_calls([start_of(task)]),
            one.stop_requested(),
        )

    stops: dict[str, Callable[[], Any]] = {
        "pause": lambda: control.pause(
            plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page"
        ),
        "hold": lambda: control.hold(
            batch_id=scope.batch_id or 0, kind="breach", reason="", now=now()
        ),
        "flag": lambda: flags.turn(
            name=flags.ORCHESTRATOR, on=False, reason="", by=scene.ada, now=now(), via="page"
        ),
        "lease": lambda: None,
        "rollback": lambda: request_rollback(
            plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page"
        ),
    }
    assert using(scope, work) == ([], [None], True)
    assert not DeployerCall.objects.exists()


def test_a_claim_needs_the_epoch_that_it_was_planned_with(scene, plan):
    scope = scope_of(plan)
    control.pause(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")
    control.resume(plan_id=plan.pk, by=scene.olga, now=now(), via="page")
    assert using(scope, lambda one: one.claim_many(5)) == []
    assert len(using(scope_of(plan), lambda one: one.claim_many(5))) == 2


def test_what_a_lost_executor_left_is_adopted_with_the_reason(plan):
    async def lost(one):
        tasks = await one.claim_many(10)
        await one.begin_calls([start_of(tasks[0])])
        return tasks[0].tenant

    tenant = using(scope_of(plan), lost)
    adopted = {t.tenant: t for t in using(scope_of(plan), lambda one: one.claim_many(10))}
    assert adopted[tenant].generation == 2
    assert adopted[tenant].touched
    assert "its executor was lost before the answer" in adopted[tenant].reason
    call = DeployerCall.objects.get()
    assert (call.outcome, call.ended_at is not None) == ("unknown", True)


def test_a_transaction_that_failed_has_claimed_nothing(plan):
    writes = Writes(scope_of(plan))
    with transaction.atomic():
        writes.apply([("claim", [10])])
        transaction.set_rollback(True)
    with transaction.atomic():
        (tasks,) = writes.apply([("claim", [10])])
    writes.claims.committed()
    assert len(tasks) == 2
    told = Event.objects.filter(kind="tenants_moved")
    assert told.count() == 1
    check_invariants(plan)


# The journal.


def test_the_journal_is_written_before_the_call_and_keeps_what_was_there(plan):
    async def work(one):
        (task,) = await one.claim_many(1)
        return task, await one.begin_calls([start_of(task)])

    task, (call_id,) = using(scope_of(plan), work)
    call = DeployerCall.objects.get(pk=call_id)
    assert (call.key, call.attempt, call.fence, call.ended_at) == (task.key, 1, task.fence, None)
    assert row(task.tenant).version_before == "1.0.0"
    assert row(task.tenant).config_before == {"limit": 5}
    assert row(task.tenant).touched_at is not None


def test_what_was_there_before_the_first_call_is_never_overwritten(plan):
    async def work(one):
        (task,) = await one.claim_many(1)
        await one.begin_calls([start_of(task)])
        await one.begin_calls([replace(start_of(task, 2), version_before="1.5.0")])
        return task.tenant

    assert row(using(scope_of(plan), work)).version_before == "1.0.0"


def test_a_call_of_an_older_generation_is_refused(plan):
    async def work(one):
        (task,) = await one.claim_many(1)
        await asyncio.to_thread(
            TenantUpgrade.objects.filter(tenant_key=task.tenant).update, generation=7
        )
        return await one.begin_calls([start_of(task)])

    assert using(scope_of(plan), work) == [None]


def test_an_answer_of_an_older_generation_moves_nobody(plan):
    async def work(one):
        (task,) = await one.claim_many(1)
        (call_id,) = await one.begin_calls([start_of(task)])
        await asyncio.to_thread(
            TenantUpgrade.objects.filter(tenant_key=task.tenant).update, generation=7
        )
        await one.record_many([moved(task, "confirm", call=end_of(call_id))])
        return task.tenant

    tenant = using(scope_of(plan), work)
    assert row(tenant).state == "upgrading"
    assert DeployerCall.objects.get().outcome == "ok"


def test_a_call_that_was_given_up_as_lost_keeps_that_outcome(plan):
    async def work(one):
        (task,) = await one.claim_many(1)
        (call_id,) = await one.begin_calls([start_of(task)])
        await asyncio.to_thread(
            DeployerCall.objects.update, ended_at=now(), outcome="unknown", answer="lost"
        )
        await one.record_many([moved(task, "confirm", call=end_of(call_id))])

    using(scope_of(plan), work)
    assert DeployerCall.objects.get().answer == "lost"


# Facts.


def test_many_facts_are_one_transaction_with_one_event(plan):
    async def work(one):
        tasks = await one.claim_many(10)
        ids = await one.begin_calls([start_of(task) for task in tasks])
        await asyncio.gather(
            *(
                one.record_many([moved(task, "confirm", call=end_of(call_id or 0))])
                for task, call_id in zip(tasks, ids, strict=True)
            )
        )

    using(scope_of(plan), work)
    told = Event.objects.filter(kind="tenants_moved").order_by("seq")
    assert [list(event.payload["tenants"].values()) for event in told] == [
        ["upgrading"] * 2,
        ["upgraded"] * 2,
    ]
    check_invariants(plan)


def test_facts_wait_a_moment_for_more_facts_and_claims_do_not(plan, monkeypatch):
    monkeypatch.setattr(ledger, "GATHER_SECONDS", 0.5)

    async def work(one):
        clock = asyncio.get_running_loop().time
        began = clock()
        first, second = await one.claim_many(10)
        claimed = clock() - began
        slow = asyncio.create_task(one.record_many([moved(first, "release")]))
        await asyncio.sleep(0.1)
        await one.record_many([moved(second, "release")])
        await slow
        return claimed

    assert using(scope_of(plan), work) < 0.3
    assert Event.objects.filter(kind="tenants_moved").count() == 2


def test_a_claim_ends_the_wait_of_the_facts_before_it(plan, monkeypatch):
    monkeypatch.setattr(ledger, "GATHER_SECONDS", 30)

    async def work(one):
        (task,) = await one.claim_many(1)
        waiting = asyncio.create_task(one.record_many([moved(task, "release")]))
        await asyncio.sleep(0.05)
        await one.claim_many(1)
        await waiting

    using(scope_of(plan), lambda one: asyncio.wait_for(work(one), 5))


def test_durations_of_good_calls_are_measured(plan):
    async def work(one):
        first, second = await one.claim_many(10)
        ids = await one.begin_calls([start_of(first), start_of(second)])
        await one.record_many(
            [
                moved(first, "confirm", call=end_of(ids[0], seconds=3.0)),
                moved(second, "fail", "1.0.0", call=end_of(ids[1], "failed")),
            ]
        )

    using(scope_of(plan), work)
    measured = DeployerMeasurement.objects.get()
    assert (measured.deployer, measured.direction, measured.durations) == (
        "fleet",
        "install",
        [3.0],
    )


def test_what_was_seen_is_kept_on_the_installation(plan):
    async def work(one):
        (task,) = await one.claim_many(1)
        await one.record_many([moved(task, "confirm", "1.5.0")])
        return task.tenant

    tenant = using(scope_of(plan), work)
    seen = Installation.objects.get(tenant__key=tenant)
    assert (seen.version, row(tenant).version_observed) == ("1.5.0", "1.5.0")


def test_facts_that_nobody_waits_for_any_more_are_written_all_the_same(plan):
    async def work(one):
        (task,) = await one.claim_many(1)
        leaving = asyncio.create_task(one.record_many([moved(task, "confirm")]))
        await asyncio.sleep(0)
        leaving.cancel()
        return task.tenant

    assert row(using(scope_of(plan), work)).state == "upgraded"


# Back.


def rolling_back(scene, plan) -> Rollback:
    called(Batch.objects.get(plan=plan, number=1))
    return request_rollback(plan_id=plan.pk, by=scene.olga, reason="", now=now(), via="page")


def test_a_restore_takes_version_and_config_of_before(scene, plan):
    TenantUpgrade.objects.update(config_before={"limit": 5})
    tasks = using(back_scope(rolling_back(scene, plan)), lambda one: one.claim_many(10))
    assert [(t.version, t.config, t.direction) for t in tasks] == [
        ("1.0.0", {"limit": 5}, "restore")
    ] * 2


def test_who_was_never_touched_is_not_restored(scene, plan):
    tasks = using(back_scope(rolling_back(scene, plan)), lambda one: one.claim_many(10))
    assert {task.tenant for task in tasks} == {
        key for key, state in states(plan).items() if state == "restoring"
    }
    assert len(tasks) == 2


def test_the_newest_batch_goes_back_first(scene):
    plan = a_started(scene)
    passed(plan, 1)
    called(opened(plan, 2))
    record = request_rollback(plan_id=plan.pk, by=None, reason="", now=now(), via="watch")
    newest = using(back_scope(record), lambda one: one.claim_many(4))
    assert {row(task.tenant).batch.number for task in newest} == {2}
    assert record.touched == 6


@pytest.mark.parametrize(
    ("outcome", "late"), [("", True), ("unknown", True), ("ok", False), ("failed", False)]
)
def test_a_forward_call_that_may_still_be_applied_is_waited_for(scene, plan, outcome, late):
    started = now() - timedelta(seconds=10)
    record = rolling_back(scene, plan)
    for upgrade in TenantUpgrade.objects.filter(batch__number=1):
        DeployerCall.objects.create(
            plan=plan,
            upgrade=upgrade,
            direction="install",
            generation=1,
            attempt=1,
            key=f"k{upgrade.pk}",
            fence=1,
            version="1.5.0",
            executor="hands",
            started_at=started,
            outcome=outcome,
        )

    async def work(one):
        (task,) = await one.claim_many(1)
        return task.late_calls, await one.settles_at(task)

    settles = started + timedelta(seconds=40) if late else None
    assert using(back_scope(record), work) == (late, settles)


def test_a_new_intent_has_a_new_generation_key_and_fence(scene, plan):
    async def work(one):
        (task,) = await one.claim_many(1)
        return task, await one.renew(task), await one.renew(task)

    task, renewed, outdated = using(back_scope(rolling_back(scene, plan)), work)
    assert (renewed.generation, renewed.tenant) == (task.generation + 1, task.tenant)
    assert renewed.key.endswith(f":restore:{renewed.generation}")
    assert renewed.fence > task.fence
    assert outdated is None
    assert row(task.tenant).generation == renewed.generation


def test_who_is_back_keeps_the_reason_and_no_open_forward_call(scene, plan):
    record = rolling_back(scene, plan)
    upgrade = TenantUpgrade.objects.get(batch__number=1, position=0)
    TenantUpgrade.objects.update(last_error="still 1.0.0")
    DeployerCall.objects.create(
        plan=plan,
        upgrade=upgrade,
        direction="install",
        generation=1,
        attempt=1,
        key="k",
        fence=1,
        version="1.5.0",
        executor="hands",
        started_at=now() - timedelta(hours=1),
    )

    async def work(one):
        for task in await one.claim_many(10):
            await one.record_many([moved(task, "restored", "1.0.0")])

    using(back_scope(record), work)
    assert row(upgrade.tenant_key).last_error == "still 1.0.0"
    assert DeployerCall.objects.get().ended_at is not None


def test_tenants_that_a_newer_plan_has_moved_on_are_left_alone(scene):
    keys = ("acorn", "birch", "cedar")
    old = a_started(scene, keys=keys)
    for number in (1, 2):
        passed(old, number)
    old = Plan.objects.get(pk=old.pk)
    old.move("complete")
    old.save()
    old.plan_tenants.update(reserved=False)
    newer = a_started(scene, keys=("acorn",), external_id="pay-8")
    called(opened(newer))
    record = request_rollback(plan_id=old.pk, by=scene.olga, reason="", now=now(), via="page")

    async def one_by_one(one):
        return [task.tenant for _turn in range(4) for task in await one.claim_many(1)]

    assert sorted(using(back_scope(record), one_by_one)) == ["birch", "cedar"]
    assert states(old)["acorn"] == "excluded"
    assert Rollback.objects.get(pk=record.pk).superseded == ["acorn"]
    assert states(newer)["acorn"] == "upgraded"


def test_who_was_handed_over_under_this_rollback_is_not_claimed_again(scene, plan):
    record = rolling_back(scene, plan)

    async def hand_over(one):
        for task in await one.claim_many(10):
            await one.record_many([moved(task, "give_up", exhausted=True)])

    using(back_scope(record), hand_over)
    assert set(states(plan).values()) == {"needs_hand", "pending"}
    assert using(back_scope(record), lambda one: one.claim_many(10)) == []


def test_a_rollback_that_has_finished_claims_nothing(scene, plan):
    record = rolling_back(scene, plan)
    Rollback.objects.update(finished_at=now())
    assert using(back_scope(record), lambda one: one.claim_many(10)) == []


def test_after_its_writer_has_ended_the_ledger_says_so(plan):
    one = DatabaseLedger(scope_of(plan))
    one._failure = ValueError("broken")
    with pytest.raises(RuntimeError, match="writer has ended"):
        asyncio.run(one.claim_many(1))


# Two plans at one tenant: one that had ended takes it back, another one waits to upgrade it.


@pytest.fixture
def ended(scene):
    """Return a completed plan over acorn and birch, whose tenants are free again."""
    plan = a_started(scene, keys=("acorn", "birch"), external_id="old")
    for number in (1, 2):
        passed(plan, number)
    return complete(plan_id=plan.pk, now=now())


def test_nobody_goes_forward_while_another_plan_is_taken_back(scene, ended):
    newer = a_started(scene, keys=("acorn", "cedar", "dogwood"), external_id="new")
    TenantUpgrade.objects.filter(plan=newer).update(batch=opened(newer))
    record = request_rollback(plan_id=ended.pk, by=scene.olga, reason="", now=now(), via="page")
    tasks = using(scope_of(newer), lambda one: one.claim_many(10))
    assert {task.tenant for task in tasks} == {"cedar", "dogwood"}
    assert {t.tenant for t in using(back_scope(record), lambda one: one.claim_many(10))} == {
        "acorn",
        "birch",
    }
    TenantUpgrade.objects.filter(plan=ended).update(state="rolled_back", restored_at=now())
    later = using(scope_of(newer), lambda one: one.claim_many(10))
    assert "acorn" in {task.tenant for task in later}


def test_who_was_claimed_before_another_plan_was_taken_back_is_not_called(scene, ended):
    newer = a_started(scene, keys=("acorn",), external_id="new")
    opened(newer)

    async def claimed_too_early(one):
        (task,) = await one.claim_many(1)
        await asyncio.to_thread(
            request_rollback,
            plan_id=ended.pk, by=None, reason="", now=now(), via="watch",
        )  # fmt: skip
        return await one.begin_calls([start_of(task)])

    assert using(scope_of(newer), claimed_too_early) == [None]
    assert not DeployerCall.objects.filter(plan=newer).exists()
    assert TenantUpgrade.objects.get(plan=newer).touched_at is None


def test_who_was_called_before_another_plan_was_taken_back_goes_on(scene, ended):
    newer = a_started(scene, keys=("acorn",), external_id="new")
    opened(newer)

    async def called_already(one):
        (task,) = await one.claim_many(1)
        await one.begin_calls([start_of(task)])
        await asyncio.to_thread(
            request_rollback,
            plan_id=ended.pk, by=None, reason="", now=now(), via="watch",
        )  # fmt: skip
        return await one.begin_calls([start_of(task, attempt=2)])

    assert using(scope_of(newer), called_already) != [None]
