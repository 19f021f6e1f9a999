"""What each tenant was like before its upgrade: asked once, then kept with the plan."""

import math
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Protocol

from batches.models import KpiBaseline
from batches.recall import Watched
from plans.models import Plan

ASK_AGAIN_SECONDS = 60.0
"""How long to wait before asking again for tenants of whom too little was known."""


class History(Protocol):
    """What was measured of tenants before, whoever keeps it."""

    def baseline(
        self, kpi: str, tenants: Collection[str], *, until: datetime | None = None
    ) -> dict[str, float]:
        """Return each tenant's own mean before a moment, in the Kpi's unit.

        Tenants of whom too little was measured are left out: nobody guesses.
        """


class NoHistory:
    """Nothing is kept: every guardrail against it says that it has nothing to compare with."""

    def baseline(
        self, kpi: str, tenants: Collection[str], *, until: datetime | None = None
    ) -> dict[str, float]:
        """Return nobody's mean."""
        return {}


history: History = NoHistory()


def baselines(
    plan: Plan, watched: Watched, kpi: str, upgraded: Mapping[str, datetime], now: datetime
) -> Mapping[str, float]:
    """Return the means that the plan keeps, with those of tenants that were upgraded since."""
    known = watched.baselines.setdefault(kpi, {})
    missing = {tenant: at for tenant, at in upgraded.items() if tenant not in known}
    if not missing or now < watched.ask_history_at.get(kpi, now):
        return known
    found = {
        tenant: mean
        for tenant, mean in history.baseline(kpi, missing, until=min(missing.values())).items()
        if tenant in missing and math.isfinite(mean)
    }
    watched.ask_history_at[kpi] = now + timedelta(seconds=ASK_AGAIN_SECONDS)
    if found:
        known.update(found)
        KpiBaseline.objects.update_or_create(plan=plan, kpi=kpi, defaults={"means": known})
    return known
