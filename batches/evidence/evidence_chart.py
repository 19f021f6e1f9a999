"""The course of a plan's evidence as a chart: a thick line for all Kpis, a thin one for each."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from batches.guardrails.limits_in_force import InForce
from batches.models import EvidenceLook
from plans.models import Plan
from plans.policies.policy import EvidenceRules

KPI: Final = "evidence test"
"""The chart's key among those of Kpis; no Kpi can be called so."""
TOGETHER: Final = "together"
LOOKS_SHOWN: Final = 600
EDGE: Final = 2.5
"""An upper end that is farther off than so many times the ratio or what is tolerated."""
_MANY_TO_ONE: Final = 1e6


def odds_words(log_e: float) -> str:
    """Return what the evidence is worth as a bet: 79:1 against "no worse than tolerated"."""
    against = 'against "no worse than tolerated"'
    if log_e <= 0:
        return f"nothing {against}"
    if log_e >= math.log(_MANY_TO_ONE):
        return f"more than a million to 1 {against}"
    return f"{math.exp(log_e):,.3g}:1 {against}"


def points_of_look(row: EvidenceLook) -> list[dict[str, Any]]:
    """Return what one look adds to the lines."""
    return [
        _point(row.at, TOGETHER, row.together, row.together_log_e),
        _point(row.at, f"kpi {row.kpi}", row.percent, row.log_e),
    ]


def ratio_key(kpi: str) -> str:
    """Return the key of a Kpi's chart of the ratio; no Kpi can be called so."""
    return f"{kpi} / control"


def ratio_points(row: EvidenceLook) -> list[dict[str, Any]]:
    """Return what one look adds to the ratio's lines; what is too far off is drawn at the edge."""
    shown = [value for value in (row.ratio, row.ratio_tolerated) if value is not None]
    edge = EDGE * max(shown, default=1.0)
    upper = edge if row.ratio_upper is None else min(edge, row.ratio_upper)
    known = row.ratio_lower is not None
    values = {
        "ratio": row.ratio,
        "lower": row.ratio_lower,
        "upper": upper if known else None,
        "tolerated": row.ratio_tolerated,
    }
    return [
        {"at": row.at, "line": line, "value": None if value is None else round(value, 4)}
        for line, value in values.items()
    ]


def ratio_charts(plan: Plan, periods: Sequence[InForce]) -> list[dict[str, Any]]:
    """Return, for each tested Kpi, the canary's rate by the control's with its band."""
    tests = [period.policy.evidence for period in periods if period.policy.evidence is not None]
    if not tests:
        return []
    charts = []
    certain = f"{100 - tests[-1].max_false_rollback_risk:g} % band from"
    kpis = EvidenceLook.objects.filter(plan=plan).order_by().values_list("kpi", flat=True)
    for kpi in sorted(set(kpis)):
        rows = _shown(plan, kpi)
        charts.append(
            {
                "kpi": ratio_key(kpi),
                "title": f"{kpi}, canary / control",
                "unit": "x",
                "lines": [
                    {"name": "ratio", "label": "ratio in this batch", "dashed": False, "width": 3},
                    {
                        "name": "lower",
                        "label": certain,
                        "dashed": False,
                        "width": 1,
                    },
                    {"name": "upper", "label": "to", "dashed": False, "width": 1},
                    {"name": "tolerated", "label": "tolerated", "dashed": True, "width": 1},
                ],
                "limits": [],
                "points": [point for row in rows for point in ratio_points(row)],
            }
        )
    return charts


def _shown(plan: Plan, kpi: str) -> list[EvidenceLook]:
    """Return the looks that a chart begins with; the newest always belongs to them."""
    rows = EvidenceLook.objects.filter(plan=plan, **({"kpi": kpi} if kpi else {}))
    ids = list(rows.order_by("at", "pk").values_list("pk", flat=True))
    step = max(1, len(ids) // LOOKS_SHOWN)
    return list(rows.filter(pk__in=ids[::-1][::step]).order_by("at", "pk"))


def _point(at: datetime, line: str, percent: float, log_e: float) -> dict[str, Any]:
    return {"at": at, "line": line, "value": round(percent, 2), "said": odds_words(log_e)}


def evidence_chart(plan: Plan, periods: Sequence[InForce]) -> dict[str, Any] | None:
    """Return the chart with its points so far; None where no policy of the plan has a test."""
    tests = [period.policy.evidence for period in periods if period.policy.evidence is not None]
    if not tests:
        return None
    chosen = _shown(plan, "")
    kpis = list(dict.fromkeys([*_kpis(tests), *(row.kpi for row in chosen)]))
    several = len(kpis) > 1
    lines = [{"name": TOGETHER, "label": "evidence", "dashed": False, "width": 3}]
    if several:
        lines[0]["label"] = "all together"
        lines += [{"name": f"kpi {kpi}", "label": kpi, "dashed": False, "width": 1} for kpi in kpis]
    names = {line["name"] for line in lines}
    points = [point for row in chosen for point in points_of_look(row) if point["line"] in names]
    return {
        "kpi": KPI,
        "title": "Evidence that it is worse than tolerated",
        "unit": "%",
        "lines": lines,
        "limits": [
            {"value": 100, "label": f"at 100 %: {tests[-1].action}", "from": None, "until": None}
        ],
        "points": points,
    }


def _kpis(tests: Sequence[EvidenceRules]) -> list[str]:
    return [kpi for test in tests for kpi in test.kpis]
