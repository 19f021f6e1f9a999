"""Alerts: what people must know. One open alert per key; firing twice is nothing new."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from django.db import transaction

from batches.models import Alert, Batch
from plans.models import Plan
from plans.reading_direction import straight
from plans.trail import events

UNTIL_REVIEWED = ("break_glass", "break_glass_review_overdue")
"""Alerts that end with a review alone, whatever becomes of the plan."""


def alert_key(plan: Plan | None, kind: str, batch: Batch | None = None, *, about: str = "") -> str:
    """Return the key under which an alert is open at most once."""
    return f"{plan.pk if plan else 'system'}:{kind}:{batch.number if batch else about}"


def open_ones() -> dict[str, str]:
    """Return the kind of every open alert by its key, in one question."""
    return dict(Alert.objects.filter(resolved_at=None).order_by().values_list("key", "kind"))


def _lock(plan: Plan | None) -> None:
    """Take what serialises the alerts of a plan: its row, or the system's trail for all others."""
    if plan is not None:
        Plan.objects.locked(plan.pk)
    else:
        events.lock_system_stream()


@transaction.atomic
def fire(
    *,
    plan: Plan | None,
    kind: str,
    sentence: str,
    now: datetime,
    batch: Batch | None = None,
    payload: dict[str, Any] | None = None,
    about: str = "",
) -> Alert:
    """Open an alert, or return the one that is open already.

    `about` tells alerts of no plan apart, for example by plugin.
    """
    key, sentence = alert_key(plan, kind, batch, about=about), straight(sentence)
    still_open = Alert.objects.filter(key=key, resolved_at=None)
    known = still_open.first()
    if known is None:
        _lock(plan)
        known = still_open.first()
    if known is not None:
        return known
    alert = Alert.objects.create(
        plan=plan,
        batch=batch,
        kind=kind,
        key=key,
        sentence=sentence,
        payload=payload or {},
        opened_at=now,
    )
    events.record(
        stream=plan,
        kind="alert_firing",
        sentence=f"Alert {kind}: {sentence}",
        actor=None,
        via="watch",
        now=now,
        payload={"alert": alert.pk, "kind": kind, **(payload or {})},
    )
    return alert


@transaction.atomic
def resolve(
    *,
    plan: Plan | None,
    kind: str,
    now: datetime,
    batch: Batch | None = None,
    about: str = "",
) -> Alert | None:
    """Close an open alert; None when none is open."""
    _lock(plan)
    alert = Alert.objects.filter(
        key=alert_key(plan, kind, batch, about=about), resolved_at=None
    ).first()
    if alert is None:
        return None
    alert.resolved_at = now
    alert.save()
    events.record(
        stream=plan,
        kind="alert_resolved",
        sentence=f"Alert {kind} is over: {alert.sentence}",
        actor=None,
        via="watch",
        now=now,
        payload={"alert": alert.pk, "kind": kind},
    )
    return alert


@transaction.atomic
def resolve_all(
    *, plan: Plan, now: datetime, kinds: Collection[str] = (), why: str = "the plan has ended"
) -> None:
    """Close every open alert of a plan but those that wait for a review, or those of some kinds."""
    _lock(plan)
    still_open = Alert.objects.filter(plan=plan, resolved_at=None).order_by("pk")
    if kinds:
        still_open = still_open.filter(kind__in=kinds)
    else:
        still_open = still_open.exclude(kind__in=UNTIL_REVIEWED)
    for alert in still_open:
        alert.resolved_at = now
        alert.save()
        events.record(
            stream=plan,
            kind="alert_resolved",
            sentence=f"Alert {alert.kind} is over: {why}.",
            actor=None,
            via="watch",
            now=now,
            payload={"alert": alert.pk, "kind": alert.kind},
        )
