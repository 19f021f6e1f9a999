"""What was known of the tenants before each rollout of a placebo backtest.

A plan is calibrated once, at its first look, by what was recorded before it; so is a rollout with
nothing released. Every three hours of the history there is one calibration for all rollouts that
begin until the next.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from batches.evidence.calibration import Usual
from batches.evidence.rules import EvidenceTest
from batches.evidence.tenant_history import usual_from_history
from batches.history import kpi_history
from batches.placebo.looks import Past

EVERY = timedelta(hours=3)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class KnownPast:
    """The pasts of rollouts, each asked for once.

    `own`: Kpis that a guardrail compares with the tenants' own history. `same_hours`: how many
    rollouts were calibrated by the very hours over which they were laid, since none are recorded
    from before them.
    """

    test: EvidenceTest | None
    own: Collection[str]
    tenants: Collection[str]
    until: datetime
    same_hours: int = 0
    _known: dict[datetime, Past] = field(default_factory=dict)
    _late: set[datetime] = field(default_factory=set)

    def __call__(self, begins: datetime) -> Past:
        """Return what was known before a rollout that begins then."""
        edge = begins - (begins - _EPOCH) % EVERY
        if edge not in self._known:
            self._known[edge] = self._asked(edge)
        self.same_hours += edge in self._late
        return self._known[edge]

    def _asked(self, edge: datetime) -> Past:
        means = {kpi: kpi_history.baseline(kpi, self.tenants, until=edge) for kpi in self.own}
        usual: dict[str, tuple[Usual, str]] = {}
        kpis = self.test.kpis if self.test is not None else {}
        for kpi, tested in kpis.items():
            usual[kpi] = self._usual(kpi, edge, tested.slow_above)
            if usual[kpi][1]:
                # A plan that starts now would know all that is recorded by now.
                usual[kpi] = self._usual(kpi, self.until, tested.slow_above)
                if not usual[kpi][1]:
                    self._late.add(edge)
        return Past(usual, means)

    def _usual(self, kpi: str, until: datetime, bound: float | None) -> tuple[Usual, str]:
        # Metric sources tell tenants apart, not plugins.
        return usual_from_history("", kpi, sorted(self.tenants), until=until, bound=bound)
