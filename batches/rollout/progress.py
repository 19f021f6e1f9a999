"""Move a plan on: settle a batch's calls, pass its soak, complete the plan, hand it to a person."""

import re
from datetime import datetime
from typing import Any

from django.db import transaction

from batches.models import Batch, TenantUpgrade
from batches.models.batch import TenantUpgradeQuerySet
from batches.rollout.launch import free_reservations
from plans.counted_words import counted
from plans.models import Installation, Plan
from plans.refusal import Refused
from plans.trail import events
from plans.trail.commit_notice import notify

UNFINISHED = ("pending", "upgrading", "failed", "restoring")


def _refuse_unfinished(upgrades: TenantUpgradeQuerySet) -> None:
    """Raise Refused when a person has put tenants back to work since this was decided."""
    left = upgrades.filter(state__in=UNFINISHED).count()
    if left:
        raise Refused(
            f"{counted(left, 'tenant is', 'tenants are')} not accounted for yet.", code="unfinished"
        )


WORDS = 300
"""How much of what a plan waits for is shown."""
NUMBER = re.compile(r"\d[\d.,]*")


@transaction.atomic
def settle_calls(*, batch_id: int, now: datetime) -> Batch:
    """No call is open any more: the soak begins."""
    batch, plan = Batch.objects.locked(batch_id)
    _refuse_unfinished(TenantUpgrade.objects.filter(batch=batch))
    batch.move("settle_calls")
    batch.calls_done_at = now
    batch.soak_counted_at = now if str(plan.state) == "running" else None
    batch.save()
    counts = TenantUpgrade.objects.filter(batch=batch).counts()
    upgraded = counts.get("upgraded", 0)
    others = batch.size - upgraded
    sentence = (
        f"Batch {batch.number} ({batch.name}): {upgraded} of "
        f"{counted(batch.size, 'tenant runs', 'tenants run')} the new version and"
        f" {'was' if batch.size == 1 else 'were'} read back; it soaks for {batch.soak_left:.0f} s."
    )
    if others:
        sentence += f" {others} did not make it and {'is' if others == 1 else 'are'} accounted for."
    events.record(
        stream=plan,
        kind="batch_calls_settled",
        sentence=sentence,
        actor=None,
        via="watch",
        now=now,
        payload={"batch": batch.number, "counts": counts},
    )
    return batch


@transaction.atomic
def pass_soak(*, batch_id: int, why: str, now: datetime, revision: int | None = None) -> Batch:
    """The soak is over and every critical Kpi was measured and fine.

    `revision` is the one by which it was decided: under a newer one it has to be decided anew.
    """
    batch, plan = Batch.objects.locked(batch_id)
    plan.require_revision(revision)
    batch.move("pass_soak")
    batch.soak_left = 0
    batch.soak_counted_at = None
    batch.ended_at = now
    batch.save()
    _keep_stable_versions(plan, batch)
    events.record(
        stream=plan,
        kind="batch_passed",
        sentence=f"Batch {batch.number} ({batch.name}) passed{': ' + why if why else ''}.",
        actor=None,
        via="watch",
        now=now,
        payload={"batch": batch.number},
    )
    return batch


def _keep_stable_versions(plan: Plan, batch: Batch) -> None:
    """Note the version that a passed batch came from as the last stable one of its tenants."""
    upgraded = TenantUpgrade.objects.filter(batch=batch, state="upgraded")
    for version in set(upgraded.values_list("version_before", flat=True)):
        if version:
            Installation.objects.filter(
                plugin_id=plan.plugin_id,
                tenant_id__in=upgraded.filter(version_before=version).values("tenant_id"),
            ).update(last_stable_version=version)


@transaction.atomic
def complete(*, plan_id: Any, now: datetime) -> Plan:
    """Every tenant is upgraded, rolled back or excluded and the last soak is over."""
    plan = Plan.objects.locked(plan_id)
    _refuse_unfinished(TenantUpgrade.objects.filter(plan=plan))
    # A part of a plan that was stopped may have gone back since: it is not complete by that.
    was_stopped = plan.stopped_at is not None
    plan.move("stop_here" if was_stopped else "complete")
    plan.ended_at = now
    plan.waiting_for = ""
    plan.save()
    free_reservations(plan)
    counts = TenantUpgrade.objects.filter(plan=plan).counts()
    upgraded, total = counts.get("upgraded", 0), sum(counts.values())
    run = (
        f"{upgraded} of {counted(total, 'tenant runs', 'tenants run')}"
        f" {plan.release.version} and {'was' if total == 1 else 'were'} read back"
        f" ({100 * upgraded / max(1, total):.1f} %)"
    )
    events.record(
        stream=plan,
        kind="plan_stopped_here" if was_stopped else "plan_completed",
        sentence=f"The plan ends where it was stopped: {run}."
        if was_stopped
        else f"The plan is complete: {run}.",
        actor=None,
        via="watch",
        now=now,
        payload={"counts": counts, "needs_hand": []} if was_stopped else {"counts": counts},
    )
    return plan


@transaction.atomic
def need_a_hand(*, plan_id: Any, now: datetime) -> Plan:
    """Nothing is left to do by itself, but some tenants need a person.

    Refused when a person has answered since this was decided: took the plan back, settled the last
    of the tenants, or had others called again.
    """
    plan = Plan.objects.locked(plan_id)
    upgrades = TenantUpgrade.objects.filter(plan=plan)
    left = sorted(upgrades.filter(state="needs_hand").values_list("tenant_key", flat=True))
    if str(plan.state) != "running" or not left:
        raise Refused("Nothing of a running plan waits for a person.", code="nothing_waits")
    _refuse_unfinished(upgrades)
    plan.move("escalate")
    plan.ended_at = now
    plan.save()
    events.record(
        stream=plan,
        kind="plan_needs_hand",
        sentence=f"{counted(len(left), 'tenant needs', 'tenants need')} a hand:"
        f" {', '.join(left[:10])}.",
        actor=None,
        via="watch",
        now=now,
        payload={"needs_hand": left},
    )
    return plan


def say_waiting(*, plan_id: Any, sentence: str, now: datetime) -> None:
    """Say what an approved or running plan waits for; tell the trail once per reason.

    Numbers that only grow, such as the requests that were seen, are the same reason.
    """
    words = sentence[:WORDS]
    if Plan.objects.filter(pk=plan_id, waiting_for=words).exists():
        return
    with transaction.atomic():
        plan = Plan.objects.locked(plan_id)
        if plan.waiting_for == words or str(plan.state) not in {"approved", "running"}:
            return
        if _reason(plan.waiting_for) == _reason(words):
            Plan.objects.filter(pk=plan_id).update(waiting_for=words)
            notify()
            return
        plan.waiting_for = words
        plan.save()
        events.record(
            stream=plan,
            kind="plan_waits",
            sentence=f"The plan waits: {sentence}.",
            actor=None,
            via="watch",
            now=now,
        )


def _reason(words: str) -> str:
    return NUMBER.sub("#", words)


def stop_waiting(*, plan_id: Any) -> None:
    """Say no longer what a running plan waited for: it goes on."""
    Plan.objects.filter(pk=plan_id, state="running").exclude(waiting_for="").update(waiting_for="")
