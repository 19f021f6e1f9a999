"""Run the effect loop for a batch, for its stragglers or for a rollback, under the right lease.

hands and watch come through here with the same coroutines; what differs is who holds the lease.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import connections, transaction

from batches import alerts, control, drilling, leases, offline, rehearsing, surroundings
from batches.configured import deployer_at_hand
from batches.deployers import Deployer, ObserveFailed, build
from batches.drill_steps import RUN_STATES
from batches.effect_ports import Job, Progress
from batches.effects import EffectLoop
from batches.leases import Keeper, LeaseLost
from batches.ledger import DatabaseLedger
from batches.ledger_claims import FAILED_STATES, Scope
from batches.ledger_writes import note_durations
from batches.models import Batch, Rollback, RollbackDrill, TenantUpgrade
from batches.pacing import allowed_failures
from batches.rollback import in_scope
from batches.waiting import places_to_call
from plans import events
from plans.commit_notice import notify
from plans.database_away import DATABASE_AWAY
from plans.drafting import current_revision, policy_of
from plans.failpoints import reach
from plans.freezes import is_frozen
from plans.models import Plan
from plans.refusal import Refused
from plans.windows import window_state

logger = logging.getLogger(__name__)
Result = TypeVar("Result")
EXTRA_TRIES = timedelta(seconds=120)
"""How long a rollback goes on by itself after its deadline before a person gets what is left."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of the loop needs."""

    job: Job
    scope: Scope


def effects_lease(plan_id: Any) -> str:
    """Return the name of the lease of whoever calls a plan's tenants forward."""
    return f"plan:{plan_id}:effects"


def rollback_lease(plan_id: Any) -> str:
    """Return the name of the lease of whoever takes a plan back."""
    return f"plan:{plan_id}:rollback"


def deployer_named(name: str) -> Deployer:
    """Build a configured deployer."""
    return build(deployer_at_hand(name))


def new_effect_loop() -> EffectLoop:
    """Return an effect loop over the configured deployers."""
    return EffectLoop(build=deployer_named)


def _run(plan: Plan, keeper: Keeper, *, give_up_at: datetime | None, **scope: Any) -> Run:
    policy = policy_of(current_revision(plan))
    job = Job(
        plan=str(plan.pk),
        plugin=plan.plugin.key,
        deployer=plan.deployer,
        parallelism=policy.limits.parallelism,
        attempts=policy.limits.attempts,
        call_timeout=policy.limits.call_timeout_seconds,
        give_up_at=give_up_at,
        fault=rehearsing.fault_of(
            plan,
            direction=scope["direction"],
            executor=scope["executor"],
            now=surroundings.here().now(),
        ),
    )
    return Run(
        job,
        Scope(
            plan_id=plan.pk,
            plugin_id=plan.plugin_id,
            epoch=plan.epoch,
            target_version=plan.release.version,
            target_digest=plan.release.digest,
            call_timeout=policy.limits.call_timeout_seconds,
            deployer=plan.deployer,
            lease_lost=lambda: keeper.lost,
            parallelism=policy.limits.parallelism,
            newest_first=policy.rollback.order == "newest_first",
            **scope,
        ),
    )


def _batch(batch_id: int) -> Batch:
    return Batch.objects.select_related("plan__plugin", "plan__release").get(pk=batch_id)


def prepare_forward(batch_id: int, executor: str, keeper: Keeper) -> Run | None:
    """Return the run for a batch's calls, None when the batch is not to be called now."""
    batch = _batch(batch_id)
    if str(batch.state) != "deploying" or str(batch.plan.state) != "running":
        return None
    now = surroundings.here().now()
    policy = policy_of(current_revision(batch.plan))
    window = window_state(policy.windows_over(begun=True), policy.not_after, now)
    if not window.is_open or is_frozen(batch.plan, places_to_call(batch), now):
        return None
    offline.open_file(batch.plan, policy)
    return _run(
        batch.plan,
        keeper,
        give_up_at=None,
        direction="install",
        executor=executor,
        batch_id=batch.pk,
        closes_at=window.closes_at,
        failures_allowed=_failures_allowed(batch),
    )


def _failures_allowed(batch: Batch) -> int | None:
    """Return the batch's failure budget, None when a person has let it pass."""
    if "failure_rate" in batch.acknowledged:
        return None
    limits = policy_of(current_revision(batch.plan)).limits
    left_out = TenantUpgrade.objects.filter(
        batch=batch, state="excluded", touched_at=None, exhausted_at=None
    ).count()
    # What a drill did to its tenant is no failure of the batch; the ledger counts it as one.
    drilled = TenantUpgrade.objects.filter(
        pk__in=drilling.drilled_upgrades(batch.plan),
        batch=batch,
        state__in=FAILED_STATES,
        exhausted_at__isnull=False,
    ).count()
    return drilled + allowed_failures(batch.size - left_out, limits.failure_rate, limits.failures)


def prepare_stragglers(batch_id: int, executor: str, keeper: Keeper) -> Run | None:
    """Return the run that takes a batch's failed tenants back, so that none stays half done."""
    batch = _batch(batch_id)
    if str(batch.state) != "deploying" or str(batch.plan.state) != "running":
        return None
    policy = policy_of(current_revision(batch.plan))
    return _run(
        batch.plan,
        keeper,
        give_up_at=surroundings.here().now() + timedelta(seconds=policy.limits.rollback_seconds),
        direction="restore",
        executor=executor,
        batch_id=batch.pk,
    )


def prepare_rollback(
    rollback_id: Any, executor: str, keeper: Keeper, deadline: datetime | None = None
) -> Run | None:
    """Return the run of a rollback, None when it has finished.

    `deadline`: where it lies on this machine's clock, when that was moved since the trigger.
    """
    rollback = Rollback.objects.select_related("plan__plugin", "plan__release").get(pk=rollback_id)
    if rollback.finished_at is not None:
        return None
    return _run(
        rollback.plan,
        keeper,
        give_up_at=(deadline or rollback.deadline) + EXTRA_TRIES,
        direction="restore",
        executor=executor,
        rollback_id=rollback.pk,
        batch_id=rollback.batch_id,
        tenants=tuple(rollback.tenants),
        triggered_at=rollback.triggered_at,
    )


def prepare_drill(drill_id: Any, executor: str, keeper: Keeper) -> Run | None:
    """Return the run of a drill's phase, None when nothing of it is to be called now."""
    drill = RollbackDrill.objects.select_related("plan__plugin", "plan__release").get(pk=drill_id)
    plan = drill.plan
    batch = Batch.objects.filter(plan=plan).order_by("number").first()
    if drill.phase not in RUN_STATES or str(plan.state) != "running" or batch is None:
        return None
    now = surroundings.here().now()
    policy = policy_of(current_revision(plan))
    forward = drill.phase == "forward"
    if forward and drilling.closed_for(plan, policy, drill.tenants, now):
        return None
    drill = drilling.restart_clock(drill_id=drill.pk, epoch=plan.epoch, now=now)
    began = drill.clock_from if drill.phase == "back" else now
    return _run(
        plan,
        keeper,
        give_up_at=None if forward else began + timedelta(seconds=drill.limit_seconds),
        direction="install" if forward else "restore",
        executor=executor,
        batch_id=batch.pk,
        tenants=tuple(drill.tenants),
        drill_id=drill.pk,
        states=RUN_STATES[drill.phase],
        closes_at=window_state(policy.windows_over(begun=True), policy.not_after, now).closes_at,
    )


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
        else:
            sentence = f"{len(wrong)} restored tenants were not right when read once more: " + (
                "; ".join(f"{tenant} {error}" for tenant, error in list(wrong.items())[:3])
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
