"""What is known of tenants from while nothing was released: rates, baselines, dispersion.

The port through which everything else asks the history. What rests on too little says so in words
(`standing`). Asking costs some hundred milliseconds with 10,000 tenants: ask once per plan, not at
each look.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from batches.configured import dictionary
from batches.evidence.calibration import dispersion as phi_of
from batches.history.recording import FIVE_MINUTES, HOUR, MINUTE, span_start
from batches.history.rollups import Rollup, merged, points_of, unpacked
from batches.kpis.dictionary import KpiDefinition
from batches.looks.kpi_points import GaugePoint, HistogramPoint, Point, RatioPoint
from batches.models import KpiRollup
from batches.runtime import surroundings

LOOKED_BACK = timedelta(hours=24)
"""One day: load has its hours, and what a tenant was like last month says little."""
PHI_LOOKED_BACK = timedelta(hours=6)
FEWEST_BLOCKS = 36
"""Three hours of 5 minutes: with less the scatter of errors cannot be told from chance."""


@dataclass(frozen=True, slots=True)
class HistoryStanding:
    """How much is known of one Kpi; `too_little` is empty where it is enough for everything.

    `seconds`: how much of the last day was recorded. `phi` is None where that is too little.
    """

    kpi: str
    seconds: float
    tenants: int
    phi: float | None
    too_little: str


def standing(
    kpi: str, *, until: datetime | None = None, bound: float | None = None
) -> HistoryStanding:
    """Return how much history of a Kpi there is, and what is missing where it is too little."""
    name = _name(kpi)
    until = until or surroundings.here().now()
    rows = _rows(name, until - LOOKED_BACK, until)
    if not rows:
        nothing = f"nothing was recorded of {name} in the last 24 h; it is recorded once a minute"
        return HistoryStanding(name, 0.0, 0, None, nothing)
    phi, why = _phi(name, until, bound)
    return HistoryStanding(
        kpi=name,
        seconds=float(sum(row.step for row in rows)),
        tenants=max(row.tenants for row in rows),
        phi=phi,
        too_little=why,
    )


def own_history(
    kpi: str, tenants: Iterable[str] | None = None, *, until: datetime | None = None
) -> dict[str, Point]:
    """Return each tenant's last day as one point in the Kpi's unit; tenants without any are absent.

    What came after `until` does not count; the present by default.
    """
    until = until or surroundings.here().now()
    rows = _rows(_name(kpi), until - LOOKED_BACK, until)
    return points_of(merged(unpacked(bytes(row.body)) for row in rows), tenants)


def exposure_rates(
    plugin: str,
    kpi: str,
    tenants: Collection[str],
    *,
    until: datetime | None = None,
    bound: float | None = None,
) -> dict[str, tuple[float, float]]:
    """Return each tenant's (bad events, events) of its last day; tenants without any are absent.

    Of a histogram the bad ones are those above `bound`; a gauge has no events. A tenant's counts
    are the same for every plugin: metric sources tell tenants apart, not plugins.
    """
    del plugin
    found = {}
    for tenant, point in own_history(kpi, tenants, until=until).items():
        counts = _counts(point, bound)
        if counts is not None and counts[1] > 0:
            found[tenant] = counts
    return found


def baseline(
    kpi: str, tenants: Collection[str], *, until: datetime | None = None
) -> dict[str, float]:
    """Return each tenant's own mean of its last day in the Kpi's unit; absent where there is none.

    Of a ratio it is the share that the Kpi tells: of good events where higher is better, else of
    bad ones. A histogram has no such mean: take `own_history` with a bound.
    """
    definition = dictionary().kpi(kpi)
    if definition is None:
        return {}
    means: dict[str, float] = {}
    for tenant, point in own_history(kpi, tenants, until=until).items():
        if isinstance(point, GaugePoint):
            means[tenant] = point.value
        elif isinstance(point, RatioPoint) and point.total > 0:
            means[tenant] = _share(point, definition)
    return means


def dispersion(
    plugin: str, kpi: str, *, until: datetime | None = None, bound: float | None = None
) -> float | None:
    """Return phi (F10) of the last hours; None where `standing` says that it is too little."""
    del plugin
    return _phi(_name(kpi), until or surroundings.here().now(), bound)[0]


def minutes_of(
    kpi: str, *, since: datetime | None = None, until: datetime | None = None
) -> list[tuple[datetime, Rollup]]:
    """Return the recorded minutes in their order, for as long as this installation keeps them."""
    rows = KpiRollup.objects.filter(kpi=_name(kpi), step=MINUTE).order_by("at")
    if since is not None:
        rows = rows.filter(at__gte=since)
    if until is not None:
        rows = rows.filter(at__lt=until)
    return [(at, unpacked(bytes(body))) for at, body in rows.values_list("at", "body")]


def _name(kpi: str) -> str:
    """Return the Kpi's canonical name; a name that the dictionary does not know stays as it is."""
    definition = dictionary().kpi(kpi)
    return definition.name if definition is not None else kpi


def _counts(point: Point, bound: float | None) -> tuple[float, float] | None:
    if isinstance(point, RatioPoint):
        return point.bad, max(point.bad, point.total)
    if isinstance(point, HistogramPoint) and bound is not None:
        # The bound that can only make the share look worse, as a guardrail takes it.
        below = max((edge for edge in point.buckets if edge <= bound), default=None)
        if below is not None:
            return max(0.0, point.total - point.buckets[below]), point.total
    return None


def _share(point: RatioPoint, definition: KpiDefinition) -> float:
    bad = point.bad / max(point.bad, point.total)
    share = 1 - bad if definition.direction == "higher" else bad
    return share if definition.unit == "1" else 100 * share


def _rows(kpi: str, since: datetime, until: datetime) -> list[KpiRollup]:
    """Return rows that cover the time once: hours, then finer ones of what is not an hour yet."""
    chosen: list[KpiRollup] = []
    edge = since
    for step in (HOUR, FIVE_MINUTES, MINUTE):
        ends = span_start(until, step)
        found = KpiRollup.objects.filter(kpi=kpi, step=step, at__gte=edge, at__lt=ends)
        rows = list(found.order_by("at"))
        chosen += rows
        if rows:
            edge = rows[-1].at + timedelta(seconds=step)
    return chosen


def _phi(kpi: str, until: datetime, bound: float | None) -> tuple[float | None, str]:
    """Return phi, or None and what is missing."""
    ends = span_start(until, FIVE_MINUTES)
    rows = KpiRollup.objects.filter(
        kpi=kpi, step=FIVE_MINUTES, at__gte=ends - PHI_LOOKED_BACK, at__lt=ends
    )
    if (there := rows.count()) < FEWEST_BLOCKS:
        return None, (
            f"{5 * there} min of {kpi} were recorded in the last 6 h; the scatter of its errors"
            f" needs {5 * FEWEST_BLOCKS} min"
        )
    blocks = [points_of(unpacked(bytes(row.body))) for row in rows.order_by("at").iterator()]
    counted = [
        {
            tenant: counts
            for tenant, point in block.items()
            if (counts := _counts(point, bound)) is not None
        }
        for block in blocks
    ]
    table = _table(counted)
    return phi_of(
        [[bad for bad, _total in row] for row in table],
        [[total for _bad, total in row] for row in table],
    ), ""


def _table(blocks: Sequence[dict[str, tuple[float, float]]]) -> list[list[tuple[float, float]]]:
    """Return a row per tenant that ever had something bad, a column per block."""
    ill = sorted({tenant for block in blocks for tenant, (bad, _total) in block.items() if bad > 0})
    return [[block.get(tenant, (0.0, 0.0)) for block in blocks] for tenant in ill]
