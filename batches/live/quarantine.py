"""Who is in quarantine, as the pages and the API show it."""

from typing import Any

from batches.lifecycle import TENANT_UPGRADE
from batches.models import TenantUpgrade
from plans.models import Plan

SHOWN = 200


def failed_of(state: str, quarantined: int, exhausted: int) -> int:
    """Return how many of a state's tenants failed and can be called again.

    `quarantined` and `exhausted`: how many of them are marked so.
    """
    if state in {"rolled_back", "excluded"}:
        return quarantined
    return exhausted if state in {"failed", "unknown"} else 0


def quarantine_of(plan: Plan) -> dict[str, Any]:
    """Return how many were taken out of their batches, and the first of them by name and reason."""
    rows = TenantUpgrade.objects.filter(plan=plan).quarantined()
    found = rows.order_by("batch__number", "position").values(
        "tenant_key",
        "state",
        "batch__number",
        "version_before",
        "attempts",
        "set_aside_at",
        "set_aside_why",
    )[: SHOWN + 1]
    shown = [{**row, "label": TENANT_UPGRADE.states[row["state"]]} for row in found]
    few = len(shown) <= SHOWN
    return {"n": len(shown) if few else rows.count(), "shown": shown[:SHOWN]}
