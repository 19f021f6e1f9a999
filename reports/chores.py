"""What the watch hands to the paperwork cluster each second; it makes and sends nothing itself."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django_q.tasks import async_task

from plans.models import Checkpoint, TrailCheck
from plans.trail import addresses
from reports.issuing import anything_due, due_reports
from reports.models import Delivery
from reports.telling.announcing import announce_alerts
from reports.telling.deliveries import claim_due

CLUSTER = "paperwork"
CHECK_EACH = timedelta(hours=24)
ADDRESSES_EACH = timedelta(hours=1)
_asked: dict[str, datetime] = {}
"""When this process last asked for something that need not be asked for each second."""


def hand_out_reports(now: datetime) -> None:
    """Enqueue a report for every plan that has ended without one."""
    # Asked first, so that an idle console takes no write lock each second.
    if not anything_due(now):
        return
    # Claim and task commit together: a crash between them leaves neither.
    with transaction.atomic():
        for plan_id in due_reports(now):
            async_task("reports.tasks.issue_report", str(plan_id), cluster=CLUSTER)


def hand_out_deliveries(now: datetime) -> None:
    """Announce new alerts, and enqueue everything that is to be sent (again)."""
    announce_alerts(now)
    if not Delivery.objects.due(now).exists():
        return
    with transaction.atomic():
        ids = claim_due(now)
        if ids:
            async_task("reports.tasks.deliver", ids, cluster=CLUSTER)


def hand_out_trail_check(now: datetime) -> None:
    """Have the whole trail checked once a day."""
    if not _seldom("trail check", now, timedelta(minutes=10)):
        return
    last = TrailCheck.objects.order_by("-at").first()
    due = last is None or not timedelta() <= now - last.at < CHECK_EACH
    if due and Checkpoint.objects.exists():
        async_task("reports.tasks.check_trail", cluster=CLUSTER)


def forget_addresses(now: datetime) -> None:
    """Erase the addresses of events when their time is over."""
    if settings.ADDRESSES_KEPT_DAYS and _seldom("addresses", now, ADDRESSES_EACH):
        addresses.forget_old(now=now)


def _seldom(what: str, now: datetime, each: timedelta) -> bool:
    last = _asked.get(what)
    if last is not None and timedelta() <= now - last < each:
        return False
    _asked[what] = now
    return True
