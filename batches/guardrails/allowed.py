"""What a guardrail allows right now, as one number in its Kpi's unit. Pure.

A guardrail against the control or against the tenants' own history allows a difference or a
factor; with the number that is compared with, it becomes a limit like any other. Nothing is
divided: where the others have none, a factor allows none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from batches.guardrails.assessment import assess_measurement
from batches.guardrails.measured import Outcome
from batches.guardrails.measured_words import shown
from batches.kpis.dictionary import KpiDefinition
from plans.policies.policy import FACTOR, POINTS, SLOW_SHARE_PERCENT, Guardrail

AGAINST: Final = {"control": "control", "own_history": "their own history"}
FAR: Final = 2.0
"""One tenant is far over a limit when it is this many times as bad as what is allowed."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The worst value that is still fine. `most`: values above it fail, else values below it.

    `rule` says where it comes from, empty for a number of the policy itself.
    """

    number: float
    most: bool
    unit: str
    rule: str = ""
    best: float | None = None
    """The other end of the Kpi's range, where a Kpi of which more is better has one."""

    def fails(self, value: float) -> bool:
        """Tell whether a value breaks the limit."""
        # Written so that a value which is not a number fails.
        return not value <= self.number if self.most else not value >= self.number

    def outcome(self, value: float) -> Outcome:
        """Return what a measured value is by this limit."""
        said = assess_measurement("absent", "true" if self.fails(value) else "false")
        return "failed" if said == "Failed" else "successful"

    def far(self, value: float) -> bool:
        """Tell whether a value is far over the limit, not only a little."""
        if not self.fails(value):
            return False
        if self.most:
            return not value <= FAR * self.number or self.number <= 0
        if self.best is not None:
            return not self.best - value <= FAR * (self.best - self.number)
        return not value >= self.number / FAR

    def worst(self, values: Iterable[tuple[str, float]]) -> tuple[str, float]:
        """Return the worst of some tenants' values; by name where two are as bad."""
        sign = -1 if self.most else 1
        return min(values, key=lambda pair: (sign * pair[1], pair[0]))


def threshold_of(guardrail: Guardrail) -> float:
    """Return the number that the guardrail states."""
    threshold = guardrail.at_least if guardrail.at_most is None else guardrail.at_most
    if threshold is None:
        raise ValueError(f"the guardrail on {guardrail.kpi} has no limit; resolve it first")
    return threshold


def slow_share_of(guardrail: Guardrail) -> float:
    """Return the share of requests, in percent, that may be on the wrong side of a bound."""
    share = guardrail.slow_share_percent
    return SLOW_SHARE_PERCENT if share is None else share


def allowed(
    guardrail: Guardrail,
    definition: KpiDefinition,
    baseline: float | None = None,
    *,
    of_gauge: bool = False,
) -> Allowed:
    """Return what the guardrail allows; `baseline` is what it is compared with, if with anything.

    Of a histogram it is the share of requests on the wrong side of the bound. `of_gauge`: what was
    read is one value per tenant, whatever kind the Kpi is.
    """
    if definition.kind == "histogram" and not of_gauge:
        return Allowed(slow_share_of(guardrail), True, "%")
    number, most = threshold_of(guardrail), guardrail.at_most is not None
    best = definition.range[1] if definition.range is not None and not most else None
    if guardrail.against == "absolute":
        return Allowed(number, most, definition.unit, best=best)
    if baseline is None or not math.isfinite(baseline):
        raise ValueError(f"the guardrail on {guardrail.kpi} needs something to compare with")
    if guardrail.unit == FACTOR:
        limit = number * baseline
    elif guardrail.unit == POINTS and definition.unit == "1":
        limit = baseline + number / 100
    else:
        limit = baseline + number
    # 12 digits: 0.5 + 0.1 points are 0.6 %, whichever way the sum is rounded.
    return Allowed(
        float(f"{limit:.12g}"), most, definition.unit, relative_words(guardrail), best=best
    )


def relative_words(guardrail: Guardrail) -> str:
    """Return what a guardrail allows beside what it is compared with: '2 points above control'."""
    number, other = threshold_of(guardrail), AGAINST[guardrail.against]
    if guardrail.unit == FACTOR:
        return f"{number:g} x {other}"
    side = "above" if number >= 0 else "below"
    return f"{shown(abs(number), guardrail.unit or '')} {side} {other}"
