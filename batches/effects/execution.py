"""Run the effect loop for a batch, for its stragglers or for a rollback, under the right lease.

hands and watch come through here with the same coroutines; what differs is who holds the lease.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from django.db import connections, transaction

from batches.alerting import alerts
from batches.configured import deployer_at_hand, outbound_rules
from batches.deployers import Deployer, Observed, ObserveFailed, build
from batches.effects.ledger import DatabaseLedger
from batches.effects.loop import EffectLoop
from batches.effects.pace_notes import note_durations
from batches.effects.ports import Progress
from batches.effects.runs import (
    Run,
    prepare_drill,
    prepare_forward,
    prepare_reading,
    prepare_rollback,
    prepare_stragglers,
)
from batches.models import Rollback, TenantUpgrade
from batches.rollback.rollback import in_scope
from batches.rollout import control
from batches.rollout.stopping import settle_as_read
from batches.runtime import leases, surroundings
from batches.runtime.leases import Keeper, LeaseLost
from plans.counted_words import counted
from plans.database_away import DATABASE_AWAY
from plans.failpoints import reach
from plans.refusal import Refused
from plans.trail import events
from plans.trail.commit_notice import notify

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


def effects_lease(plan_id: Any) -> str:
    """Return the name of the lease of whoever calls a plan's tenants forward."""
    return f"plan:{plan_id}:effects"


def rollback_lease(plan_id: Any) -> str:
    """Return the name of the lease of whoever takes a plan back."""
    return f"plan:{plan_id}:rollback"


def deployer_named(name: str) -> Deployer:
    """Build a configured deployer."""
    return build(deployer_at_hand(name), rules=outbound_rules())


def new_effect_loop() -> EffectLoop:
    """Return an effect loop over the configured deployers."""
    return EffectLoop(build=deployer_named)


def _in_database(work: Callable[[], Result]) -> Callable[[], Result]:
    """Close this thread's connection after the work: the pool's threads come and go."""

    def closing() -> Result:
        try:
            return work()
        finally:
            connections.close_all()

    return closing


async def under_lease(name: str, *, kind: str, work: Callable[[Keeper], Any]) -> bool:
    """Run `await work(keeper)` while holding the lease; False when somebody else holds it."""
    lease = await asyncio.to_thread(
        _in_database(
            lambda: leases.acquire(
                name, holder=leases.new_holder(kind), kind=kind, now=surroundings.here().now()
            )
        )
    )
    if lease is None:
        return False
    keeper = Keeper(lease).start()
    try:
        await work(keeper)
    except LeaseLost as lost:
        # Whoever has the lease by now goes on; what this run knows is old.
        logger.warning("A run has ended before its time: %s.", lost)
    finally:
        await asyncio.to_thread(_in_database(keeper.stop))
    return True


async def _perform(loop: EffectLoop, run: Run) -> Progress:
    ledger = DatabaseLedger(run.scope)
    ledger.__enter__()
    try:
        progress = await loop.run(run.job, ledger)
    finally:
        await asyncio.to_thread(ledger.__exit__)
    if progress.looks:
        await asyncio.to_thread(
            _in_database(lambda: _note_looks(run.scope.deployer, list(progress.looks)))
        )
    return progress


def _note_looks(deployer: str, seconds: list[float]) -> None:
    """Keep how long looks take: the rollback quote counts two for each tenant."""
    try:
        with transaction.atomic():
            note_durations(deployer, "observe", seconds)
    except DATABASE_AWAY:
        # The run's work is done and recorded; the next run measures again.
        logger.warning("The database was busy; the pace of %s was not noted.", deployer)
    reach("effects.looks_noted")


async def call_batch(loop: EffectLoop, *, batch_id: int, plan_id: Any, executor: str) -> bool:
    """Call a batch's tenants; False when another process is at it."""

    async def work(keeper: Keeper) -> None:
        run = await asyncio.to_thread(
            _in_database(lambda: prepare_forward(batch_id, executor, keeper))
        )
        if run is None:
            return
        progress = await _perform(loop, run)
        if progress.unauthorized:
            await asyncio.to_thread(
                _in_database(lambda: _hold_unauthorized(batch_id, progress.unauthorized, keeper))
            )

    return await under_lease(effects_lease(plan_id), kind=executor, work=work)


def _hold_unauthorized(batch_id: int, text: str, keeper: Keeper) -> None:
    now = surroundings.here().now()
    reason = f"the platform refuses the console's credentials ({text[:200]})"
    with keeper.fenced():
        try:
            batch = control.hold(batch_id=batch_id, kind="unauthorized", reason=reason, now=now)
        except Refused:
            # A rollback has begun since; it tells of the credentials itself.
            return
        alerts.fire(plan=batch.plan, kind="unauthorized", sentence=reason, now=now, batch=batch)


async def restore_stragglers(
    loop: EffectLoop, *, batch_id: int, plan_id: Any, executor: str
) -> bool:
    """Take a batch's failed tenants back."""

    async def work(keeper: Keeper) -> None:
        run = await asyncio.to_thread(
            _in_database(lambda: prepare_stragglers(batch_id, executor, keeper))
        )
        if run is not None:
            await _perform(loop, run)

    return await under_lease(effects_lease(plan_id), kind=executor, work=work)


async def read_half_done(loop: EffectLoop, *, plan_id: Any, executor: str) -> bool:
    """Read the tenants that a stop found half done, and settle them by what they show."""

    async def work(keeper: Keeper) -> None:
        due = await asyncio.to_thread(_in_database(lambda: prepare_reading(plan_id)))
        if due is None:
            return
        seen = await loop.observe_all(*due)
        await asyncio.to_thread(_in_database(lambda: _settle_as_read(plan_id, seen, keeper)))

    return await under_lease(effects_lease(plan_id), kind=executor, work=work)


def _settle_as_read(
    plan_id: Any, seen: Mapping[str, Observed | ObserveFailed], keeper: Keeper
) -> None:
    with keeper.fenced():
        settle_as_read(plan_id=plan_id, seen=seen, now=surroundings.here().now())


async def run_drill(loop: EffectLoop, *, drill_id: Any, plan_id: Any, executor: str) -> bool:
    """Make the calls of a drill's phase: back, forward, or back again."""

    async def work(keeper: Keeper) -> None:
        run = await asyncio.to_thread(
            _in_database(lambda: prepare_drill(drill_id, executor, keeper))
        )
        if run is not None:
            progress = await _perform(loop, run)
            reach("drill.called")
            if progress.unauthorized and run.scope.batch_id is not None:
                batch_id, text = run.scope.batch_id, progress.unauthorized
                await asyncio.to_thread(
                    _in_database(lambda: _hold_unauthorized(batch_id, text, keeper))
                )

    return await under_lease(effects_lease(plan_id), kind=executor, work=work)


async def take_back(
    loop: EffectLoop,
    *,
    rollback_id: Any,
    plan_id: Any,
    executor: str,
    deadline: datetime | None = None,
) -> bool:
    """Restore every tenant of a rollback, then read all of them back once more."""

    async def work(keeper: Keeper) -> None:
        while not keeper.lost:
            run = await asyncio.to_thread(
                _in_database(lambda: prepare_rollback(rollback_id, executor, keeper, deadline))
            )
            if run is None:
                return
            await _perform(loop, run)
            reach("rollback.restored")
            if await _all_still_back(loop, run, rollback_id, keeper):
                return

    return await under_lease(rollback_lease(plan_id), kind=executor, work=work)


async def _all_still_back(loop: EffectLoop, run: Run, rollback_id: Any, keeper: Keeper) -> bool:
    """Observe all restored tenants once more; reopen those that show another version."""
    wanted: dict[str, str] = await asyncio.to_thread(
        _in_database(lambda: _restored_versions(rollback_id))
    )
    seen = await loop.observe_all(run.job, list(wanted))
    wrong: dict[str, str] = {}
    for tenant, version in wanted.items():
        answer = seen[tenant]
        if isinstance(answer, ObserveFailed):
            wrong[tenant] = f"could not be read back once more: {answer.reason}"
        elif answer.version != version:
            wrong[tenant] = f"shows {answer.version} again"
    right = [tenant for tenant in wanted if tenant not in wrong]
    await asyncio.to_thread(_in_database(lambda: _note_check(rollback_id, right, wrong, keeper)))
    reach("rollback.checked")
    return not wrong


def _restored_versions(rollback_id: Any) -> dict[str, str]:
    rollback = Rollback.objects.get(pk=rollback_id)
    return dict(
        in_scope(rollback)
        .filter(state="rolled_back", restored_at__gte=rollback.triggered_at)
        .values_list("tenant_key", "version_before")
    )


def _note_check(rollback_id: Any, right: list[str], wrong: dict[str, str], keeper: Keeper) -> None:
    now = surroundings.here().now()
    # A run that was frozen while it read must not reopen what another one has ended meanwhile.
    with keeper.fenced():
        rollback, plan = Rollback.objects.locked(rollback_id)
        upgrades = TenantUpgrade.objects.filter(plan=plan, state="rolled_back")
        upgrades.filter(tenant_key__in=right).update(observed_at=now)
        for tenant, error in wrong.items():
            upgrades.filter(tenant_key=tenant).update(state="unknown", last_error=error)
        if not wrong:
            rollback.checked_at = now
            rollback.save()
            if not right:
                notify()
                return
            sentence = f"All {len(right)} restored tenants were read back once more and are right."
            if len(right) == 1:
                sentence = "The restored tenant was read back once more and is right."
        else:
            sentence = (
                f"{counted(len(wrong), 'restored tenant was', 'restored tenants were')} not"
                " right when read once more: "
                + ("; ".join(f"{tenant} {error}" for tenant, error in list(wrong.items())[:3]))
            )
        events.record(
            stream=plan,
            kind="rollback_checked",
            sentence=sentence,
            actor=None,
            via="watch",
            now=now,
            payload={"right": len(right), "tenants": dict.fromkeys(wrong, "unknown")},
        )
