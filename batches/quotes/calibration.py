"""Per deployer: how fast it was measured to be, and how its rollbacks compare with their quotes."""

from collections import defaultdict
from dataclasses import dataclass

from django.db.models import QuerySet

from batches.configured import deployer_spec, deployers
from batches.models import DeployerMeasurement, Rollback
from batches.quotes.accuracy import Accuracy, PastRollback, Scatter, accuracy, scatter
from batches.quotes.quote import MEASURED_FROM_CALLS, Pace, pace
from plans.models import Plan
from plans.refusal import BadInput

ROLLBACKS_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is known of one deployer; a pace is None while fewer than 20 calls are measured."""

    deployer: str
    configured_seconds: float | None
    restore_calls: int
    restore: Pace | None
    look: Pace | None
    past: tuple[PastRollback, ...]
    accuracy: Accuracy
    scatter: Scatter | None

    @property
    def calls_missing(self) -> int:
        """Return how many restores are still to be measured before they count."""
        return max(0, MEASURED_FROM_CALLS - self.restore_calls)


def calibrations(plans: QuerySet[Plan]) -> list[Calibration]:
    """Return the calibration of every deployer, with the newest rollbacks of these plans."""
    measured = {(row.deployer, row.direction): row for row in DeployerMeasurement.objects.all()}
    past: dict[str, list[PastRollback]] = defaultdict(list)
    rows = (
        Rollback.objects.filter(plan__in=plans, finished_at__isnull=False, touched__gt=0)
        .exclude(quote_seconds=None)
        .select_related("plan")
        .order_by("-triggered_at")
    )
    for row in rows[:ROLLBACKS_SHOWN]:
        past[row.plan.deployer].append(_past(row))
    names = {*_configured(), *past, *(deployer for deployer, _direction in measured)}
    return [_calibration(name, measured, tuple(past[name])) for name in sorted(names)]


def _configured() -> list[str]:
    try:
        return list(deployers())
    except BadInput:
        # The file is broken; what was measured is shown all the same.
        return []


def _calibration(
    name: str,
    measured: dict[tuple[str, str], DeployerMeasurement],
    past: tuple[PastRollback, ...],
) -> Calibration:
    try:
        configured: float | None = deployer_spec(name).expected_seconds
    except BadInput:
        configured = None
    restores = measured.get((name, "restore"))
    return Calibration(
        deployer=name,
        configured_seconds=configured,
        restore_calls=restores.count if restores is not None else 0,
        restore=_pace(restores),
        look=_pace(measured.get((name, "observe"))),
        past=past,
        accuracy=accuracy(past),
        scatter=scatter(past),
    )


def _pace(row: DeployerMeasurement | None) -> Pace | None:
    if row is None:
        return None
    known = pace(row.durations, row.count, 0.0)
    return known if known.measured else None


def _past(row: Rollback) -> PastRollback:
    return PastRollback(
        plan=str(row.plan_id),
        external_id=row.plan.external_id,
        trigger=row.trigger,
        at=row.triggered_at,
        touched=row.touched,
        quoted=row.quote_seconds or 0.0,
        expected=row.expected_seconds,
        measured=row.seconds(),
        # As the report counts: a promise about everybody is missed by whoever is not back.
        missed=row.missed_at is not None or row.verified_at is None,
    )
