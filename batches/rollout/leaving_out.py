"""Go on without some: exclude tenants, skip batches, jump ahead, or skip all the rest.

Nothing of this takes anything back or calls anybody. A tenant that no call ever reached counts
neither for nor against the success rate; one that failed before it was left out counts against it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from batches.lifecycle import TENANT_UPGRADE
from batches.models import Batch, TenantUpgrade
from batches.models.batch import TenantUpgradeQuerySet
from batches.rollout.launch import reserve_again
from batches.rollout.who_was_first import batch_of, insist, told_of
from plans.counted_words import counted
from plans.models import Plan, PlanTenant, User
from plans.people.permissions import require
from plans.refusal import BadInput, Refused
from plans.trail import events


def _reason(reason: str, example: str) -> str:
    said = reason.strip()
    if not said:
        raise BadInput([f"reason: say why, such as '{example}'; the report shows it"])
    return said


def _set_aside(
    rows: TenantUpgradeQuerySet, kind: str, *, why: str, by: User, now: datetime
) -> list[str]:
    """Leave tenants out and return their keys."""
    chosen = dict(rows.select_for_update(no_key=True).values_list("pk", "tenant_key"))
    TenantUpgrade.objects.filter(pk__in=list(chosen)).update(
        state=TENANT_UPGRADE.named("exclude").target,
        set_aside=kind,
        set_aside_at=now,
        set_aside_why=f"{by.get_full_name()}: {why}"[:500],
    )
    return sorted(chosen.values())


def _named(keys: Sequence[str]) -> str:
    shown = ", ".join(keys[:10])
    return shown + (f" and {len(keys) - 10} more" if len(keys) > 10 else "")


def _count(n: int) -> str:
    return counted(n, "tenant")


# Tenants.


def excludable(plan: Plan, tenant_keys: Sequence[str]) -> TenantUpgradeQuerySet:
    """Return the named tenants that may be left out; Refused when one may not."""
    named = TenantUpgrade.objects.filter(plan=plan, tenant_key__in=tenant_keys)
    known = dict(named.values_list("tenant_key", "state"))
    unknown = sorted(set(tenant_keys) - set(known))
    if unknown or not tenant_keys:
        raise BadInput(
            [f"tenants: {key!r} is not in this plan" for key in unknown]
            or ["tenants: name at least one"]
        )
    out = named.filter(state="excluded").exclude(set_aside=TenantUpgrade.QUARANTINED).first()
    if out is not None:
        raise Refused(
            f"{out.tenant_key} is left out already"
            f"{f' ({out.set_aside_why})' if out.set_aside_why else ''}.",
            code="already_excluded",
        )
    allowed = {*TENANT_UPGRADE.sources("exclude"), "excluded"}
    wrong = sorted(
        {key for key, state in known.items() if state not in allowed}
        # A call may have reached these: first they are taken back, and read back.
        | set(named.touched().filter(state="failed").values_list("tenant_key", flat=True))
    )
    if wrong:
        label = TENANT_UPGRADE.states[known[wrong[0]]].lower()
        raise Refused(
            f"{wrong[0]} is {label}; only tenants that wait, failed or are back on their version"
            " can be left out. Take it back first.",
            code="not_excludable",
        )
    return named


@transaction.atomic
def exclude(
    *, plan_id: Any, tenant_keys: Sequence[str], reason: str, by: User, now: datetime, via: str
) -> Plan:
    """Leave tenants out for the rest of this plan, and let other plans have them.

    A batch that has nobody left to call is skipped with its last tenant.
    """
    plan = Plan.objects.locked(plan_id)
    require(by, "exclude", plan)
    insist(plan, "leaving tenants out")
    why = _reason(reason, "asked us to wait until Monday")
    keys = _set_aside(
        excludable(plan, tenant_keys), TenantUpgrade.EXCLUDED, why=why, by=by, now=now
    )
    PlanTenant.objects.filter(plan=plan, tenant__key__in=keys).update(reserved=False)
    emptied = _skip_emptied(plan)
    also = f" Batch {', '.join(emptied)} has nobody left and is skipped." if emptied else ""
    events.record(
        stream=plan,
        kind="tenants_excluded",
        sentence=f"{by.get_full_name()} left {_named(keys)} out: {why}.{also}",
        actor=by,
        via=via,
        now=now,
        payload={"tenants": dict.fromkeys(keys, "excluded"), "reason": why, "skipped": emptied},
    )
    return plan


def _skip_emptied(plan: Plan) -> list[str]:
    emptied = []
    for batch in Batch.objects.select_for_update(no_key=True).filter(plan=plan, state="pending"):
        if not TenantUpgrade.objects.filter(batch=batch, state="pending").exists():
            batch.move("skip")
            batch.save()
            emptied.append(str(batch.number))
    return emptied


# Batches.


def _skip(batch: Batch, *, why: str, by: User, now: datetime) -> list[str]:
    batch.move("skip")
    batch.save()
    waiting = TenantUpgrade.objects.filter(batch=batch, state="pending")
    return _set_aside(waiting, TenantUpgrade.SKIPPED, why=why, by=by, now=now)


def _pending(plan: Plan, number: int) -> Batch:
    """Return the batch; Refused, with who was first, when it does not wait any more."""
    batch = batch_of(plan, number)
    if batch is None:
        raise BadInput([f"batch: this plan has no batch {number}"])
    if str(batch.state) != "pending":
        label = batch.lifecycle.states[str(batch.state)].lower()
        first = told_of(plan, "batches_skipped", about=lambda told: number in told["batches"])
        raise Refused(
            f"Batch {number} is {label}{first if label == 'skipped' else ''};"
            " only a batch that has not begun can be skipped or jumped to.",
            code="already_skipped" if label == "skipped" else "batch_began",
        )
    return batch


@transaction.atomic
def skip_batch(
    *, plan_id: Any, batch_number: int, reason: str, by: User, now: datetime, via: str
) -> Plan:
    """Go on without a batch that has not begun; `unskip_batch` brings it back."""
    plan = Plan.objects.locked(plan_id)
    require(by, "skip", plan)
    insist(plan, "skipping a batch")
    why = _reason(reason, "its region is in a change freeze")
    batch = _pending(plan, batch_number)
    keys = _skip(batch, why=why, by=by, now=now)
    events.record(
        stream=plan,
        kind="batches_skipped",
        sentence=f"{by.get_full_name()} skipped batch {batch.number} ({batch.name}) with"
        f" {_count(len(keys))}: {why}.",
        actor=by,
        via=via,
        now=now,
        payload={
            "batches": [batch.number],
            "tenants": dict.fromkeys(keys, "excluded"),
            "reason": why,
        },
    )
    return plan


@transaction.atomic
def unskip_batch(
    *, plan_id: Any, batch_number: int, by: User, now: datetime, via: str, reason: str = ""
) -> Plan:
    """Have a skipped batch done after all, in its place; tenants left out one by one stay out.

    Raises TenantsTaken when another plan has one of its tenants by now.
    """
    plan = Plan.objects.locked(plan_id)
    require(by, "skip", plan)
    insist(plan, "bringing a batch back")
    batch = batch_of(plan, batch_number)
    if batch is None:
        raise BadInput([f"batch: this plan has no batch {batch_number}"])
    rows = skipped_with(batch)
    if str(batch.state) != "skipped":
        label = batch.lifecycle.states[str(batch.state)].lower()
        first = told_of(plan, "batch_unskipped", about=lambda told: told["batch"] == batch_number)
        raise Refused(f"Batch {batch_number} is {label}{first}, not skipped.", code="not_skipped")
    keys = sorted(rows.values_list("tenant_key", flat=True))
    if not keys:
        raise Refused(
            f"All tenants of batch {batch_number} were left out one by one; it has nobody to call.",
            code="nobody_left",
        )
    # A plan that had ended and was reopened by a rollback of a part has let them go.
    reserve_again(plan, keys)
    batch.move("unskip")
    batch.save()
    rows.update(
        state=TENANT_UPGRADE.named("retry").target,
        set_aside="",
        set_aside_at=None,
        set_aside_why="",
    )
    events.record(
        stream=plan,
        kind="batch_unskipped",
        sentence=f"{by.get_full_name()} brought batch {batch.number} ({batch.name}) back with"
        f" {_count(len(keys))}{': ' + reason if reason else ''}.",
        actor=by,
        via=via,
        now=now,
        payload={"batch": batch.number, "tenants": dict.fromkeys(keys, "pending")},
    )
    return plan


def skipped_with(batch: Batch) -> TenantUpgradeQuerySet:
    """Return the tenants that a skipped batch would bring back."""
    return TenantUpgrade.objects.filter(
        batch=batch, state="excluded", set_aside=TenantUpgrade.SKIPPED
    )


def batches_before(plan: Plan, batch: Batch) -> list[Batch]:
    """Return the batches that a jump to this one passes over; Refused when there are none."""
    before = list(
        Batch.objects.select_for_update(no_key=True)
        .filter(plan=plan, state="pending", number__lt=batch.number)
        .order_by("number")
    )
    if not before:
        raise Refused(f"Batch {batch.number} comes next already.", code="already_next")
    return before


@transaction.atomic
def jump(
    *, plan_id: Any, batch_number: int, reason: str, by: User, now: datetime, via: str
) -> Plan:
    """Let a later batch be the next one: those before it that have not begun are skipped.

    Its own gate, windows and the quote hold as ever; each skipped batch can be brought back.
    """
    plan = Plan.objects.locked(plan_id)
    require(by, "skip", plan)
    insist(plan, "jumping to a batch")
    why = _reason(reason, "the others wait for a fix of theirs")
    target = _pending(plan, batch_number)
    passed_over = batches_before(plan, target)
    keys = sorted(key for one in passed_over for key in _skip(one, why=why, by=by, now=now))
    numbers = [one.number for one in passed_over]
    events.record(
        stream=plan,
        kind="batches_skipped",
        sentence=f"{by.get_full_name()} jumped to batch {target.number} ({target.name}), past batch"
        f" {', '.join(map(str, numbers))} with {_count(len(keys))}: {why}.",
        actor=by,
        via=via,
        now=now,
        payload={
            "batches": numbers,
            "tenants": dict.fromkeys(keys, "excluded"),
            "reason": why,
            "jumped_to": target.number,
        },
    )
    return plan


# The rest of the plan.


def still_to_come(plan: Plan) -> TenantUpgradeQuerySet:
    """Return whom skipping the rest would leave out; Refused when it would mean nothing."""
    if not TenantUpgrade.objects.filter(plan=plan, state__in=("upgraded", "upgrading")).exists():
        raise Refused(
            "No tenant runs the new version, so there is nothing to keep; roll the plan back to"
            " end it.",
            code="nothing_to_keep",
        )
    waiting = TenantUpgrade.objects.filter(plan=plan, state="pending")
    if not waiting.exists():
        first = told_of(plan, "rest_skipped")
        raise Refused(f"Nobody waits to be called any more{first}.", code="nothing_waits")
    return waiting


@transaction.atomic
def skip_rest(*, plan_id: Any, reason: str, by: User, now: datetime, via: str) -> Plan:
    """Upgrade nobody else and take nothing back: the live batch soaks to its end, then all ends.

    The plan ends as completed, with honest numbers. A pause stays a pause until it is resumed.
    """
    plan = Plan.objects.locked(plan_id)
    require(by, "skip", plan)
    insist(plan, "skipping the rest")
    why = _reason(reason, "the rest goes out with the next release")
    waiting = still_to_come(plan)
    numbers = []
    for batch in Batch.objects.select_for_update(no_key=True).filter(plan=plan, state="pending"):
        batch.move("skip")
        batch.save()
        numbers.append(batch.number)
    keys = _set_aside(waiting, TenantUpgrade.SKIPPED, why=why, by=by, now=now)
    kept = TenantUpgrade.objects.filter(plan=plan, state__in=("upgraded", "upgrading")).count()
    skipped = f"; batch {', '.join(map(str, numbers))} skipped" if numbers else ""
    events.record(
        stream=plan,
        kind="rest_skipped",
        sentence=f"{by.get_full_name()} skipped the rest:"
        f" {counted(kept, 'tenant keeps', 'tenants keep')} the new version,"
        f" {_count(len(keys))} will not be called{skipped}. {why}.",
        actor=by,
        via=via,
        now=now,
        payload={
            "batches": numbers,
            "tenants": dict.fromkeys(keys, "excluded"),
            "reason": why,
        },
    )
    return plan
