"""Run the effect loop for a batch, for its stragglers or for a rollback, under the right lease.

hands and watch come through here with the same coroutines; what differs is who holds the lease.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.db import OperationalError, connections, transaction
from django.utils import timezone

from batches import alerts, control, leases
from batches.configured import deployer_spec
from batches.deployers import Deployer, ObserveFailed, build
from batches.effect_ports import Job, Progress
from batches.effects import EffectLoop
from batches.leases import Keeper
from batches.ledger import DatabaseLedger
from batches.ledger_claims import Scope
from batches.ledger_writes import note_durations
from batches.models import Batch, Rollback, TenantUpgrade
from batches.rollback import in_scope
from plans import events
from plans.drafting import current_revision, policy_of
from plans.failpoints import reach
from plans.models import Plan
from plans.refusal import Refused

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
    return build(deployer_spec(name))


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
    return _run(
        batch.plan,
        keeper,
        give_up_at=None,
        direction="install",
        executor=executor,
        batch_id=batch.pk,
    )


def prepare_stragglers(batch_id: int, executor: str, keeper: Keeper) -> Run | None:
    """Return the run that takes a batch's failed tenants back, so that none stays half done."""
    batch = _batch(batch_id)
    if str(batch.state) != "deploying" or str(batch.plan.state) != "running":
        return None
    policy = policy_of(current_revision(batch.plan))
    return _run(
        batch.plan,
        keeper,
        give_up_at=timezone.now() + timedelta(seconds=policy.limits.rollback_seconds),
        direction="restore",
        executor=executor,
        batch_id=batch.pk,
    )


def prepare_rollback(rollback_id: Any, executor: str, keeper: Keeper) -> Run | None:
    """Return the run of a rollback, None when it has finished."""
    rollback = Rollback.objects.select_related("plan__plugin", "plan__release").get(pk=rollback_id)
    if rollback.finished_at is not None:
        return None
    return _run(
        rollback.plan,
        keeper,
        give_up_at=rollback.deadline + EXTRA_TRIES,
        direction="restore",
        executor=executor,
        rollback_id=rollback.pk,
        batch_id=rollback.batch_id,
        tenants=tuple(rollback.tenants),
        triggered_at=rollback.triggered_at,
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
                name, holder=leases.new_holder(kind), kind=kind, now=timezone.now()
            )
        )
    )
    if lease is None:
        return False
    keeper = Keeper(lease).start()
    try:
        await work(keeper)
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
    except OperationalError:
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
                _in_database(lambda: _hold_unauthorized(batch_id, progress.unauthorized))
            )

    return await under_lease(effects_lease(plan_id), kind=executor, work=work)


def _hold_unauthorized(batch_id: int, text: str) -> None:
    now = timezone.now()
    reason = f"the platform refuses the console's credentials ({text[:200]})"
    with transaction.atomic():
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


async def take_back(loop: EffectLoop, *, rollback_id: Any, plan_id: Any, executor: str) -> bool:
    """Restore every tenant of a rollback, then read all of them back once more."""

    async def work(keeper: Keeper) -> None:
        while not keeper.lost:
            run = await asyncio.to_thread(
                _in_database(lambda: prepare_rollback(rollback_id, executor, keeper))
            )
            if run is None:
                return
            await _perform(loop, run)
            reach("rollback.restored")
            if await _all_still_back(loop, run, rollback_id):
                return

    return await under_lease(rollback_lease(plan_id), kind=executor, work=work)


async def _all_still_back(loop: EffectLoop, run: Run, rollback_id: Any) -> bool:
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
    await asyncio.to_thread(_in_database(lambda: _note_check(rollback_id, right, wrong)))
    reach("rollback.checked")
    return not wrong


def _restored_versions(rollback_id: Any) -> dict[str, str]:
    rollback = Rollback.objects.get(pk=rollback_id)
    return dict(
        in_scope(rollback)
        .filter(state="rolled_back", restored_at__gte=rollback.triggered_at)
        .values_list("tenant_key", "version_before")
    )


def _note_check(rollback_id: Any, right: list[str], wrong: dict[str, str]) -> None:
    now = timezone.now()
    with transaction.atomic():
        rollback = Rollback.objects.select_for_update().select_related("plan").get(pk=rollback_id)
        upgrades = TenantUpgrade.objects.filter(plan=rollback.plan, state="rolled_back")
        upgrades.filter(tenant_key__in=right).update(observed_at=now)
        for tenant, error in wrong.items():
            upgrades.filter(tenant_key=tenant).update(state="unknown", last_error=error)
        if not wrong:
            rollback.checked_at = now
            rollback.save()
            if not right:
                return
            sentence = f"All {len(right)} restored tenants were read back once more and are right."
        else:
            sentence = f"{len(wrong)} restored tenants were not right when read once more: " + (
                "; ".join(f"{tenant} {error}" for tenant, error in list(wrong.items())[:3])
            )
        events.record(
            stream=rollback.plan,
            kind="rollback_checked",
            sentence=sentence,
            actor=None,
            via="watch",
            now=now,
            payload={"right": len(right), "tenants": dict.fromkeys(wrong, "unknown")},
        )
