"""What pages and the API show of a plan's windows, the freezes that hold it, and its overrides."""

import uuid
from datetime import datetime, timedelta
from typing import Any

from batches.rollout.waiting import plan_opening
from plans.models import Freeze, FreezeOverride, Plan
from plans.policies.policy import UpgradePolicy

SOON = timedelta(hours=2)
"""From when on a closing is told at the top of the page."""


def opening_shown(plan: Plan, policy: UpgradePolicy, now: datetime) -> dict[str, Any]:
    """Return whether what comes next may be called, and when it may."""
    found = plan_opening(plan, policy, now)
    roles = dict(
        Freeze.objects.filter(pk__in=[freeze.pk for freeze in found.freezes]).values_list(
            "pk", "overriders"
        )
    )
    return {
        "is_open": found.is_open,
        "sentence": found.sentence,
        "next_opening": found.next_opening,
        "closes_at": found.closes_at,
        "for_good": found.for_good,
        "closes_soon": found.closes_at is not None and found.closes_at - now <= SOON,
        "freezes": [
            {
                "id": freeze.pk,
                "name": freeze.name,
                "reason": freeze.reason,
                "ends_at": freeze.ends_at,
                "overriders": roles.get(uuid.UUID(freeze.pk), []),
            }
            for freeze in found.freezes
        ],
    }


def overrides_shown(plan: Plan) -> list[dict[str, Any]]:
    """Return the freezes that the plan was let through, by whom and why."""
    return [
        {
            "freeze": row.freeze.name,
            "by": row.by.get_full_name(),
            "role": row.role,
            "reason": row.reason,
            "at": row.at,
            "expires_at": row.expires_at,
        }
        for row in FreezeOverride.objects.filter(plan=plan).select_related("freeze", "by")
    ]
