"""Are the Kpis of restored tenants back in band? Pure: looks after a rollback -> how it ended.

A guardrail is back in band when its measure is fine over a full, unbroken window of looks that were
taken after the last tenant was read back. What nobody could measure is never taken for good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from batches.guardrails.measured_words import requests
from batches.guardrails.measurement import CAUSES, Measurement, measure, shown
from batches.kpis.dictionary import KpiDefinition
from batches.looks.kpi_points import LookSample
from plans.counted_words import counted
from plans.lifecycle import PLAN
from plans.policies.policy import Guardrail, UpgradePolicy

Ending = Literal["watching", "in_band", "still_bad", "no_data", "not_watched"]
Verdict = Literal["in_band", "still_bad", "no_data", "not_yet"]

ENDINGS: Final[Mapping[str, str]] = {
    "watching": "Rolled back, being watched",
    "in_band": "Rolled back, back in band",
    "still_bad": "Rolled back, still bad",
    "no_data": "Rolled back, no data since",
}
"""How a rolled-back plan is called by what followed; `not_watched` adds nothing to be told."""

SPARE_LOOKS: Final = 3
"""Looks beyond the longest window for which is always waited: the first one only sets counters."""


@dataclass(frozen=True, slots=True)
class GuardLooks:
    """One guardrail in its Kpi's unit, with the looks taken since the rollback, oldest first."""

    key: str
    guardrail: Guardrail
    definition: KpiDefinition
    looks: Sequence[LookSample] = ()
    baselines: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KpiAfter:
    """What one guardrail's Kpi showed after the rollback."""

    guardrail: str
    kpi: str
    verdict: Verdict
    sentence: str
    critical: bool = True
    value: float | None = None
    threshold: float | None = None
    unit: str = ""
    n: int = 0
    tenants: int = 0
    window_seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Aftermath:
    """How it stands with a rolled-back plan's Kpis, with its sentence."""

    ending: Ending
    sentence: str
    kpis: tuple[KpiAfter, ...] = ()


def ending_shown(state: str, aftermath: str) -> tuple[str, str]:
    """Return the tone and the words of a plan's state, with what followed its last rollback."""
    if state != "rolled_back" or aftermath not in ENDINGS:
        return state, PLAN.states[state]
    return "still_bad" if aftermath == "still_bad" else state, ENDINGS[aftermath]


def judged_after(guardrail: Guardrail) -> bool:
    """Tell whether a guardrail says anything of restored tenants.

    None of them is left on the new version, so nothing can be compared with a control.
    """
    return not guardrail.dry_run and guardrail.against != "control"


def watch_plan(
    policy: UpgradePolicy, *, restored: int, since: datetime
) -> tuple[datetime | None, str]:
    """Return until when the restored tenants are watched, or None and why they are not."""
    judged = [guardrail for guardrail in policy.guardrails if judged_after(guardrail)]
    if not policy.rollback.watch_after_minutes:
        return None, "Not watched afterwards: the policy says rollback.watch_after_minutes: 0."
    if not judged:
        return None, "Not watched afterwards: the policy has no guardrail."
    if not restored:
        return None, "Not watched afterwards: no tenant was restored."
    longest = max(guardrail.window_seconds for guardrail in judged)
    least = longest + SPARE_LOOKS * policy.limits.look_seconds
    seconds = max(60 * policy.rollback.watch_after_minutes, least)
    until = since + timedelta(seconds=seconds)
    kpis = ", ".join(sorted({guardrail.kpi for guardrail in judged}))
    return until, (
        f"{counted(restored, 'restored tenant is', 'restored tenants are')} watched until {kpis}"
        f" {'is' if ',' not in kpis else 'are'} back in band, until"
        f" {until:%Y-%m-%d %H:%M:%S} UTC at the latest."
    )


def judge_aftermath(
    guards: Sequence[GuardLooks],
    *,
    unusable: Mapping[str, str],
    tenants: int,
    since: datetime,
    until: datetime,
    now: datetime,
    max_age_seconds: float,
) -> Aftermath:
    """Return whether the Kpis are back in band, or what else became of them.

    `tenants`: how many restored tenants are watched. `unusable`: guardrails that cannot be judged
    any more, and why. Before `until` only "back in band" ends the watch.
    """
    kpis = [_after(guard, tenants, now, max_age_seconds) for guard in guards]
    kpis += [KpiAfter(key, key, "no_data", why) for key, why in sorted(unusable.items())]
    seen = tuple(kpis)
    if seen and all(kpi.verdict == "in_band" for kpi in seen):
        return Aftermath("in_band", _in_band(seen, since, now), seen)
    if now < until:
        waits = [kpi.sentence for kpi in seen if kpi.verdict != "in_band"]
        return Aftermath("watching", "; ".join(waits), seen)
    bad = [kpi for kpi in seen if kpi.verdict == "still_bad"]
    if bad:
        told = "; ".join(kpi.sentence for kpi in bad)
        return Aftermath(
            "still_bad",
            f"Rolled back, still bad: {told}, {_span(now - since)} after the last tenant was read"
            " back on the version before. The release was not the cause.",
            seen,
        )
    open_ones = [kpi for kpi in seen if kpi.critical and kpi.verdict != "in_band"]
    if open_ones or not seen:
        told = "; ".join(kpi.sentence for kpi in open_ones) or "no guardrail could be judged"
        return Aftermath(
            "no_data",
            f"Nobody knows whether it is good again: {told}. Watched for {_span(now - since)}.",
            seen,
        )
    return Aftermath("in_band", _in_band(seen, since, now), seen)


def _after(guard: GuardLooks, tenants: int, now: datetime, max_age_seconds: float) -> KpiAfter:
    measured = _measured(guard, tenants, now, max_age_seconds)
    full = _unbroken(guard.looks, max_age_seconds) >= guard.guardrail.window_seconds
    verdict: Verdict = "no_data"
    if measured.outcome == "failed":
        verdict = "still_bad"
    elif measured.outcome == "successful":
        verdict = "in_band" if full else "not_yet"
    elif measured.cause is None:
        verdict = "not_yet"
    return KpiAfter(
        guardrail=guard.key,
        kpi=guard.definition.name,
        verdict=verdict,
        sentence=_sentence(guard, measured, verdict),
        critical=guard.guardrail.critical,
        value=measured.value,
        threshold=measured.threshold,
        unit=measured.unit,
        n=measured.n,
        tenants=measured.tenants,
        window_seconds=guard.guardrail.window_seconds,
    )


def _measured(
    guard: GuardLooks, tenants: int, now: datetime, max_age_seconds: float
) -> Measurement:
    """Return the measurement of the window; of a gauge, the worst of its looks."""

    def of(looks: Sequence[LookSample], at: datetime) -> Measurement:
        return measure(
            guard.guardrail,
            guard.definition,
            looks,
            canary=tenants,
            now=at,
            max_age_seconds=max_age_seconds,
            baselines=guard.baselines,
        )

    newest = of(guard.looks, now)
    if guard.definition.kind != "gauge" or newest.outcome != "successful":
        return newest
    begin = now - timedelta(seconds=guard.guardrail.window_seconds)
    window = [look for look in guard.looks if begin < look.at <= now]
    # A gauge tells of one moment only; the whole window must have been fine.
    bad = (one for look in window if (one := of([look], look.at)).outcome == "failed")
    return next(bad, newest)


def _unbroken(looks: Sequence[LookSample], max_age_seconds: float) -> float:
    """Return over how many seconds up to the newest look there was data without a gap."""
    begin: datetime | None = None
    for look in reversed(looks):
        if not look.ok or (look.lost > 0 and not look.canary):
            break
        if begin is not None and (begin - look.at).total_seconds() > max_age_seconds:
            break
        begin = look.at
    return (looks[-1].at - begin).total_seconds() if begin is not None else 0.0


def _sentence(guard: GuardLooks, measured: Measurement, verdict: Verdict) -> str:
    name = guard.definition.name
    if measured.value is None or measured.outcome not in {"failed", "successful"}:
        if measured.cause is None:
            needed = guard.guardrail.min_samples
            return f"{name}: {measured.n} of {counted(needed, 'request')} needed"
        return f"{name}: no data ({CAUSES.get(measured.cause, measured.cause)})"
    place = counted(measured.tenants, "restored tenant")
    if guard.definition.kind == "histogram":
        level = guard.guardrail.at_least if guard.guardrail.at_most is None else None
        level = guard.guardrail.at_most if level is None else level
        said = (
            f"{name}: {shown(measured.value, '%')} of {requests(measured.n)} in {place}"
            f" {'is' if measured.n == 1 else 'are'} on"
            f" the wrong side of {shown(level or 0.0, guard.definition.unit)}, allowed"
            f" {shown(measured.threshold, '%')}"
        )
    else:
        of = "" if guard.definition.kind == "gauge" else f" ({requests(measured.n)})"
        said = (
            f"{name} {shown(measured.value, measured.unit)} in {place}{of}, limit"
            f" {shown(measured.threshold, measured.unit)}"
        )
    if verdict == "not_yet":
        said += f", not yet over a full window of {guard.guardrail.window_seconds:g} s"
    return said


def _in_band(kpis: Sequence[KpiAfter], since: datetime, now: datetime) -> str:
    told = "; ".join(kpi.sentence for kpi in kpis)
    return f"Back in band {_span(now - since)} after the last tenant was read back: {told}."


def _span(time: timedelta) -> str:
    seconds = time.total_seconds()
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
