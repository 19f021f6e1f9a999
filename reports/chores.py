"""What the watch hands to the paperwork cluster each second; it makes and sends nothing itself."""

from datetime import datetime

from django.db import transaction
from django_q.tasks import async_task

from reports.announcing import announce_alerts
from reports.deliveries import claim_due
from reports.issuing import anything_due, due_reports
from reports.models import Delivery

CLUSTER = "paperwork"


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
