"""How long a batch has to soak until a fault of a given size is found (F8). Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from batches.evidence.sequential_test import KAPPAS, Tolerance, bet_size

USUAL_POWER: Final = 0.95
_QUANTILE_95: Final = 1.6448536269514722
_SHARED_OUT: Final = math.log(16)
"""What the mixture costs: 8 bets, of which each gets one half at the first look."""


@dataclass(frozen=True, slots=True)
class SoakPlan:
    """How many canary requests find the fault; None = undetectable by design or without traffic."""

    requests: float | None
    minutes: float | None


def tolerated_rate(usual: float, tolerance: Tolerance) -> float:
    """Return the share of errors up to which the canary counts as no worse."""
    return tolerance.ratio * usual + tolerance.points


def requests_needed(
    *,
    usual: float,
    fault: float,
    traffic: float,
    tolerance: Tolerance,
    risk: float,
    phi: float = 1.0,
    power: float = USUAL_POWER,
) -> float | None:
    """Return the canary requests after which a rate of `fault` is found with `power`.

    `usual` is the control's rate, `traffic` canary requests per control request. None: the fault
    is within what is tolerated, so that no number of requests finds it.
    """
    if not fault > tolerated_rate(usual, tolerance) or (tolerance.ratio > 0 and traffic <= 0):
        return None
    c = tolerance.ratio * traffic
    b = usual / traffic if tolerance.ratio > 0 else 0.0
    z = _QUANTILE_95 if power == USUAL_POWER else NormalDist().inv_cdf(power)
    goal = -math.log(risk) + _SHARED_OUT
    found = []
    for kappa in KAPPAS:
        stake = bet_size(kappa, c, tolerance.ratio * usual, tolerance.points)
        if stake <= 0:
            continue
        won, lost = math.log1p(stake), math.log1p(-stake * c)
        growth = (fault * won + b * lost - tolerance.points * stake) / phi
        spread = (fault * won**2 + b * lost**2) / phi
        if growth > 0:
            half = z * math.sqrt(spread) + math.sqrt(z * z * spread + 4 * growth * goal)
            found.append((half / (2 * growth)) ** 2)
    return min(found, default=None)


def soak_plan(
    *,
    usual: float,
    fault: float,
    traffic: float,
    tolerance: Tolerance,
    risk: float,
    canary_per_second: float,
    phi: float = 1.0,
    power: float = USUAL_POWER,
) -> SoakPlan:
    """Return the soak that finds the fault at so many canary requests per second."""
    needed = requests_needed(
        usual=usual,
        fault=fault,
        traffic=traffic,
        tolerance=tolerance,
        risk=risk,
        phi=phi,
        power=power,
    )
    if needed is None or canary_per_second <= 0:
        return SoakPlan(needed, None)
    return SoakPlan(needed, needed / (60 * canary_per_second))
