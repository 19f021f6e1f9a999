"""What the tenants of a world were like before it began, as the console would have recorded it."""

import random
from datetime import timedelta

from batches.history.recording import FIVE_MINUTES, HOUR
from batches.history.rollups import merged, packed, rolled
from batches.looks.kpi_points import RatioPoint
from batches.models import KpiRollup
from tests.simulation.scenario import TENANTS
from tests.simulation.simulated_machine import BEGAN

HOURS = 4
REQUESTS, BAD_SHARE = 300, 0.01


def _point(dice: random.Random) -> RatioPoint:
    return RatioPoint(sum(dice.random() < BAD_SHARE for _ in range(REQUESTS)), REQUESTS)


def record_past() -> None:
    """Write hours in which one request of a hundred failed; the same in every world."""
    dice = random.Random("past")
    rows = []
    for hour in range(HOURS, 0, -1):
        begins = BEGAN - timedelta(hours=hour)
        spans = []
        for number in range(HOUR // FIVE_MINUTES):
            seen = rolled({key: _point(dice) for key in TENANTS})
            spans.append(seen)
            rows.append((FIVE_MINUTES, begins + timedelta(seconds=number * FIVE_MINUTES), seen))
        rows.append((HOUR, begins, merged(spans)))
    KpiRollup.objects.bulk_create(
        KpiRollup(kpi="error_rate", step=step, at=at, tenants=len(TENANTS), body=packed(seen))
        for step, at, seen in rows
    )
