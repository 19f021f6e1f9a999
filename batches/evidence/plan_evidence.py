"""The evidence test of one plan: a process per Kpi, one look after the other, and all together.

One process for the whole rollout: tenants only move from those waiting to the upgraded ones. It
begins anew only where what it tested is over: after a rollback, a person's word, a looser
tolerance. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from batches.evidence import sequential_test
from batches.evidence.calibration import Usual, exposure, fleet_rate
from batches.evidence.rules import EvidenceTest, KpiUnderTest
from batches.evidence.sequential_test import Counts, Process, Tolerance
from batches.looks.kpi_points import HistogramPoint, LookSample, Point, RatioPoint


class Sums(NamedTuple):
    """Errors and requests of the upgraded tenants, and of those that wait."""

    canary_errors: float = 0.0
    canary_requests: float = 0.0
    control_errors: float = 0.0
    control_requests: float = 0.0

    def plus(self, counts: Counts) -> Sums:
        """Return the sums with one more look."""
        return Sums(
            self.canary_errors + counts.canary_errors,
            self.canary_requests + counts.canary_requests,
            self.control_errors + counts.control_errors,
            self.control_requests + counts.control_requests,
        )


REPEATED = timedelta(seconds=60)
"""A look that is older than the last by more than that is of a clock that was put back."""


@dataclass(frozen=True, slots=True)
class PlanEvidence:
    """Where the test of a plan stands.

    `band` adds up the errors and requests of both sides since `band_batch` is the newest batch, for
    the picture of their ratio: over several batches such a sum compares different tenants.

    `peak` is latched: what has once reached 100 % stays there. `soak_compared`: how many canary
    requests each process had compared when the present soak began.
    """

    processes: Mapping[str, Process] = field(default_factory=dict)
    looked_at: Mapping[str, datetime] = field(default_factory=dict)
    tolerance: Tolerance | None = None
    log_e: float = 0.0
    peak: float = 0.0
    blame: str = ""
    reached_at: datetime | None = None
    soak_started: datetime | None = None
    soak_compared: Mapping[str, float] = field(default_factory=dict)
    band_batch: int = 0
    band: Mapping[str, Sums] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "processes": {kpi: process.to_json() for kpi, process in self.processes.items()},
            "looked_at": {kpi: at.isoformat() for kpi, at in self.looked_at.items()},
            "tolerance": None
            if self.tolerance is None
            else [self.tolerance.ratio, self.tolerance.points],
            "log_e": self.log_e,
            "peak": self.peak,
            "blame": self.blame,
            "reached_at": _written(self.reached_at),
            "soak_started": _written(self.soak_started),
            "soak_compared": dict(self.soak_compared),
            "band_batch": self.band_batch,
            "band": {kpi: list(sums) for kpi, sums in self.band.items()},
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> PlanEvidence:
        """Return the evidence that to_json wrote; an empty object is the beginning."""
        if not body:
            return cls()
        tolerance = body["tolerance"]
        return cls(
            processes={kpi: Process.from_json(p) for kpi, p in body["processes"].items()},
            looked_at={kpi: datetime.fromisoformat(at) for kpi, at in body["looked_at"].items()},
            tolerance=None if tolerance is None else Tolerance(*tolerance),
            log_e=float(body["log_e"]),
            peak=float(body["peak"]),
            blame=body["blame"],
            reached_at=_read(body["reached_at"]),
            soak_started=_read(body["soak_started"]),
            soak_compared=dict(body["soak_compared"]),
            band_batch=int(body["band_batch"]),
            band={kpi: Sums(*sums) for kpi, sums in body["band"].items()},
        )

    @property
    def looks(self) -> int:
        """Return how many looks were taken in, of the Kpi with the most."""
        return max((process.looks for process in self.processes.values()), default=0)

    @property
    def incidents(self) -> tuple[str, ...]:
        """Return the Kpis of which those who were not upgraded are ill as well."""
        ill = (kpi for kpi, process in self.processes.items() if process.fleet_incident)
        return tuple(sorted(ill))

    def percent(self, risk: float) -> float:
        """Return the evidence of all Kpis together, as people see it."""
        reached = self.peak >= sequential_test.threshold(risk)
        return sequential_test.percent(self.peak if reached else self.log_e, risk)

    def compared(self, kpi: str) -> float:
        """Return how many canary requests were compared since the present soak began."""
        process = self.processes.get(kpi)
        return 0.0 if process is None else process.compared - self.soak_compared.get(kpi, 0.0)


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _read(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def with_look(
    state: PlanEvidence,
    test: EvidenceTest,
    look: LookSample,
    usual: Usual,
    *,
    soak_started: datetime | None,
    batch: int = 0,
) -> PlanEvidence:
    """Return the evidence after one look at one Kpi; a look that was taken in counts once.

    `batch` is the number of the newest batch that has begun.
    """
    tested = test.kpis.get(look.kpi)
    before = state.looked_at.get(look.kpi)
    if tested is None or (before is not None and before - REPEATED <= look.at <= before):
        return state
    seconds = test.look_seconds if before is None else (look.at - before).total_seconds()
    counts, expected = counts_of(look, tested, usual, seconds=seconds)
    seen = Seen(look.kpi, look.at, counts, expected)
    return with_counts(state, test, seen, soak_started=soak_started, batch=batch)


class Seen(NamedTuple):
    """What one look at one Kpi comes to; `expected`: the control's usual errors, where known."""

    kpi: str
    at: datetime
    counts: Counts
    expected: float | None


def with_counts(
    state: PlanEvidence,
    test: EvidenceTest,
    seen: Seen,
    *,
    soak_started: datetime | None,
    batch: int = 0,
) -> PlanEvidence:
    """Return the evidence after what one look came to, whoever has added it up."""
    state = _anew_where_looser(state, test)
    process = state.processes.get(seen.kpi, Process())
    process = sequential_test.take_look(
        process,
        seen.counts,
        test.tolerance,
        horizon_seconds=test.horizon_seconds,
        usual_control_errors=seen.expected,
    )
    processes = {**state.processes, seen.kpi: process}
    # A Kpi that nobody could look at so far is worth 1: it says nothing, and takes its share.
    logs = {kpi: processes[kpi].log_e if kpi in processes else 0.0 for kpi in test.kpis}
    together = sequential_test.merge(logs)
    peak = max(state.peak, together.log_e)
    reached = peak >= sequential_test.threshold(test.risk)
    if soak_started is not None and soak_started != state.soak_started:
        so_far = {kpi: p.compared for kpi, p in state.processes.items()}
        state = replace(state, soak_started=soak_started, soak_compared=so_far)
    band = state.band if batch == state.band_batch else {}
    return replace(
        state,
        band_batch=batch,
        band={**band, seen.kpi: band.get(seen.kpi, Sums()).plus(seen.counts)},
        processes=processes,
        looked_at={**state.looked_at, seen.kpi: seen.at},
        tolerance=test.tolerance,
        log_e=together.log_e,
        peak=peak,
        # Who is to blame stays, once it is decided.
        blame=state.blame if state.reached_at else together.blame,
        reached_at=state.reached_at or (seen.at if reached else None),
    )


def _anew_where_looser(state: PlanEvidence, test: EvidenceTest) -> PlanEvidence:
    """Begin anew when more is tolerated than before: the bets so far were against less."""
    was, now = state.tolerance, test.tolerance
    if was is None or (now.ratio <= was.ratio and now.points <= was.points):
        return state
    return PlanEvidence(looked_at=state.looked_at)


def counts_of(
    look: LookSample, tested: KpiUnderTest, usual: Usual, *, seconds: float
) -> tuple[Counts, float | None]:
    """Return what the look says of both sides, and the errors that are usual in the control."""
    fleet = fleet_rate(usual.rates)
    canary = _side(look.canary, tested, usual, fleet)
    control = _side(look.control, tested, usual, fleet)
    known = usual.estimated
    counts = Counts(
        seconds=seconds,
        canary_errors=canary[0],
        canary_requests=canary[1],
        control_errors=control[0],
        control_requests=control[1],
        canary_expected=canary[2] if known else None,
        control_expected=control[2] if known else None,
        phi=usual.phi,
    )
    return counts, control[2] if known else None


def _side(
    points: Mapping[str, Point], tested: KpiUnderTest, usual: Usual, fleet: float
) -> tuple[float, float, float]:
    errors: list[float] = []
    requests: list[float] = []
    expected: list[float] = []
    for tenant, point in points.items():
        tally = tally_of(point, tested)
        if tally is None:
            continue
        errors.append(tally[0])
        requests.append(tally[1])
        if usual.estimated:
            before = usual.rates.get(tenant, (0.0, 0.0))
            expected.append(exposure(tally[1], before[0], before[1], fleet))
    # The same to the last digit in whatever order a database returns the tenants.
    return math.fsum(errors), math.fsum(requests), math.fsum(expected)


def tally_of(point: Point, tested: KpiUnderTest) -> tuple[float, float] | None:
    """Return (errors, requests) of one tenant, None where the point says nothing of them."""
    tally = _tally(point, tested)
    if tally is None or not all(math.isfinite(count) and count >= 0 for count in tally):
        return None
    return tally


def _tally(point: Point, tested: KpiUnderTest) -> tuple[float, float] | None:
    if isinstance(point, RatioPoint) and tested.slow_above is None:
        return point.bad, max(point.bad, point.total)
    if isinstance(point, HistogramPoint) and tested.slow_above is not None:
        # The largest bound that is not above the limit; the same one on both sides.
        bound = max((b for b in point.buckets if b <= tested.slow_above), default=None)
        if bound is not None:
            return max(0.0, point.total - point.buckets[bound]), point.total
    return None
