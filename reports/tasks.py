"""The doors of the paperwork cluster: each loads by id and calls one function."""

from collections.abc import Sequence

from django.utils import timezone

from reports import deliveries, issuing


def issue_report(plan_id: str) -> None:
    """Make the report of a plan that has ended."""
    issuing.issue_report(plan_id=plan_id, now=timezone.now())


def deliver(ids: Sequence[int]) -> None:
    """Send deliveries that were claimed."""
    deliveries.deliver(ids, now=timezone.now())
