"""What a batch's soak can find at the traffic of its tenants, before anything starts. Pure.

A guardrail finds a share of bad events when its looks fail with 95 % probability; evidence (F8, in
`soak_planner`) finds what is worse than tolerated, with the power that was asked. Sizes are shares:
0.05 is 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from batches.evidence.sequential_test import Tolerance
from batches.evidence.soak_planner import soak_plan
from plans.counted_words import counted
from plans.policies.policy_words import span

SIZES: Final = (0.01, 0.02, 0.05, 0.10, 0.20)
MOST_LOOKED_AT_SECONDS: Final = 30 * 86_400.0
_QUANTILE_95: Final = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the tenants of both sides bring, per second, and their usual share of bad events.

    `tenants` are on the new version at the end of the batch; `unknown` of them have no history and
    are taken for average ones.
    """

    tenants: int
    per_second: float
    control_per_second: float
    usual: float
    phi: float = 1.0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class LimitRule:
    """A guardrail as a share of bad events that may not be passed."""

    limit: float
    window_seconds: float
    min_samples: int
    failure_limit: int
    look_seconds: float


@dataclass(frozen=True, slots=True)
class EvidenceAsked:
    """What the policy asks of evidence: its risk, what is tolerated, what is to be found."""

    risk: float = 0.01
    tolerance: Tolerance = field(default_factory=Tolerance)
    detect: float = 0.02
    power: float = 0.95
    look_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Find:
    """How long it takes until a share of bad events is found; None = it cannot be found."""

    size: float
    seconds: float | None
    by: str
    """`guardrail` or `evidence`; empty where nothing finds it."""


@dataclass(frozen=True, slots=True)
class SoakForecast:
    """What one batch's soak finds of one Kpi.

    `never_judged`: why no guardrail can ever say anything; empty where one can.
    """

    kpi: str
    batch: str
    soak_seconds: float
    traffic: Traffic
    finds: tuple[Find, ...]
    never_judged: str = ""
    asked: float | None = None
    advice: tuple[str, ...] = ()

    @property
    def found(self) -> tuple[Find, ...]:
        """Return what is found before the soak is over, the smallest first."""
        return tuple(
            find
            for find in self.finds
            if find.seconds is not None and find.seconds <= self.soak_seconds
        )

    @property
    def enough(self) -> bool:
        """Tell whether the soak finds what was asked; without a size that was asked, anything."""
        if self.asked is None:
            return bool(self.found)
        return any(find.size <= self.asked for find in self.found)

    @property
    def sentence(self) -> str:
        """Return the forecast in words."""
        traffic = self.traffic
        who = counted(traffic.tenants, "tenant")
        told = f"{who} at {_rate(traffic.per_second)} events/s"
        finds = [_told(find) for find in reversed(self.finds)]
        said = f"{told}: {', '.join(finds)}" if finds else told
        return f"{said}; {self._verdict()}"

    def _verdict(self) -> str:
        soak = span(self.soak_seconds)
        if self.never_judged and not self.found:
            return self.never_judged
        if not self.found:
            return f"the soak of {soak} finds none of them"
        smallest = _percent(self.found[0].size)
        if self.asked is None or self.enough:
            return f"the soak of {soak} is enough for {smallest}"
        wanted = _percent(self.asked)
        return f"the soak of {soak} finds {smallest} at best, and {wanted} is to be found"


def forecast(
    *,
    kpi: str,
    batch: str,
    soak_seconds: float,
    traffic: Traffic,
    rules: Sequence[LimitRule],
    evidence: EvidenceAsked | None,
) -> SoakForecast:
    """Return what a soak finds, and what would help where that is too little."""
    sizes = [size for size in SIZES if size > traffic.usual]
    if evidence is not None and evidence.detect > traffic.usual:
        sizes = sorted({*sizes, evidence.detect})
    finds = tuple(_find(size, traffic, rules, evidence) for size in sizes)
    asked = evidence.detect if evidence is not None else None
    told = SoakForecast(
        kpi=kpi,
        batch=batch,
        soak_seconds=soak_seconds,
        traffic=traffic,
        finds=finds,
        never_judged=_never_judged(kpi, traffic, rules, evidence),
        asked=asked,
    )
    if told.enough:
        return told
    advice = tuple(_advice(told, rules, evidence))
    return SoakForecast(kpi, batch, soak_seconds, traffic, finds, told.never_judged, asked, advice)


def guardrail_seconds(size: float, per_second: float, rule: LimitRule) -> float | None:
    """Return how long a guardrail needs for a share of bad events, None where it cannot be sure.

    Its looks see at most one window; the more events are in it, the smaller the excess that makes
    95 of 100 looks fail.
    """
    excess = size - rule.limit
    if excess <= 0 or per_second <= 0:
        return None
    events = max(float(rule.min_samples), 1.0, _QUANTILE_95**2 * size * (1 - size) / excess**2)
    seconds = events / per_second
    if seconds > rule.window_seconds:
        return None
    looks = math.ceil(seconds / rule.look_seconds) + rule.failure_limit
    return looks * rule.look_seconds


def evidence_seconds(size: float, traffic: Traffic, asked: EvidenceAsked) -> float | None:
    """Return how long evidence needs for a share of bad events, None where it finds it never."""
    compared = asked.tolerance.ratio > 0
    if traffic.per_second <= 0 or (compared and traffic.control_per_second <= 0):
        return None
    plan = soak_plan(
        usual=traffic.usual,
        fault=size,
        traffic=traffic.per_second / traffic.control_per_second if compared else 1.0,
        tolerance=asked.tolerance,
        risk=asked.risk,
        canary_per_second=traffic.per_second,
        phi=traffic.phi,
        power=asked.power,
    )
    seconds = None if plan.minutes is None else 60 * plan.minutes
    return seconds if seconds is not None and seconds <= MOST_LOOKED_AT_SECONDS else None


def _find(
    size: float, traffic: Traffic, rules: Sequence[LimitRule], evidence: EvidenceAsked | None
) -> Find:
    ways = [
        (seconds, "guardrail")
        for rule in rules
        if (seconds := guardrail_seconds(size, traffic.per_second, rule)) is not None
    ]
    if evidence is not None:
        seconds = evidence_seconds(size, traffic, evidence)
        if seconds is not None:
            # Nothing is found between two looks.
            looks = math.ceil(seconds / evidence.look_seconds)
            ways.append((looks * evidence.look_seconds, "evidence"))
    best = min(ways, default=None)
    return Find(size, best[0], best[1]) if best is not None else Find(size, None, "")


def _never_judged(
    kpi: str, traffic: Traffic, rules: Sequence[LimitRule], evidence: EvidenceAsked | None
) -> str:
    if not rules or evidence is not None:
        return ""
    short = [rule for rule in rules if traffic.per_second * rule.window_seconds < rule.min_samples]
    if len(short) < len(rules):
        return ""
    rule = short[0]
    return (
        f"{kpi} would never be judged: {counted(rule.min_samples, 'event is', 'events are')}"
        f" needed within {span(rule.window_seconds)}, and about"
        f" {traffic.per_second * rule.window_seconds:.3g} come"
    )


def _advice(
    told: SoakForecast, rules: Sequence[LimitRule], evidence: EvidenceAsked | None
) -> list[str]:
    """Return what would help: a longer soak, more tenants, a longer window, evidence."""
    traffic, goal = told.traffic, told.asked
    if traffic.per_second <= 0:
        return ["put tenants with traffic into this batch: these bring none"]
    if evidence is not None and evidence.tolerance.ratio > 0 and traffic.control_per_second <= 0:
        return [
            "hold some tenants back to the end (selection.hold_back_percentage): with nobody on the"
            " old version there is nothing to compare with"
        ]
    goals = [goal] if goal is not None else [find.size for find in told.finds]
    helps: list[str] = []
    later = [find for find in told.finds if find.seconds is not None and find.size in goals]
    if later:
        best = min(later, key=lambda find: find.seconds or 0.0)
        helps.append(
            f"soak {span(math.ceil((best.seconds or 0.0) / 60) * 60)} to find {_percent(best.size)}"
        )
    if goals and (more := _tenants_for(goals[-1], told, rules, evidence)):
        helps.append(
            f"{counted(more, 'tenant')} in this batch would find {_percent(goals[-1])} in time"
        )
    if evidence is None:
        for rule in rules:
            if traffic.per_second * rule.window_seconds < rule.min_samples:
                window = math.ceil(rule.min_samples / traffic.per_second)
                helps.append(
                    f"a window of {span(window)} would have its"
                    f" {counted(rule.min_samples, 'event')}"
                )
                break
        found = evidence_seconds(0.02, traffic, EvidenceAsked())
        if found is not None and found <= told.soak_seconds:
            helps.append(f"with `evidence:` 2 % would be found in {span(found)}")
    return helps


def _tenants_for(
    size: float, told: SoakForecast, rules: Sequence[LimitRule], evidence: EvidenceAsked | None
) -> int | None:
    """Return with how many tenants of the same kind the size is found in time, None with none."""
    traffic = told.traffic
    each = traffic.per_second / max(1, traffic.tenants)
    whole = traffic.per_second + traffic.control_per_second
    most = int(whole / each) if each > 0 else 0

    def found(tenants: int) -> bool:
        moved = Traffic(
            tenants, each * tenants, max(0.0, whole - each * tenants), traffic.usual, traffic.phi
        )
        find = _find(size, moved, rules, evidence)
        return find.seconds is not None and find.seconds <= told.soak_seconds

    low = traffic.tenants
    # Half of all is as far as a comparison gets better; a limit alone gets better until the end.
    high = next((n for n in (most // 2, most) if n > low and found(n)), None)
    if high is None:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def _told(find: Find) -> str:
    if find.seconds is None:
        return f"{_percent(find.size)} can't be found"
    return f"{_percent(find.size)} is found in {span(find.seconds)}"


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
