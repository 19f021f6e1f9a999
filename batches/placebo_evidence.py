"""The evidence test over rollouts with nothing released: when it would have spoken. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from batches.evidence import Counts, Process, Tolerance, merge, take_look, threshold
from batches.evidence_calibration import Usual, exposure, fleet_rate
from batches.kpi_points import Point, RatioPoint
from batches.rollout_history import Stretch, dealt, summed


@dataclass(frozen=True, slots=True)
class EvidenceTest:
    """The policy's test, and what is known of the tenants' past, per Kpi."""

    kpis: tuple[str, ...]
    action: str
    risk: float
    tolerance: Tolerance
    usual: Mapping[str, Usual] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Side:
    """One side of one minute: its events dealt out over the looks, and the expected bad ones."""

    looks: Sequence[Point]
    expected_per_event: float

    def at(self, number: int) -> tuple[float, float, float]:
        """Return the bad events, all events and expected bad events of one look."""
        point = self.looks[number] if self.looks else RatioPoint(0.0, 0.0)
        if not isinstance(point, RatioPoint):
            return 0.0, 0.0, 0.0
        total = max(point.bad, point.total)
        return point.bad, total, total * self.expected_per_event


def fires_at(
    course: Sequence[Stretch], test: EvidenceTest, *, look_seconds: float, dice: Random
) -> datetime | None:
    """Return when the evidence of one rollout reached 100 %, None where it never did.

    While the control is as ill as the upgraded tenants the plan holds, and nothing is taken back.
    """
    count = max(1, round(60 / look_seconds))
    horizon = 60.0 * len(course)
    states = {kpi: Process() for kpi in test.kpis}
    for stretch in course:
        sides = {kpi: _sides(stretch, kpi, test, count, dice) for kpi in test.kpis}
        for number in range(count):
            for kpi, (canary, control) in sides.items():
                states[kpi] = _looked(
                    states[kpi],
                    canary.at(number),
                    control.at(number),
                    test,
                    kpi,
                    60 / count,
                    horizon,
                )
            ill = any(state.fleet_incident for state in states.values())
            whole = merge({kpi: state.log_e for kpi, state in states.items()})
            if whole.log_e >= threshold(test.risk) and not ill:
                return stretch.minute.at + timedelta(seconds=60 * (number + 1) / count)
    return None


def _looked(
    state: Process,
    canary: tuple[float, float, float],
    control: tuple[float, float, float],
    test: EvidenceTest,
    kpi: str,
    seconds: float,
    horizon: float,
) -> Process:
    usual = test.usual.get(kpi, Usual())
    look = Counts(
        seconds=seconds,
        canary_errors=canary[0],
        canary_requests=canary[1],
        control_errors=control[0],
        control_requests=control[1],
        canary_expected=canary[2] if usual.estimated else None,
        control_expected=control[2] if usual.estimated else None,
        phi=usual.phi,
    )
    return take_look(
        state,
        look,
        test.tolerance,
        horizon_seconds=horizon,
        usual_control_errors=control[2] if usual.estimated else None,
    )


def _sides(
    stretch: Stretch, kpi: str, test: EvidenceTest, count: int, dice: Random
) -> tuple[_Side, _Side]:
    points = stretch.minute.points.get(kpi, {})
    upgraded = frozenset(stretch.upgraded)
    usual = test.usual.get(kpi, Usual())
    return (
        _side(points, (name for name in points if name in upgraded), usual, count, dice),
        _side(points, (name for name in points if name not in upgraded), usual, count, dice),
    )


def _side(
    points: Mapping[str, Point], names: Iterable[str], usual: Usual, count: int, dice: Random
) -> _Side:
    chosen = [(name, point) for name in names if isinstance(point := points[name], RatioPoint)]
    whole = summed([point for _name, point in chosen])
    if whole is None:
        return _Side((), 0.0)
    events = math.fsum(max(point.bad, point.total) for _name, point in chosen)
    expected = 0.0
    if usual.estimated and events > 0:
        fleet = fleet_rate(usual.rates)
        expected = math.fsum(
            exposure(max(point.bad, point.total), *usual.rates.get(name, (0.0, 0.0)), fleet)
            for name, point in chosen
        )
    return _Side(dealt(whole, count, dice), expected / events if events > 0 else 0.0)
