"""Drop roll-ups that are older than this installation keeps them."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet

from batches.history.recording import FIVE_MINUTES, HOUR, MINUTE
from batches.models import KpiRollup

ROWS_AT_ONCE = 200


def forget_old(now: datetime) -> None:
    """Drop what is too old; doing it twice changes nothing."""
    kept = {
        MINUTE: timedelta(hours=settings.KPI_MINUTES_KEPT_HOURS),
        FIVE_MINUTES: timedelta(days=settings.KPI_FIVE_MINUTES_KEPT_DAYS),
        HOUR: timedelta(days=settings.KPI_HOURS_KEPT_DAYS),
    }
    for step, span in kept.items():
        _drop(KpiRollup.objects.filter(step=step, at__lt=now - span))


def _drop(old: "QuerySet[KpiRollup]") -> None:
    """Drop rows a few at a time: rollbacks write to the same database."""
    while True:
        few = list(old.order_by("pk").values_list("pk", flat=True)[:ROWS_AT_ONCE])
        KpiRollup.objects.filter(pk__in=few).delete()
        if len(few) < ROWS_AT_ONCE:
            return
