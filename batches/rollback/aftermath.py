"""What becomes of the Kpis after a rollback: begin to watch the restored tenants, end it.

A rollback that cured nothing is an ending of its own: the release was not the cause, and whoever
owns the plan has to look elsewhere.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from batches.alerting import alerts
from batches.configured import dictionary
from batches.drills import drilling
from batches.models import AftermathCursor, AftermathSample, Alert, Rollback, TenantUpgrade
from batches.rollback.back_in_band import Aftermath, watch_plan
from plans.models import Plan
from plans.policies.policy import UpgradePolicy
from plans.refusal import BadInput
from plans.trail import events

STILL_BAD = "still_bad"
UNSEEN = "aftermath_no_data"
LOOKS_AT_ONCE = 2000
"""How many old looks are removed in one transaction: nobody waits for that."""
ALERTS = {"still_bad": STILL_BAD, "no_data": UNSEEN}
KINDS = frozenset({*ALERTS.values(), drilling.FAILED})


def restored_tenants(rollback: Rollback) -> dict[str, str]:
    """Return the restored tenants that still are this rollback's, with the version they run.

    A tenant that a newer plan has called since runs something else: it tells nothing any more.
    """
    upgrades = TenantUpgrade.objects.filter(plan_id=rollback.plan_id, state="rolled_back")
    if rollback.scope == "batch":
        upgrades = upgrades.filter(batch=rollback.batch) if rollback.batch else upgrades.none()
    if rollback.scope == "tenants":
        upgrades = upgrades.filter(tenant_key__in=rollback.tenants)
    # Whom a person settled as taken back was never read back.
    rows = upgrades.filter(restored_at__isnull=False).values_list(
        "tenant_id", "tenant_key", "version_before"
    )
    found = {tenant: (key, version) for tenant, key, version in rows}
    moved_on = set(
        TenantUpgrade.objects.touched()
        .filter(plan__plugin=rollback.plan.plugin_id, touched_at__gte=rollback.triggered_at)
        .exclude(plan_id=rollback.plan_id)
        .values_list("tenant_id", flat=True)
    )
    return {key: version for tenant, (key, version) in found.items() if tenant not in moved_on}


def begin(rollback: Rollback, plan: Plan, policy: UpgradePolicy, now: datetime) -> str:
    """Say on a rollback that is being finished how its tenants are watched; return the sentence.

    Runs inside the transaction that finishes the rollback, which saves it.
    """
    since = rollback.verified_at or now
    restored = len(restored_tenants(rollback))
    until, sentence = watch_plan(_of_old_version(policy), restored=restored, since=since)
    rollback.aftermath = "watching" if until is not None else "not_watched"
    rollback.aftermath_until = until
    rollback.aftermath_at = None if until is not None else now
    rollback.aftermath_sentence = sentence
    return sentence


def _of_old_version(policy: UpgradePolicy) -> UpgradePolicy:
    """Return the policy without the guardrails that say nothing of tenants on the old version."""
    try:
        known = dictionary()
    except BadInput:
        # What is wrong with the file is said where the restored tenants are looked at.
        return policy
    judged = (rule for rule in policy.guardrails if not known.is_of_new_version_only(rule.kpi))
    return replace(policy, guardrails=tuple(judged))


def cut_short(plan: Plan, *, why: str, now: datetime) -> None:
    """Stop watching after earlier rollbacks of a plan: something else happens to its tenants."""
    for rollback in Rollback.objects.select_for_update(no_key=True).filter(
        plan=plan, aftermath="watching"
    ):
        _ended(rollback, Aftermath("not_watched", why), now)


@transaction.atomic
def end(*, rollback_id: Any, found: Aftermath, now: datetime) -> Rollback:
    """Keep how the Kpis are after a rollback; ending it twice keeps the first.

    Still bad, and nothing to be seen, are told to the owners.
    """
    plan = Plan.objects.locked(
        Rollback.objects.values_list("plan_id", flat=True).get(pk=rollback_id)
    )
    rollback = Rollback.objects.select_for_update(no_key=True).get(pk=rollback_id)
    if rollback.aftermath != "watching":
        return rollback
    _ended(rollback, found, now)
    kind = ALERTS.get(found.ending)
    if kind is not None:
        worst = next((kpi for kpi in found.kpis if kpi.verdict == found.ending), None)
        payload: dict[str, Any] = {"tenants": sorted(restored_tenants(rollback))}
        if worst is not None:
            payload |= {
                "kpi": worst.kpi,
                "value": worst.value,
                "threshold": worst.threshold,
                "unit": worst.unit,
            }
        alerts.fire(
            plan=plan, kind=kind, sentence=found.sentence.rstrip("."), now=now, payload=payload
        )
    return rollback


def note_progress(*, rollback_id: Any, found: Aftermath) -> None:
    """Keep what was measured so far for the page."""
    with transaction.atomic():
        rollback, _plan = Rollback.objects.locked(rollback_id)
        if rollback.aftermath == "watching":
            rollback.aftermath_kpis = [kpi.to_json() for kpi in found.kpis]
            rollback.save(update_fields=["aftermath_kpis"])


def alerts_of_archived() -> QuerySet[Alert]:
    """Return what was told after a rollback or a drill whose plan somebody has put away."""
    return Alert.objects.filter(kind__in=KINDS, resolved_at=None, plan__state="archived")


def close_alerts_of_archived(now: datetime) -> None:
    """Close what was told after a rollback or a drill once somebody has put its plan away."""
    for alert in alerts_of_archived().select_related("plan"):
        if alert.plan is not None:
            alerts.resolve(plan=alert.plan, kind=alert.kind, now=now)


def forget_old_looks(now: datetime) -> None:
    """Remove looks at restored tenants that ended long ago, a chunk at a time.

    What they came to stays with the rollback's record, in the trail and in the report.
    """
    over = Rollback.objects.filter(aftermath_at__lt=now - timedelta(days=settings.AFTERMATH_DAYS))
    old = AftermathSample.objects.filter(rollback__in=over.exclude(aftermath="watching"))
    chunk = list(old.values_list("pk", flat=True)[:LOOKS_AT_ONCE])
    AftermathSample.objects.filter(pk__in=chunk).delete()


def _ended(rollback: Rollback, found: Aftermath, now: datetime) -> None:
    rollback.aftermath = found.ending
    rollback.aftermath_at = now
    rollback.aftermath_sentence = found.sentence
    if found.kpis:
        rollback.aftermath_kpis = [kpi.to_json() for kpi in found.kpis]
    rollback.save()
    # Nobody counts on from here any more.
    AftermathCursor.objects.filter(rollback=rollback).delete()
    events.record(
        stream=rollback.plan,
        kind="rollback_aftermath",
        sentence=found.sentence,
        actor=None,
        via="watch",
        now=now,
        payload={
            "rollback": str(rollback.pk),
            "aftermath": found.ending,
            "kpis": _numbers(found),
        },
    )


def _numbers(found: Aftermath) -> Sequence[dict[str, Any]]:
    return [
        {
            "guardrail": kpi.guardrail,
            "verdict": kpi.verdict,
            "value": kpi.value,
            "threshold": kpi.threshold,
            "unit": kpi.unit,
            "n": kpi.n,
        }
        for kpi in found.kpis
    ]
