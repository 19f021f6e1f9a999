"""The doors of the paperwork cluster: each loads by id and calls one function."""

from collections.abc import Sequence
from datetime import timedelta

from auditlog.context import set_actor
from django.utils import timezone

from reports import issuing
from reports.telling import deliveries
from reports.trail import checking

NOT_TWICE_WITHIN = timedelta(hours=1)


def issue_report(plan_id: str) -> None:
    """Make the report of a plan that has ended."""
    with set_actor(None):
        issuing.issue_report(plan_id=plan_id, now=timezone.now())


def deliver(ids: Sequence[int]) -> None:
    """Send deliveries that were claimed."""
    with set_actor(None):
        deliveries.deliver(ids, now=timezone.now())


def check_trail() -> None:
    """Check the whole trail, unless that was done meanwhile."""
    now = timezone.now()
    last = checking.newest_check()
    if last is None or now - last.at > NOT_TWICE_WITHIN:
        checking.check_and_keep(now=now, via="hands")
