"""The dictionary's panels as charts: lines of points, limits, and marks where something happened.

A point is what one look gave over all tenants of a side: the upgraded ones (`canary`) or the
ones still waiting (`control`). Guardrails judge windows of looks; the charts show the looks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batches.configured import dictionary
from batches.evidence.evidence_chart import evidence_chart, ratio_charts
from batches.guardrails.limits_in_force import InForce, limit_steps, policies_in_force
from batches.guardrails.pinned_policy import definition_of
from batches.kpis.dictionary import KpiDefinition, Panel
from batches.looks import kpi_points
from batches.looks.kpi_points import GaugePoint, HistogramPoint, LookSample, RatioPoint
from batches.models import KpiCourse, KpiSample
from plans.models import Event, Plan
from plans.policies.policy import UpgradePolicy
from plans.refusal import BadInput

USUAL_QUANTILE = 0.95
LOOKS_SHOWN = 300
"""How many looks of a Kpi a chart begins with; a look of 10,000 tenants is a long row."""
SIDES = {"canary": "upgraded", "control": "not yet upgraded"}
MARKS = {
    "batch_opened": "batch",
    "rollback_begun": "rollback",
    "plan_paused": "pause",
    "batch_held": "hold",
    "plan_adjusted": "adjusted",
}


@dataclass(frozen=True, slots=True)
class Point:
    """One value of one line; None where a look gave nothing, which is drawn as a hole."""

    at: datetime
    line: str
    value: float | None

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"at": self.at, "line": self.line, "value": self.value}


def points_of(sample: KpiSample) -> list[Point]:
    """Return what one look adds to the lines of its Kpi's charts."""
    definition = definition_of(sample.kpi)
    if definition is None:
        return []
    lines = [(side, quantile) for quantile in _quantiles(definition) for side in SIDES]
    if not sample.ok or not sample.look:
        return [Point(sample.at, _line(side, q), None) for side, q in lines]
    look = LookSample.from_json(sample.look)
    return [
        Point(sample.at, _line(side, q), _value(getattr(look, side).values(), definition, q))
        for side, q in lines
    ]


def _line(side: str, quantile: float | None) -> str:
    return side if quantile is None else f"{side}@{quantile:g}"


def _quantiles(definition: KpiDefinition) -> Sequence[float | None]:
    if definition.kind != "histogram":
        return [None]
    asked = {
        panel.quantile or USUAL_QUANTILE
        for _title, panels in dictionary().dashboards
        for panel in panels
        if panel.kpi == definition.name
    }
    return sorted(asked | {USUAL_QUANTILE})


def _value(
    points: Iterable[kpi_points.Point], definition: KpiDefinition, quantile: float | None
) -> float | None:
    """Return one number for all tenants of a side, None where none of them says anything."""
    bad = total = gauges = 0.0
    tenants = 0
    buckets: dict[float, float] = {}
    for point in points:
        match point:
            case RatioPoint():
                bad, total = bad + point.bad, total + point.total
            case GaugePoint():
                gauges, tenants = gauges + point.value, tenants + 1
            case HistogramPoint():
                total += point.total
                for bound, n in point.buckets.items():
                    buckets[bound] = buckets.get(bound, 0.0) + n
    if definition.kind == "gauge":
        return round(gauges / tenants, 6) if tenants else None
    if total <= 0:
        return None
    if definition.kind == "ratio":
        return round(bad / total * (100 if definition.unit == "%" else 1), 6)
    return quantile_of(buckets, total, quantile or USUAL_QUANTILE)


def quantile_of(buckets: Mapping[float, float], total: float, quantile: float) -> float | None:
    """Return the quantile of cumulative buckets, linear inside the bucket that holds it."""
    wanted = quantile * total
    below, floor = 0.0, 0.0
    for bound in sorted(buckets):
        n = buckets[bound]
        if n >= wanted:
            inside = (wanted - below) / (n - below) if n > below else 1.0
            return round(floor + (bound - floor) * inside, 6)
        below, floor = n, bound
    # Slower than the last bound: all that is known is that it is at least that.
    return floor or None


def plan_charts(plan: Plan) -> dict[str, Any]:
    """Return the plan's charts with their points so far, and the marks on all of them."""
    periods = policies_in_force(plan)
    charts = [_chart(panel, periods) for panel in _panels([one.policy for one in periods])]
    found = {chart["kpi"]: _points_so_far(plan, chart["kpi"]) for chart in charts}
    for chart in charts:
        names = {line["name"] for line in chart["lines"]}
        chart["points"] = [p.to_json() for p in found[chart["kpi"]] if p.line in names]
    evidence = evidence_chart(plan, periods)
    if evidence is not None:
        charts = [evidence, *ratio_charts(plan, periods), *charts]
    marks = Event.objects.filter(stream__key=plan.stream_key, kind__in=MARKS).order_by("seq")
    return {
        "charts": charts,
        "marks": [{"at": row.at, "kind": MARKS[row.kind], "label": row.sentence} for row in marks],
    }


def _panels(policies: Sequence[UpgradePolicy]) -> list[Panel]:
    """Return the dashboards' panels, then one for each other Kpi that was or is watched."""
    try:
        known = dictionary()
    except BadInput:
        return []
    watched = {
        definition.name
        for policy in policies
        for name in policy.watched_kpis
        if (definition := known.kpi(name)) is not None
    }
    drawn = [panel for _title, panels in known.dashboards for panel in panels]
    missing = sorted(watched - {panel.kpi for panel in drawn})
    return [*drawn, *(Panel(kpi=kpi) for kpi in missing)]


def _chart(panel: Panel, periods: Sequence[InForce]) -> dict[str, Any]:
    definition = definition_of(panel.kpi)
    quantile = None
    title = panel.title or panel.kpi
    if definition is not None and definition.kind == "histogram":
        quantile = panel.quantile or USUAL_QUANTILE
        title += f", {quantile * 100:g} % are faster"
    sides = SIDES if panel.split else {"canary": SIDES["canary"]}
    return {
        "kpi": panel.kpi,
        "title": title,
        "unit": definition.unit if definition is not None else "",
        "lines": [
            {"name": _line(side, quantile), "label": label, "dashed": side == "control"}
            for side, label in sides.items()
        ],
        "limits": [
            {
                "value": step.limit.value,
                "label": step.limit.label,
                "from": step.since,
                "until": step.until,
            }
            for step in limit_steps(periods)
            if step.limit.kpi == panel.kpi and step.drawn
        ],
    }


def _points_so_far(plan: Plan, kpi: str) -> list[Point]:
    ids = list(
        KpiSample.objects.filter(plan=plan, kpi=kpi).order_by("at").values_list("pk", flat=True)
    )
    if not ids:
        return _kept_points(plan, kpi)
    step = max(1, len(ids) // LOOKS_SHOWN)
    # The newest look always belongs to it.
    chosen = ids[::-1][::step]
    rows = KpiSample.objects.filter(pk__in=chosen).order_by("at")
    return [point for row in rows for point in points_of(row)]


def _kept_points(plan: Plan, kpi: str) -> list[Point]:
    """Return what was kept of looks that were dropped long after the plan's end."""
    kept = KpiCourse.objects.filter(plan=plan, kpi=kpi).first()
    definition = definition_of(kpi)
    if kept is None or definition is None:
        return []
    quantile = USUAL_QUANTILE if definition.kind == "histogram" else None
    return [
        Point(datetime.fromisoformat(at), _line(side, quantile), value)
        for at, canary, control, _cause in kept.points
        for side, value in zip(SIDES, (canary, control), strict=True)
    ]
