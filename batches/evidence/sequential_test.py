"""Evidence that an upgrade made a Kpi worse: a test that may be looked at as often as one likes.

A plain test that is repeated at each look lies: sooner or later it "finds" something. Here a bet
against "no worse than tolerated" is continued look by look; its value E may reach 1/risk with
probability `risk` at most, over all looks together (Ville). F1 to F11 are the formulas of
docs/evidence.md. Pure: the state goes in and comes out, each look costs the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from batches.evidence.calibration import PRIOR_ERRORS, PRIOR_REQUESTS, dispersion

__all__ = [
    "KAPPAS",
    "Counts",
    "Merged",
    "Process",
    "Tolerance",
    "anytime_p",
    "bet_size",
    "dispersion",
    "log_increment",
    "log_sum",
    "merge",
    "next_incident",
    "percent",
    "scaled_dispersion",
    "shown_percent",
    "take_look",
    "threshold",
    "update",
]

KAPPAS: Final = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0)
"""How many times worse than tolerated the bets expect it to be; equal weights."""
FIRST_SHARE: Final = 0.5
"""What is bet at the first look; the rest is spread over the planned time, for late faults."""
NOTHING: Final = -math.inf
INCIDENT_PACE: Final = 2 / 7
INCIDENT_ABOVE: Final = 3.0
"""The control has this many times its usual errors: everyone is ill, not the new version."""
INCIDENT_ERRORS: Final = 10.0
"""And at least so many errors in the last looks: of one error instead of none nothing follows."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What counts as no worse: at most `ratio` x the control's rate + `points` (a share).

    A ratio of 0 compares with nobody: `points` is then an absolute limit.
    """

    ratio: float = 1.2
    points: float = 0.005


@dataclass(frozen=True, slots=True)
class Counts:
    """What one look brought: errors of requests on both sides, and the errors to be expected.

    `expected` are exposures from each tenant's own history; None stands for the requests.
    `phi` is how many times more than independent requests the errors scatter.
    """

    seconds: float
    canary_errors: float
    canary_requests: float
    control_errors: float
    control_requests: float
    canary_expected: float | None = None
    control_expected: float | None = None
    phi: float = 1.0


@dataclass(frozen=True, slots=True)
class Process:
    """Where the bets of one Kpi stand: about twenty numbers, exact after a restart.

    `compared` counts the canary's requests of looks in which both sides that are needed had some;
    `idle_seconds` is for how long there was no such look.
    """

    elapsed: float = 0.0
    spent: float = 0.0
    logs: tuple[float, ...] = (NOTHING,) * len(KAPPAS)
    log_e: float = 0.0
    peak: float = 0.0
    looks: int = 0
    canary_errors: float = 0.0
    canary_requests: float = 0.0
    control_errors: float = 0.0
    control_requests: float = 0.0
    compared: float = 0.0
    idle_seconds: float = 0.0
    incident: float = 1.0
    recent_errors: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; minus infinity is null."""
        body = {name: getattr(self, name) for name in _NUMBERS}
        return body | {"logs": [None if log == NOTHING else log for log in self.logs]}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Process:
        """Return the process that to_json wrote; an empty object is the beginning."""
        if not body:
            return cls()
        numbers: dict[str, Any] = {name: float(body[name]) for name in _NUMBERS}
        logs = tuple(NOTHING if log is None else float(log) for log in body["logs"])
        return cls(**numbers | {"looks": int(body["looks"]), "logs": logs})

    @property
    def fleet_incident(self) -> bool:
        """Tell whether those who were not upgraded are ill as well (F11)."""
        return self.incident > INCIDENT_ABOVE and self.recent_errors >= INCIDENT_ERRORS


_NUMBERS: Final = tuple(name for name in Process.__dataclass_fields__ if name != "logs")


def bet_size(kappa: float, c: float, a: float, delta: float) -> float:
    """Return the stake that grows fastest when it is `kappa` times worse than tolerated (F1).

    The root in (0, 1/c) of kappa(a + delta)/(1 + u) - a/(1 - uc) - delta = 0; 0 = no bet.
    """
    m = a + delta
    square = delta * c
    linear = m * (1 + kappa * c) - square
    constant = (kappa - 1) * m
    root = linear + math.sqrt(max(0.0, linear * linear - 4 * square * constant))
    if not (root > 0 and constant > 0 and math.isfinite(root)):
        return 0.0
    stake = 2 * constant / root
    # Rounding must not put everything at stake: 1 - uc stays above 0.
    return min(stake, (1 - 1e-12) / c) if c > 0 else stake


def log_increment(
    canary_errors: float,
    control_errors: float,
    *,
    c: float,
    tolerated: float,
    stake: float,
    phi: float = 1.0,
) -> float:
    """Return by how much the logarithm of one bet grows (F2); `tolerated` is delta x requests."""
    lost = math.log1p(-stake * c) if control_errors else 0.0
    won = canary_errors * math.log1p(stake) + control_errors * lost
    return (won - tolerated * stake) / phi


def update(
    state: Process,
    look: Counts,
    tolerance: Tolerance,
    *,
    horizon_seconds: float,
    betting: bool = True,
) -> Process:
    """Return the process after one more look (F3).

    A look without traffic on a side that is needed moves no bet, and neither does one that is
    not a number: only the clock goes on. `horizon_seconds` is the planned time of the rollout.
    Whether to bet at all (`betting`) must not depend on this look.
    """
    elapsed = state.elapsed + _seconds(look)
    reached = min(1.0, elapsed / horizon_seconds) if horizon_seconds > 0 else 1.0
    spent = max(state.spent, FIRST_SHARE + (1 - FIRST_SHARE) * reached)
    stake_now = spent - state.spent
    fresh = math.log(stake_now) if stake_now > 0 else NOTHING
    logs = [log_sum((log, fresh)) for log in state.logs]
    usable = _usable(look, tolerance)
    if usable and betting:
        grown = _increments(state, look, tolerance)
        logs = [log + gain for log, gain in zip(logs, grown, strict=True)]
    log_e = _value(logs, spent)
    after = replace(
        state,
        elapsed=elapsed,
        spent=spent,
        logs=tuple(logs),
        log_e=log_e,
        peak=max(state.peak, log_e),
        looks=state.looks + 1,
    )
    return _counted(after, look, usable=usable, compared=usable and betting)


def _counted(state: Process, look: Counts, *, usable: bool, compared: bool) -> Process:
    """Add up what each side had; what cannot be a count adds nothing."""
    canary_errors, canary_requests = _sane(look.canary_errors, look.canary_requests)
    control_errors, control_requests = _sane(look.control_errors, look.control_requests)
    return replace(
        state,
        canary_errors=state.canary_errors + canary_errors,
        canary_requests=state.canary_requests + canary_requests,
        control_errors=state.control_errors + control_errors,
        control_requests=state.control_requests + control_requests,
        compared=state.compared + (canary_requests if compared else 0.0),
        idle_seconds=0.0 if usable else state.idle_seconds + _seconds(look),
    )


def _increments(state: Process, look: Counts, tolerance: Tolerance) -> list[float]:
    canary_errors, canary_requests = _sane(look.canary_errors, look.canary_requests)
    control_errors, control_requests = _sane(look.control_errors, look.control_requests)
    c = a = 0.0
    if tolerance.ratio > 0:
        exposed = look.canary_expected, look.control_expected
        # Expected errors are compared with expected errors, requests with requests.
        canary, control = exposed if None not in exposed else (canary_requests, control_requests)
        c = tolerance.ratio * (canary or 0.0) / (control or 1.0)
        # Of the past alone: what this look says must not choose this look's bet.
        rate = (state.control_errors + PRIOR_ERRORS) / (state.control_requests + PRIOR_REQUESTS)
        a = c * control_requests / canary_requests * rate
    return [
        log_increment(
            canary_errors,
            control_errors if c else 0.0,
            c=c,
            tolerated=tolerance.points * canary_requests,
            stake=bet_size(kappa, c, a, tolerance.points),
            phi=max(1.0, look.phi),
        )
        for kappa in KAPPAS
    ]


def _usable(look: Counts, tolerance: Tolerance) -> bool:
    sides = [(look.canary_errors, look.canary_requests, look.canary_expected)]
    if tolerance.ratio > 0:
        sides.append((look.control_errors, look.control_requests, look.control_expected))
    return math.isfinite(look.phi) and all(
        _is_count(errors)
        and _is_count(requests)
        and max(requests, errors) > 0
        and (expected is None or (math.isfinite(expected) and expected > 0))
        for errors, requests, expected in sides
    )


def _is_count(number: float) -> bool:
    return math.isfinite(number) and number >= 0


def _seconds(look: Counts) -> float:
    return max(0.0, look.seconds) if math.isfinite(look.seconds) else 0.0


def _sane(errors: float, requests: float) -> tuple[float, float]:
    """Return a side's counts; the two counters are not read at quite the same moment."""
    if not (_is_count(errors) and _is_count(requests)):
        return 0.0, 0.0
    return errors, max(errors, requests)


def log_sum(logs: Iterable[float]) -> float:
    """Return the logarithm of the sum of what these are the logarithms of."""
    known = list(logs)
    largest = max(known, default=NOTHING)
    if largest == NOTHING:
        return NOTHING
    return largest + math.log(math.fsum(math.exp(log - largest) for log in known))


def _value(logs: Sequence[float], spent: float) -> float:
    kept = math.log(1 - spent) if spent < 1 else NOTHING
    return log_sum([kept, log_sum(logs) - math.log(len(logs))])


def threshold(risk: float) -> float:
    """Return the logarithm that E has to reach for "proven", by the risk of a false rollback."""
    return -math.log(risk)


def percent(log_e: float, risk: float) -> float:
    """Return the evidence as people see it: 0 to 100 %."""
    share = log_e / threshold(risk)
    return 100.0 * min(1.0, max(0.0, share))


def shown_percent(state: Process, risk: float) -> float:
    """Return the evidence of a process: it may fall again until it has once reached 100 %."""
    return percent(state.peak if state.peak >= threshold(risk) else state.log_e, risk)


def anytime_p(log_e: float) -> float:
    """Return the p-value that holds at any time, from the largest E so far."""
    return min(1.0, math.exp(-max(0.0, log_e)))


# Bursts and fleet incidents.


def scaled_dispersion(phi: float, incident: float) -> float:
    """Return the dispersion during an incident of the whole fleet (F11)."""
    return 1 + (phi - 1) * max(1.0, incident)


def take_look(
    state: Process,
    look: Counts,
    tolerance: Tolerance,
    *,
    horizon_seconds: float,
    usual_control_errors: float | None = None,
) -> Process:
    """Return the process after a look, its dispersion scaled by what the control has (F11).

    While everyone is ill nothing is bet: how differently tenants suffer says nothing of a version.
    `usual_control_errors` is what the control's history lets one expect; None = unknown.
    """
    scaled = replace(look, phi=scaled_dispersion(look.phi, state.incident))
    after = update(
        state,
        scaled,
        tolerance,
        horizon_seconds=horizon_seconds,
        betting=not state.fleet_incident,
    )
    return _illness(after, look, usual_control_errors)


def _illness(state: Process, look: Counts, usual: float | None) -> Process:
    errors, requests = _sane(look.control_errors, look.control_requests)
    if usual is None or not math.isfinite(usual) or usual <= 0 or requests <= 0:
        return state
    return replace(
        state,
        # It counts from the next look on.
        incident=next_incident(state.incident, errors, usual),
        recent_errors=state.recent_errors * (1 - INCIDENT_PACE) + errors,
    )


def next_incident(incident: float, control_errors: float, usual: float) -> float:
    """Return how many times its usual errors the control has, smoothed over about six looks."""
    return incident + INCIDENT_PACE * (control_errors / usual - incident)


# Several Kpis together.


@dataclass(frozen=True, slots=True)
class Merged:
    """All Kpis of a plan as one value, and which of them is to blame."""

    log_e: float
    blame: str


def merge(logs: Mapping[str, float], weights: Mapping[str, float] | None = None) -> Merged:
    """Return the weighted mean of the Kpis' E (F6): valid however they hang together."""
    if not logs:
        return Merged(0.0, "")
    shares = dict.fromkeys(logs, 1.0) if weights is None else weights
    total = math.fsum(shares[name] for name in logs)
    parts = {
        name: log + math.log(shares[name] / total) for name, log in logs.items() if shares[name]
    }
    blame = min(parts, key=lambda name: (-parts[name], name))
    return Merged(log_sum(parts.values()), blame)
