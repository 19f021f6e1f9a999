"""What one run of the effect loop is to do: its job and its scope, from the rows as they are now.

None of them when nothing of it is to be called now. `batches/effects/execution.py` performs them.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from batches.break_glass import offline
from batches.drills import drilling, rehearsing
from batches.drills.steps import RUN_STATES
from batches.effects.ledger_claims import FAILED_STATES, Scope
from batches.effects.ports import Job
from batches.models import Batch, Rollback, RollbackDrill, TenantUpgrade
from batches.rollout.pacing import allowed_failures
from batches.rollout.stopping import may_be_read, to_be_read
from batches.rollout.waiting import places_to_call
from batches.runtime import surroundings
from batches.runtime.leases import Keeper
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Plan
from plans.openings.freezes import is_frozen
from plans.openings.windows import window_state
from plans.policies.policy import UpgradePolicy

EXTRA_TRIES = timedelta(seconds=120)
"""How long a rollback goes on by itself after its deadline before a person gets what is left."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of the loop needs."""

    job: Job
    scope: Scope


def _job(plan: Plan, policy: UpgradePolicy, *, give_up_at: datetime | None, fault: str) -> Job:
    return Job(
        plan=str(plan.pk),
        plugin=plan.plugin.key,
        deployer=plan.deployer,
        parallelism=policy.limits.parallelism,
        attempts=policy.limits.attempts,
        call_timeout=policy.limits.call_timeout_seconds,
        give_up_at=give_up_at,
        fault=fault,
    )


def _run(plan: Plan, keeper: Keeper, *, give_up_at: datetime | None, **scope: Any) -> Run:
    policy = policy_of(current_revision(plan))
    fault = rehearsing.fault_of(
        plan,
        direction=scope["direction"],
        executor=scope["executor"],
        now=surroundings.here().now(),
    )
    return Run(
        _job(plan, policy, give_up_at=give_up_at, fault=fault),
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


def prepare_reading(plan_id: Any) -> tuple[Job, list[str]] | None:
    """Return who is to be read after a stop, None when nobody is, or is yet."""
    plan = Plan.objects.select_related("plugin").get(pk=plan_id)
    policy = policy_of(current_revision(plan))
    now = surroundings.here().now()
    timeout = policy.limits.call_timeout_seconds
    if str(plan.state) != "needs_hand" or not may_be_read(plan, timeout, now):
        return None
    keys = to_be_read(plan).order_by("tenant_key").values_list("tenant_key", flat=True)
    return _job(plan, policy, give_up_at=None, fault=""), list(keys)


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
