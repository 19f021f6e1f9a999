"""Tell people of tenants that show the wanted version and run another artifact than was signed."""

from collections.abc import Mapping
from datetime import datetime

from batches.alerting import alerts
from plans.counted_words import counted
from plans.models import Plan

KIND = "digest_mismatch"
NAMED = 3


def tell_foreign_digests(plan: Plan, found: Mapping[str, str], *, now: datetime) -> None:
    """Fire the plan's alert, in the transaction that records what was seen; one at a time."""
    clauses = [f"{tenant} {clause}" for tenant, clause in sorted(found.items())]
    more = f"; and {counted(len(clauses) - NAMED, 'more tenant')}" if len(clauses) > NAMED else ""
    alerts.fire(
        plan=plan,
        kind=KIND,
        sentence="; ".join(clauses[:NAMED]) + more,
        now=now,
        payload={"tenants": sorted(found)},
    )
