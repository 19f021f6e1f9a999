"""What each tenant was like before its upgrade: asked once, then kept with the plan."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

from batches.history import kpi_history
from batches.looks.kept_rows import put
from batches.looks.recall import Watched
from batches.models import KpiBaseline
from plans.models import Plan

ASK_AGAIN_SECONDS = 60.0
"""How long to wait before asking again for tenants of whom too little was known."""


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
        for tenant, mean in kpi_history.baseline(kpi, missing, until=min(missing.values())).items()
        if tenant in missing and math.isfinite(mean)
    }
    watched.ask_history_at[kpi] = now + timedelta(seconds=ASK_AGAIN_SECONDS)
    if found:
        known.update(found)
        put(KpiBaseline, {"plan": plan, "kpi": kpi}, {"means": known})
    return known
