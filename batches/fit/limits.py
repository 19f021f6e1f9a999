"""Can a guardrail judge what a probe saw? Limits beside the values that are there before a plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from batches.fit.checks import Facts
from batches.fit.findings import Finding
from batches.guardrails.measurement import shown
from batches.kpis.dictionary import KpiDefinition
from batches.kpis.units import compatible_with, convert
from plans.counted_words import counted
from plans.policies.policy import Guardrail

FAR_OVER: Final = 50
FAR_UNDER: Final = 500
FAR_ABOVE_BOUNDS: Final = 10


def limit_findings(
    guardrail: Guardrail, definition: KpiDefinition, facts: Facts, *, native_unit: str
) -> list[Finding]:
    """Return what speaks against the limit of a guardrail that resolve_guardrail returned."""
    limit = guardrail.at_least if guardrail.at_most is None else guardrail.at_most
    if limit is None:
        return []
    if definition.kind == "histogram":
        return _beside_bounds(guardrail, limit, definition, facts.bounds, native_unit)
    if not facts.values or any(n for _tenant, _value, n in facts.values):
        # Shares that were counted since the source began say nothing of the last minute.
        return []
    return _beside_values(guardrail, limit, definition, facts, native_unit)


def _beside_bounds(
    guardrail: Guardrail,
    limit: float,
    definition: KpiDefinition,
    bounds: Sequence[float],
    native_unit: str,
) -> list[Finding]:
    if not bounds:
        return []
    unit, name = definition.unit, definition.name
    reach = f"the buckets of {name} go from {bounds[0]:g} to {bounds[-1]:g} {unit}"
    other = _other_unit([bounds[0], bounds[-1]], limit, native_unit, unit)
    below = guardrail.at_most is not None and limit < bounds[0]
    above = guardrail.at_least is not None and limit > bounds[-1]
    if below or above:
        side = "below" if below else "above"
        return [
            Finding(
                "no_bound",
                "error",
                f"no bucket is at or {side} the limit of {shown(limit, unit)}: {reach}",
                other or "choose a limit within the buckets, or give the histogram one there",
            )
        ]
    if guardrail.at_most is None or limit <= bounds[-1]:
        return []
    far = limit >= FAR_ABOVE_BOUNDS * bounds[-1]
    return [
        Finding(
            "limit_above_buckets",
            "error" if far else "warning",
            f"the limit of {shown(limit, unit)} is above every bucket: {reach}, so all that is"
            f" slower than {shown(bounds[-1], unit)} counts as slower than the limit",
            other or "choose a limit within the buckets, or give the histogram one there",
        )
    ]


def _other_unit(reach: Sequence[float], limit: float, native: str, unit: str) -> str:
    for other in compatible_with(native):
        low, high = (value * convert(1, other, native) for value in reach)
        if other != native and low <= limit <= high:
            return f'does the source tell {other}? write "native_unit": "{other}"'
    return ""


def _beside_values(
    guardrail: Guardrail, limit: float, definition: KpiDefinition, facts: Facts, native_unit: str
) -> list[Finding]:
    median, high = facts.median or 0.0, facts.high or 0.0
    unit, name = definition.unit, definition.name
    values = [value for _tenant, value, _n in facts.values]
    if guardrail.at_most is not None:
        beyond, times = sum(value > limit for value in values), _ratio(median, limit)
    else:
        beyond, times = sum(value < limit for value in values), _ratio(limit, median)
    if 2 * beyond > len(values):
        side = "over" if guardrail.at_most is not None else "under"
        said = (
            f"{name} is {shown(median, unit)} at half of the tenants, {side} the limit of"
            f" {shown(limit, unit)} before anything was upgraded"
        )
        if times >= FAR_OVER:
            other = _other_unit([facts.low or 0.0, high], limit, native_unit, unit)
            return [Finding("off_by_factor", "error", said, other or "check the unit of both")]
        return [Finding("over_already", "warning", said, "the first batch would go back at once")]
    if guardrail.at_most is not None and unit not in ("%", "1") and 0 < high * FAR_UNDER < limit:
        return [
            Finding(
                "limit_far_away",
                "warning",
                f"{name} is at most {shown(high, unit)}, less than 1/{FAR_UNDER} of the limit of"
                f" {shown(limit, unit)}",
                _other_unit([facts.low or 0.0, high * FAR_OVER], limit, native_unit, unit)
                or "check the unit of both",
            )
        ]
    return []


def _ratio(more: float, less: float) -> float:
    return more / less if less > 0 else 0.0


def window_finding(guardrail: Guardrail, rate_window_seconds: float | None) -> Finding | None:
    """Return why a guardrail's window is too short for a source that tells rates."""
    if rate_window_seconds is None or guardrail.window_seconds >= rate_window_seconds:
        return None
    return Finding(
        "window_too_short",
        "error",
        f"the window of {guardrail.window_seconds:g} s is shorter than the"
        f" {rate_window_seconds:g} s over which the source tells its rate, so most looks would see"
        " nothing",
        f"write window: {rate_window_seconds:g}s or more, or let the source tell a shorter rate",
    )


_TOO_FEW: Final = "no_data_for_most"


def coverage_finding(
    *, without: Sequence[str], tenants: Sequence[str], kpi: str, source: str, whose: str
) -> Finding | None:
    """Return the finding that most of these tenants have no data; None where most have some.

    More than half without data is no data for the watch too, so a batch could never pass.
    """
    gone = sorted(set(without) & set(tenants))
    if not gone or 2 * len(gone) <= len(tenants):
        return None
    return Finding(
        _TOO_FEW,
        "error",
        f"{source} has data of {kpi} for {len(tenants) - len(gone)} of"
        f" {counted(len(tenants), 'tenant')} of {whose}: none for"
        f" {', '.join(gone[:5])}{' …' if len(gone) > 5 else ''}",
        "check their keys in the tenant label, and that they have traffic",
    )
