"""Who is in quarantine, as the pages and the API show it."""

from typing import Any

from batches.lifecycle import TENANT_UPGRADE
from batches.models import TenantUpgrade
from plans.models import Plan

SHOWN = 200
RETRIED_BY = {
    "rolled_back": "quarantined",
    "excluded": "quarantined",
    "failed": "exhausted",
    "unknown": "exhausted",
}
"""Which count of a state tells how many of it failed and can be called again."""


def quarantine_of(plan: Plan) -> dict[str, Any]:
    """Return how many were taken out of their batches, and the first of them by name and reason."""
    rows = TenantUpgrade.objects.filter(plan=plan).quarantined()
    shown: list[dict[str, Any]] = list(
        rows.order_by("batch__number", "position").values(
            "tenant_key",
            "state",
            "batch__number",
            "version_before",
            "attempts",
            "set_aside_at",
            "set_aside_why",
        )[: SHOWN + 1]
    )
    for row in shown:
        row["label"] = TENANT_UPGRADE.states[row["state"]]
    few = len(shown) <= SHOWN
    return {"n": len(shown) if few else rows.count(), "shown": shown[:SHOWN]}
