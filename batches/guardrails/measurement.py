"""The looks of a window -> one measurement of one guardrail, with its sentence."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from batches.guardrails.allowed import Allowed, allowed, slow_share_of, threshold_of
from batches.guardrails.measured import Measurement, Outcome, TenantSeen, each_outcome
from batches.guardrails.measured_words import CAUSES, IDLE, cause_words, requests, shown, whole
from batches.guardrails.measuring_window import Window, compared, without
from batches.guardrails.tallies import NoBound, Tallies, Tally, share, tallied
from batches.kpis.dictionary import KpiDefinition
from batches.looks.kpi_points import GaugePoint, LookSample
from batches.sources.increments import SHORTEST_MAX_AGE
from plans.counted_words import counted
from plans.policies.policy import Guardrail

__all__ = [
    "CAUSES",
    "Measurement",
    "Outcome",
    "TenantSeen",
    "counted",
    "each_outcome",
    "measure",
    "shown",
]


def measure(
    guardrail: Guardrail,
    definition: KpiDefinition,
    looks: Sequence[LookSample],
    *,
    canary: int,
    now: datetime,
    max_age_seconds: float = SHORTEST_MAX_AGE,
    tenants: Collection[str] | None = None,
    baselines: Mapping[str, float] | None = None,
) -> Measurement:
    """Return the measurement of a guardrail that resolve_guardrail returned.

    `canary` is the number of upgraded tenants. Looks outside the window do not count, and their
    order does not matter. With no look for `max_age_seconds` nothing is known any more.
    `tenants`: whom the guardrail is about, where these are not all upgraded tenants. `baselines`:
    each tenant's own mean before its upgrade, in the Kpi's unit, as far as it is known.
    """
    begin = now - timedelta(seconds=guardrail.window_seconds)
    recent = sorted((look for look in looks if begin < look.at <= now), key=lambda look: look.at)
    oldest = timedelta(seconds=max_age_seconds)
    if not recent or now - recent[-1].at > oldest:
        said = f"not measured {'within the last looks' if looks else 'yet'}"
        return without(guardrail, definition, "error", "no_look", said)
    if tenants is not None:
        recent = [look.of(tenants) for look in recent]
        canary = len(tenants)
    window = Window(guardrail, definition, recent, canary=canary, baselines=baselines or {})
    newest = window.newest
    if not newest.ok:
        words = newest.sentence or "no reason given"
        said = (
            f"no data from {newest.source or 'the source'} ({cause_words(newest.cause)}: {words})"
        )
        return window.without("error", newest.cause, said, silent=tenants or ())
    if canary == 0:
        of = " of this batch" if guardrail.scope == "batch" else ""
        return window.without("inconclusive", None, f"no tenant{of} is upgraded yet")
    # Whoever is judged alone is not let off because others are silent.
    if window.mostly_silent and not (window.each and newest.canary):
        return window.silence()
    if isinstance(next(iter(newest.canary.values()), None), GaugePoint):
        return _gauges(window)
    try:
        return _events(window)
    except NoBound as missing:
        return window.without("error", "no_bound", _bound_words(window, missing.bounds))


# Values that are read one per tenant.


def _gauges(window: Window) -> Measurement:
    rule, definition, newest = window.guardrail, window.definition, window.newest
    values = {
        tenant: point.value
        for tenant, point in newest.canary.items()
        if isinstance(point, GaugePoint)
    }
    baseline, others = None, ""
    if rule.against == "control":
        still = [point.value for point in newest.control.values() if isinstance(point, GaugePoint)]
        if not still:
            return window.no_control()
        baseline = _mean(still)
        place = counted(len(still), "tenant")
        others = f" against {shown(baseline, definition.unit)} in {place} of control"
    elif rule.against == "own_history":
        if window.strangers(values):
            return window.no_history(values)
        values = {tenant: value for tenant, value in values.items() if tenant in window.baselines}
        baseline = _mean([window.baselines[tenant] for tenant in values])
        others = f" against {shown(baseline, definition.unit)} in their own history"
    limit = allowed(rule, definition, baseline, of_gauge=True)
    mean, worst = _mean(list(values.values())), limit.worst(values.items())
    said = (
        f"{definition.name} {shown(mean, definition.unit)} on average in "
        f"{counted(len(values), 'upgraded tenant')} (worst: {worst[0]}, "
        f"{shown(worst[1], definition.unit)}{window.lost_words}){others} {compared(limit, mean)}"
    )
    measured = Measurement(
        outcome=limit.outcome(mean),
        value=mean,
        threshold=limit.number,
        unit=definition.unit,
        n=len(values),
        tenants=len(values),
        worst=worst,
        cause=None,
        sentence=said,
        at=newest.at,
        baseline=baseline,
        by_tenant={
            tenant: TenantSeen(window.own_limit(tenant, limit).fails(value), value, 1)
            for tenant, value in values.items()
        },
    )
    return window.by_itself(measured, limit)


def _mean(values: Sequence[float]) -> float:
    # Sorted: the same values in another order are the same sum to the last digit.
    return sum(sorted(values)) / len(values)


# Events that are counted.


def _events(window: Window) -> Measurement:
    """Return the measurement of all events of the window. Raises NoBound."""
    rule, definition = window.guardrail, window.definition
    canary = tallied(window.looks, rule, definition, "canary")
    if rule.against == "own_history" and canary.by_tenant:
        if window.strangers(canary.by_tenant):
            return window.no_history(canary.by_tenant)
        canary = canary.of(window.baselines.keys())
    both = canary.sum()
    # Where each tenant is judged alone, each needs so many of its own.
    if both.total <= 0 or (not window.each and both.total < rule.min_samples):
        return _too_few(window, canary, both)
    if rule.against == "control":
        # Over the same time: what ails everybody must not look new where it was measured later.
        together = [look for look in window.looks if look.canary]
        control = tallied(together, rule, definition, "control")
        if not window.newest.control:
            return window.no_control()
        theirs = control.sum()
        if theirs.total <= 0 or theirs.total < rule.min_samples:
            few = (
                f"{whole(theirs.total)} of {counted(rule.min_samples, 'request')} needed in control"
            )
            return window.without("inconclusive", None, f"{few} ({window.span})")
        baseline = share(theirs, definition)
        others = (
            f" against {shown(baseline, definition.unit)} in control ({whole(theirs.bad)} "
            f"{_bad(definition)}of {requests(theirs.total)}, {counted(control.active, 'tenant')})"
        )
        return _judged(window, canary, both, baseline, others)
    if rule.against == "own_history":
        baseline = _expected(window, canary)
        others = f" against {shown(baseline, definition.unit)} in their own history"
        return _judged(window, canary, both, baseline, others)
    return _judged(window, canary, both, None, "")


def _judged(
    window: Window, canary: Tallies, both: Tally, baseline: float | None, others: str
) -> Measurement:
    definition = window.definition
    limit = allowed(window.guardrail, definition, baseline)
    shares = {
        tenant: share(tally, definition) for tenant, tally in canary.by_tenant.items() if tally.seen
    }
    value, worst = share(both, definition), limit.worst(shares.items())
    place = f"{counted(len(shares), 'tenant')}, {window.span}{window.lost_words}"
    if limit.fails(value) and len(shares) > 1:
        place += f"; worst {worst[0]} {shown(worst[1], limit.unit)}"
    if definition.kind == "histogram":
        said = _slow_words(window, value, both.total, canary.bounds, place)
    else:
        said = (
            f"{definition.name} {shown(value, limit.unit)} in the upgraded tenants "
            f"({whole(both.bad)} {_bad(definition)}of {requests(both.total)}, {place})"
            f"{others} {compared(limit, value)}"
        )
    measured = Measurement(
        outcome=limit.outcome(value),
        value=value,
        threshold=limit.number,
        unit=limit.unit,
        n=int(both.total),
        tenants=len(shares),
        worst=worst,
        cause=None,
        sentence=said,
        at=window.newest.at,
        bad=both.bad,
        baseline=baseline,
        by_tenant=_alone(window, canary, shares, limit),
    )
    return window.by_itself(measured, limit)


def _alone(
    window: Window, canary: Tallies, shares: dict[str, float], limit: Allowed
) -> dict[str, TenantSeen]:
    """Return what each tenant with enough requests of its own showed.

    Who gave nothing at the newest look is not judged once more by what it gave before.
    """
    enough = max(1, window.guardrail.min_samples)
    return {
        tenant: TenantSeen(window.own_limit(tenant, limit).fails(value), value, int(n))
        for tenant, value in shares.items()
        if tenant in window.newest.canary and (n := max(canary.by_tenant[tenant])) >= enough
    }


def _too_few(window: Window, canary: Tallies, both: Tally) -> Measurement:
    idle = bool(canary.by_tenant) and not both.total
    said = "no second reading yet"
    if canary.by_tenant:
        said = f"{whole(both.total)} of {counted(window.guardrail.min_samples, 'request')} needed"
    measured = window.without("inconclusive", IDLE if idle else None, f"{said} ({window.span})")
    return replace(measured, n=int(both.total), tenants=canary.active)


def _expected(window: Window, canary: Tallies) -> float:
    """Return what the tenants' own means make for as many requests as each of them had."""
    weights = {tenant: max(tally) for tenant, tally in canary.by_tenant.items()}
    expected = sorted(window.baselines[tenant] * n for tenant, n in weights.items())
    return sum(expected) / sum(weights.values())


def _bad(definition: KpiDefinition) -> str:
    return "bad " if definition.direction == "higher" else ""


def _bound_words(window: Window, bounds: Sequence[float]) -> str:
    side = "below" if window.guardrail.at_most is not None else "above"
    level = shown(threshold_of(window.guardrail), window.definition.unit)
    return (
        f"no bucket at or {side} {level}; the buckets are "
        f"{', '.join(f'{bound:g}' for bound in bounds) or 'none'}"
    )


def _slow_words(
    window: Window, value: float, total: float, bounds: Collection[float], place: str
) -> str:
    rule, definition = window.guardrail, window.definition
    threshold = threshold_of(rule)
    word = "slower than" if definition.direction == "lower" else "above"
    if rule.at_most is None:
        word = "at or below"
    used = sorted(bounds)
    by = ""
    if used != [threshold]:
        by = f", by the bucket of {', '.join(f'{b:g}' for b in used)} {definition.unit}"
    return (
        f"{definition.name}: {shown(value, '%')} of {requests(total)} {word} "
        f"{shown(threshold, definition.unit)}, allowed {shown(slow_share_of(rule), '%')} "
        f"({place}{by})"
    )
