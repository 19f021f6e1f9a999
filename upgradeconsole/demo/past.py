"""The demo fleet's last hours, as the console would have recorded them had it run.

Drawn from the very traffic that the fleet's counters are drawn from, at each tenant's own rates:
forecasts and the evidence test need some hours of what is usual, and nobody waits for them to try a
demonstration.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import accumulate, pairwise

from batches.history.recording import FIVE_MINUTES, span_start
from batches.history.rollups import packed, rolled
from batches.kpis.units import convert
from batches.looks.kpi_points import HistogramPoint, RatioPoint
from batches.models import KpiRollup
from upgradeconsole.demo.releases import BASELINE
from upgradeconsole.demo.traffic import BOUNDS, Series, Traffic

BLOCKS = 48
"""Four hours of five minutes; the scatter of errors needs three."""
SEED = "demo"
"""The fleet's own: the same tenants have the same rates."""


def past_of(tenants: Iterable[str], until: datetime) -> list[KpiRollup]:
    """Return the roll-ups of errors and latency up to the moment; nobody has saved them."""
    traffic = Traffic(seed=SEED, now=0.0)
    for tenant in sorted(tenants):
        traffic.add(tenant, BASELINE)
    begin = span_start(until, FIVE_MINUTES) - timedelta(seconds=BLOCKS * FIVE_MINUTES)
    looks = (traffic.counted(float(FIVE_MINUTES * block)) for block in range(BLOCKS + 1))
    rows: list[KpiRollup] = []
    for block, (before, after) in enumerate(pairwise(looks)):
        at = begin + timedelta(seconds=block * FIVE_MINUTES)
        spans = {tenant: _between(before[tenant], after[tenant]) for tenant in after}
        for kpi, points in (
            ("error_rate", {t: RatioPoint(errors, n) for t, (errors, n, _cells) in spans.items()}),
            ("latency_ms", {t: _latency(cells, n) for t, (_bad, n, cells) in spans.items()}),
        ):
            body = packed(rolled(points))
            rows.append(
                KpiRollup(kpi=kpi, step=FIVE_MINUTES, at=at, tenants=len(points), body=body)
            )
    return rows


def _between(before: Series, after: Series) -> tuple[float, float, list[int]]:
    cells = [now - then for then, now in zip(before.cells, after.cells, strict=True)]
    return float(after.errors - before.errors), float(after.requests - before.requests), cells


def _latency(cells: list[int], requests: float) -> HistogramPoint:
    upto = accumulate(cells)
    return HistogramPoint(
        {convert(bound, "s", "ms"): float(n) for bound, n in zip(BOUNDS, upto, strict=False)},
        requests,
    )
