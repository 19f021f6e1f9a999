"""What a compliance report knows of a plan's course: tenants, batches, looks, rollbacks."""

from dataclasses import dataclass
from datetime import datetime

from reports.document.facts_agreed import Person


@dataclass(frozen=True, slots=True)
class TenantFact:
    """What became of one tenant."""

    key: str
    owner: str
    state: str
    version_before: str
    version_observed: str
    observed_at: datetime | None
    touched_at: datetime | None
    upgraded_at: datetime | None
    restored_at: datetime | None
    attempts: int
    error: str
    set_aside: str = ""
    set_aside_at: datetime | None = None
    set_aside_why: str = ""
    digest_before: str = ""
    digest_observed: str = ""


@dataclass(frozen=True, slots=True)
class QuoteFact:
    """The rollback quote at a batch's gate: the worst case, with its terms."""

    seconds: float
    expected_seconds: float
    limit: float
    touched: int
    terms: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class BatchFact:
    """What became of one batch."""

    number: int
    name: str
    state: str
    owner: str
    advance: str
    hold_back: bool
    metrics: tuple[str, ...]
    executors: tuple[str, ...]
    opened_at: datetime | None
    calling_since: datetime | None
    calls_done_at: datetime | None
    soak_seconds: float
    ended_at: datetime | None
    promoted_by: Person | None
    held_at: datetime | None
    held_reason: str
    tenants: tuple[TenantFact, ...]
    waited_seconds: float = 0.0
    quote: QuoteFact | None = None


@dataclass(frozen=True, slots=True)
class KpiPoint:
    """One look at a Kpi. Without a value: no data, with its cause, unless only `control` spoke."""

    at: datetime
    value: float | None
    control: float | None = None
    cause: str = ""
    drawn: bool = False


@dataclass(frozen=True, slots=True)
class KpiLimit:
    """A guardrail on a Kpi in words; without a value it is no fixed level that could be drawn."""

    value: float | None
    label: str
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class KpiFact:
    """The course of one Kpi; `points` are all of its looks, or evenly chosen ones of many."""

    name: str
    meaning: str
    unit: str
    source: str
    limits: tuple[KpiLimit, ...]
    looks: int
    blind: int
    points: tuple[KpiPoint, ...]


@dataclass(frozen=True, slots=True)
class EvidenceFact:
    """The course of the evidence test: percent by line, the first line all Kpis together."""

    kpis: tuple[str, ...]
    tolerated: str
    risk: float
    action: str
    verdict: str
    sentence: str
    estimated: bool
    reached_at: datetime | None
    looks: int
    highest: float
    lines: tuple[tuple[str, tuple[tuple[datetime, float], ...]], ...]


@dataclass(frozen=True, slots=True)
class RulingFact:
    """A verdict with everything that it rests on."""

    at: datetime
    batch: str
    guardrail: str
    kpi: str
    verdict: str
    action: str
    sentence: str
    value: float | None
    threshold: float | None
    unit: str
    n: int
    window_seconds: float
    inputs_digest: str
    revision: int = 0
    cause: str = ""
    since: datetime | None = None
    baseline: float | None = None
    tenants: int = 0
    worst: tuple[str, float] | None = None
    query: str = ""
    next: str = ""
    recent: tuple[tuple[datetime, float | None, float | None], ...] = ()
    """The newest looks before it: when, what was measured, and its limit."""


@dataclass(frozen=True, slots=True)
class AftermathKpi:
    """What one guardrail's Kpi showed in the restored tenants after a rollback."""

    guardrail: str
    verdict: str
    value: float | None
    threshold: float | None
    unit: str
    n: int
    window_seconds: float


@dataclass(frozen=True, slots=True)
class RollbackFact:
    """One rollback: why, what, and how fast."""

    id: str
    scope: str
    trigger: str
    reason: str
    sentence: str
    by: str
    via: str
    triggered_at: datetime
    clock_from: datetime
    deadline: datetime
    quote_seconds: float | None
    touched: int
    restored: int
    needs_hand: int
    superseded: tuple[str, ...]
    first_call_at: datetime | None
    verified_at: datetime | None
    finished_at: datetime | None
    missed_at: datetime | None
    aftermath: str = ""
    aftermath_sentence: str = ""
    aftermath_until: datetime | None = None
    aftermath_at: datetime | None = None
    aftermath_kpis: tuple[AftermathKpi, ...] = ()
    expected_seconds: float | None = None
    quote_terms: tuple[tuple[str, float], ...] = ()
    unverified: tuple[tuple[str, int, str], ...] = ()
    """Versions that came back without a signature that holds: version, tenants, problem."""

    @property
    def limit_seconds(self) -> float:
        """Return the seconds that the rollback was allowed."""
        return (self.deadline - self.clock_from).total_seconds()

    @property
    def measured_seconds(self) -> float | None:
        """Return the seconds on the promise's clock until the last tenant was read back."""
        if self.verified_at is None:
            return None
        return (self.verified_at - self.clock_from).total_seconds()

    @property
    def in_time(self) -> bool:
        """Tell whether every tenant was read back within the limit."""
        measured = self.measured_seconds
        return measured is not None and measured <= self.limit_seconds and self.missed_at is None


@dataclass(frozen=True, slots=True)
class DrillFact:
    """A rehearsed rollback: within this plan, this plan itself, or the deployer's last one."""

    kind: str
    external_id: str
    deployer: str
    inject: str
    tenants: int
    started_at: datetime
    seconds: float | None
    quote_seconds: float | None
    outcome: str
    sentence: str


@dataclass(frozen=True, slots=True)
class AlertFact:
    """Something the owners were told."""

    kind: str
    sentence: str
    opened_at: datetime
    resolved_at: datetime | None
