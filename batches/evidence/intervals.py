"""Intervals that hold at every look, the exact rank-sum test, and what zero errors prove.

For display and planning; what is decided rests on batches/evidence/sequential_test.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

_FARTHEST: Final = 700.0
_HALVINGS: Final = 120


@dataclass(frozen=True, slots=True)
class Interval:
    """A range that holds the true value at all looks together, with the asked certainty."""

    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class RatioInterval:
    """The canary's rate in units of the control's; None where it is not known or unbounded."""

    lower: float | None
    upper: float | None
    estimate: float | None


def log_e_of_share(errors: float, requests: float, share: float, *, a: float, b: float) -> float:
    """Return the logarithm of the evidence against this true share (F4, beta-binomial)."""
    if share <= 0 or share >= 1:
        impossible = errors > 0 if share <= 0 else errors < requests
        return math.inf if impossible else _mixture(errors, requests, a, b)
    right = math.log(share) - math.log1p(-share)
    return _log_e_at(right, errors, requests, a, b)


def share_interval(
    errors: float, requests: float, *, risk: float, a: float = 0.5, b: float = 0.5
) -> Interval:
    """Return the shares of errors against which there is no evidence of 1/risk (F4)."""
    limit = -math.log(risk)
    if requests <= 0:
        return Interval(0.0, 1.0)
    lowest = _edge(errors, requests, a, b, limit, side=-1) if errors > 0 else -math.inf
    highest = _edge(errors, requests, a, b, limit, side=1) if errors < requests else math.inf
    return Interval(_share(lowest), _share(highest))


def ratio_interval(
    canary_errors: float,
    canary_requests: float,
    control_errors: float,
    control_requests: float,
    *,
    risk: float,
) -> RatioInterval:
    """Return how many times the control's rate the canary's is (F5). Within one batch only."""
    errors = canary_errors + control_errors
    if canary_requests <= 0 or control_requests <= 0:
        return RatioInterval(None, None, None)
    if errors <= 0:
        # Without an error every ratio is possible.
        return RatioInterval(0.0, None, None)
    traffic = canary_requests / (canary_requests + control_requests)
    a, b = 2 * traffic, 2 * (1 - traffic)
    limit = -math.log(risk)
    scale = control_requests / canary_requests
    lower, upper = 0.0, None
    if canary_errors > 0:
        lower = math.exp(_edge(canary_errors, errors, a, b, limit, side=-1)) * scale
    if control_errors > 0:
        upper = math.exp(_edge(canary_errors, errors, a, b, limit, side=1)) * scale
    estimate = canary_errors / control_errors * scale if control_errors > 0 else None
    return RatioInterval(lower, upper, estimate)


def log_e_of_equal_rates(
    canary_errors: float, canary_requests: float, control_errors: float, control_requests: float
) -> float:
    """Return the logarithm of the evidence against a ratio of 1 (F5)."""
    traffic = canary_requests / (canary_requests + control_requests)
    a, b = 2 * traffic, 2 * (1 - traffic)
    return log_e_of_share(canary_errors, canary_errors + control_errors, traffic, a=a, b=b)


def zero_error_requests(share: float, *, risk: float) -> int:
    """Return how many requests without an error prove that the share is below (F9)."""
    return math.ceil(math.log(1 / risk) / -math.log1p(-share))


def rank_sum_tail(rank_sum: int, *, canaries: int, tenants: int) -> float:
    """Return P(W >= rank_sum) when `canaries` of the `tenants` were drawn at random (F7, exact)."""
    if not 0 <= canaries <= tenants:
        raise ValueError(f"{canaries} canaries of {tenants} tenants cannot be")
    most = canaries * (2 * tenants - canaries + 1) // 2
    ways = [[0] * (most + 1) for _ in range(canaries + 1)]
    ways[0][0] = 1
    for rank in range(1, tenants + 1):
        for chosen in range(min(rank, canaries), 0, -1):
            row, before = ways[chosen], ways[chosen - 1]
            for total in range(rank, most + 1):
                row[total] += before[total - rank]
    at_least = sum(ways[canaries][max(0, rank_sum) :])
    return at_least / math.comb(tenants, canaries)


def _mixture(errors: float, requests: float, a: float, b: float) -> float:
    return _log_beta(a + errors, b + requests - errors) - _log_beta(a, b)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_e_at(odds: float, errors: float, requests: float, a: float, b: float) -> float:
    """Return the evidence against the share whose log odds these are: exact close to 0 and 1."""
    log_share, log_rest = -_log1p_exp(-odds), -_log1p_exp(odds)
    return _mixture(errors, requests, a, b) - errors * log_share - (requests - errors) * log_rest


def _log1p_exp(x: float) -> float:
    return x + math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x))


def _edge(errors: float, requests: float, a: float, b: float, limit: float, *, side: int) -> float:
    """Return the log odds at which the evidence reaches the limit, on one side of the estimate."""
    inside = 0.0
    if 0 < errors < requests:
        inside = math.log(errors) - math.log(requests - errors)
    else:
        # All evidence lies on one side: begin where there is none.
        inside = -_FARTHEST if errors <= 0 else _FARTHEST
    outside = side * _FARTHEST
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        if _log_e_at(middle, errors, requests, a, b) < limit:
            inside = middle
        else:
            outside = middle
    return inside


def _share(odds: float) -> float:
    if odds == -math.inf:
        return 0.0
    return 1.0 if odds == math.inf else math.exp(-_log1p_exp(-odds))
