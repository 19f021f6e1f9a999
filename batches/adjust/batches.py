"""The batches of a running plan after a change: longer soaks, other gates, tenants shared anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from batches.models import Batch, TenantUpgrade
from batches.rollout.pacing import soak_left
from plans.changes.change import Standing
from plans.drafting.revision_writing import tenants_digest_of
from plans.drafting.waves import Candidate, Wave, recut
from plans.models import Plan, PlanTenant
from plans.policies.policy import BatchSpec, TenantSelector, UpgradePolicy

SOAK_RUNS = ("deploying", "soaking", "held")
_ASIDE = 1_000_000
"""Where a batch waits for its number while the ones before it are numbered anew."""


@dataclass(frozen=True, slots=True)
class Recut:
    """The batches that have not begun, with their tenants as they would be shared out."""

    waves: tuple[Wave, ...]
    digest: str


def rows_of(plan: Plan) -> list[Batch]:
    """Return the plan's batches but the hold-back, in the order of the policy's."""
    return list(Batch.objects.filter(plan=plan, hold_back=False).order_by("number"))


def standing_of(plan: Plan) -> Standing:
    """Return how many batches of the policy stand as they are, and which of them are over.

    A batch that waits in front of a skipped one stands, too: the skipped one keeps its place and
    its tenants, so that it can be brought back.
    """
    rows = rows_of(plan)
    moved = [index for index, row in enumerate(rows) if str(row.state) != "pending"]
    settled = frozenset(rows[i].name for i in moved if str(rows[i].state) not in SOAK_RUNS)
    return Standing(begun=max(moved, default=-1) + 1, over=settled)


def recut_of(plan: Plan, policy: UpgradePolicy, standing: Standing) -> Recut:
    """Return how the tenants that wait would be shared out over the policy's waiting batches."""
    upgrades = TenantUpgrade.objects.filter(plan=plan).order_by("batch__number", "position")
    rows = upgrades.values_list("batch_id", "batch__name", "batch__hold_back", "tenant_key")
    waiting = {row.pk for row in rows_of(plan)[standing.begun :]}
    listed: dict[str, list[str]] = {}
    line: list[str] = []
    held_back: dict[str, list[str]] = {}
    for batch_id, name, hold_back, key in rows:
        if hold_back:
            held_back.setdefault(name, []).append(key)
        elif batch_id in waiting:
            line.append(key)
        else:
            listed.setdefault(name, []).append(key)
    candidates = [Candidate(key) for key in line]
    pin: Sequence[TenantSelector] = ()
    if standing.begun == 0:
        # The pinned tenants stand at the head of the line; they stay in the first batch.
        pin = policy.selection.pin
        labels = dict(
            PlanTenant.objects.filter(plan=plan).values_list("tenant__key", "tenant__labels")
        )
        candidates = [Candidate(key, dict(labels.get(key) or {})) for key in line]
    waves = recut(candidates, policy.batches[standing.begun :], pin=pin)
    batches = [*listed.items(), *((w.name, w.tenants) for w in waves), *held_back.items()]
    return Recut(tuple(waves), tenants_digest_of(batches))


def refit(
    plan: Plan, before: UpgradePolicy, after: UpgradePolicy, standing: Standing, now: datetime
) -> None:
    """Let the batches that are not over be as the policy wants them now; the tenants stay."""
    for row, was, reads in zip(rows_of(plan), before.batches, after.batches, strict=False):
        if row.name in standing.over:
            continue
        _refit_one(row, was, reads, now)
    for row in Batch.objects.filter(plan=plan, hold_back=True, state="pending"):
        row.advance, row.metrics = after.advance, list(after.batches[-1].metrics)
        row.save()


def _refit_one(row: Batch, was: BatchSpec, reads: BatchSpec, now: datetime) -> None:
    pending = str(row.state) == "pending"
    fits = row.soak_seconds == reads.soak_seconds and row.metrics == list(reads.metrics)
    if fits and (not pending or row.advance == reads.advance):
        return
    row.metrics = list(reads.metrics)
    if pending:
        row.advance = reads.advance
    counts = row.soak_counted_at is not None and str(row.state) == "soaking"
    left = soak_left(row.soak_left, row.soak_counted_at, now, counting=counts)
    # What has passed has passed: only the difference is added or taken away.
    row.soak_left = max(0.0, left + reads.soak_seconds - was.soak_seconds)
    row.soak_seconds = reads.soak_seconds
    row.soak_counted_at = now if counts else row.soak_counted_at
    row.save()


def share_out(plan: Plan, waves: Sequence[Wave], standing: Standing) -> None:
    """Make the waiting batches these waves: rows, tenants and places, in their order."""
    rows = rows_of(plan)
    begun = rows[: standing.begun]
    waiting = rows[standing.begun :]
    first = 1 + max((row.number for row in begun), default=0)
    last = Batch.objects.filter(plan=plan, hold_back=True).first()
    if last is not None:
        last.number += _ASIDE
        last.save()
    upgrades = {
        row.tenant_key: row for row in TenantUpgrade.objects.filter(plan=plan, batch__in=waiting)
    }
    batches = [
        _batch_for(plan, wave, first + index, waiting[index : index + 1])
        for index, wave in enumerate(waves)
    ]
    for batch, wave in zip(batches, waves, strict=True):
        for position, key in enumerate(wave.tenants):
            upgrades[key].batch, upgrades[key].position = batch, position
    TenantUpgrade.objects.bulk_update(upgrades.values(), ["batch", "position"], batch_size=500)
    _replace_places(plan, batches, waves)
    # Nobody is in them any more, and nothing else points at a batch that has not begun.
    for row in waiting[len(waves) :]:
        row.delete()
    if last is not None:
        last.number = first + len(waves)
        last.save()
        PlanTenant.objects.filter(
            plan=plan, tenant__in=TenantUpgrade.objects.filter(batch=last).values("tenant")
        ).update(batch_number=last.number)


def _batch_for(plan: Plan, wave: Wave, number: int, there: Sequence[Batch]) -> Batch:
    batch = there[0] if there else Batch(plan=plan, number=number)
    # Whoever let a batch begin meant the one that stood there.
    batch.promoted_at = batch.promoted_by = None
    batch.name = wave.name
    batch.size = len(wave.tenants)
    batch.metrics = list(wave.metrics)
    batch.advance = wave.advance
    batch.soak_seconds = batch.soak_left = wave.soak_seconds
    batch.owner = batch.owner or plan.owner_name or plan.author.get_full_name()
    batch.save()
    return batch


def _replace_places(plan: Plan, batches: Sequence[Batch], waves: Sequence[Wave]) -> None:
    keys = [key for wave in waves for key in wave.tenants]
    places = {
        place.tenant.key: place
        for place in PlanTenant.objects.filter(plan=plan, excluded=False).select_related("tenant")
    }
    for batch, wave in zip(batches, waves, strict=True):
        for position, key in enumerate(wave.tenants):
            places[key].batch_number, places[key].position = batch.number, position
    PlanTenant.objects.bulk_update(
        [places[key] for key in keys], ["batch_number", "position"], batch_size=500
    )
