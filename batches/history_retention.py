"""Drop roll-ups and looks that are older than this installation keeps them."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from batches.history_recording import FIVE_MINUTES, HOUR, MINUTE
from batches.models import JudgedLook, KpiRollup, KpiSample
from plans import events
from plans.lifecycle import LIVE_PLAN_STATES
from plans.models import Plan

PLANS_AT_ONCE = 5
"""So that dropping many of them does not keep the paperwork from its reports."""


def forget_old(now: datetime) -> None:
    """Drop what is too old; doing it twice changes nothing."""
    kept = {
        MINUTE: timedelta(hours=settings.KPI_MINUTES_KEPT_HOURS),
        FIVE_MINUTES: timedelta(days=settings.KPI_FIVE_MINUTES_KEPT_DAYS),
        HOUR: timedelta(days=settings.KPI_HOURS_KEPT_DAYS),
    }
    for step, span in kept.items():
        KpiRollup.objects.filter(step=step, at__lt=now - span).delete()
    edge = now - timedelta(days=settings.LOOKS_KEPT_DAYS)
    over = Plan.objects.exclude(state__in=LIVE_PLAN_STATES).filter(
        ended_at__lt=edge, samples__isnull=False
    )
    for plan_id in list(over.distinct().values_list("pk", flat=True)[:PLANS_AT_ONCE]):
        _forget_looks(plan_id, now)


def _forget_looks(plan_id: object, now: datetime) -> None:
    """Drop the looks at one plan, and say in its trail that it cannot be replayed any more."""
    with transaction.atomic():
        plan = Plan.objects.locked(str(plan_id))
        looks, _rows = KpiSample.objects.filter(plan=plan).delete()
        JudgedLook.objects.filter(plan=plan).delete()
        if not looks:
            return
        events.record(
            stream=plan,
            kind="looks_dropped",
            sentence=f"{looks} looks at this plan were dropped, {settings.LOOKS_KEPT_DAYS} days"
            " after its end. Its rulings and its report stay; they cannot be replayed any more.",
            actor=None,
            via="watch",
            now=now,
            payload={"looks": looks, "kept_days": settings.LOOKS_KEPT_DAYS},
        )
