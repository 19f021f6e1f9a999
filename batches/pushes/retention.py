"""Forget pushed data that nobody looks at any more."""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, QuerySet

from batches.models import PipelineEvent, PipelineRun, PushedSeries, PushedSource, PushReceipt
from batches.pushes.pushing import locked_source
from batches.runtime import surroundings

SERIES_KEPT = timedelta(hours=25)
"""An hour longer than the longest time for which a value may stand."""
RECEIPTS_KEPT = timedelta(hours=24)
RUNS_KEPT = timedelta(days=7)
EVENTS_KEPT = timedelta(days=90)
CHUNK = 500
EVERY_SECONDS = 60.0
_next = 0.0


def forget_what_is_old(now: datetime) -> None:
    """Delete what is over, a chunk of each kind in one minute; the watch's chore."""
    global _next
    here = surroundings.here().monotonic()
    # Time may begin anew in a test's surroundings.
    if _next - EVERY_SECONDS <= here < _next:
        return
    _next = here + EVERY_SECONDS
    forget(now)


def forget(now: datetime) -> None:
    """Delete up to a chunk of each kind that is older than it is kept."""
    _forget_series(now)
    kinds: tuple[QuerySet[Any], ...] = (
        PushReceipt.objects.filter(at__lt=now - RECEIPTS_KEPT),
        PipelineRun.objects.filter(seen_at__lt=now - RUNS_KEPT),
        PipelineEvent.objects.filter(received_at__lt=now - EVENTS_KEPT),
    )
    for rows in kinds:
        old = list(rows.order_by("pk").values_list("pk", flat=True)[:CHUNK])
        if old:
            rows.filter(pk__in=old).delete()


def _forget_series(now: datetime) -> None:
    edge = now - SERIES_KEPT
    old = list(
        PushedSeries.objects.filter(at__lt=edge).order_by("at").values("pk", "source")[:CHUNK]
    )
    for name in sorted({row["source"] for row in old}):
        with transaction.atomic():
            source = locked_source(name)
            # Once more under the lock: somebody may have pushed since.
            PushedSeries.objects.filter(
                pk__in=[row["pk"] for row in old if row["source"] == name], at__lt=edge
            ).delete()
            counted = PushedSeries.objects.filter(source=name).aggregate(n=Count("pk"))
            PushedSource.objects.filter(pk=source.pk).update(series=counted["n"])
