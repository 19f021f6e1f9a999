"""What a compliance report knows: plain facts about one plan, read from the database elsewhere.

The whole of it travels inside the PDF as report.json; the PDF is a rendering of it.
"""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who acted; the e-mail tells two people of one name apart."""

    name: str
    email: str

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>" if self.email else self.name


@dataclass(frozen=True, slots=True)
class ReleaseFact:
    """What was installed, and why it was trusted."""

    plugin: str
    version: str
    digest: str
    signed_by: str
    verified_at: datetime
    irreversible: bool


@dataclass(frozen=True, slots=True)
class RevisionFact:
    """What the plan said from one time on."""

    number: int
    at: datetime
    author: Person
    why: str
    policy_name: str
    policy_digest: str
    tenants_digest: str
    plan_digest: str
    approvals: str


@dataclass(frozen=True, slots=True)
class VerdictFact:
    """What one person said to one request."""

    person: Person
    role: str
    verdict: str
    at: datetime
    method: str
    comment: str


@dataclass(frozen=True, slots=True)
class RequestFact:
    """A question to the approvers."""

    action: str
    revision: int
    plan_digest: str
    roles: tuple[str, ...]
    opened_by: Person
    opened_at: datetime
    deadline: datetime
    closed_at: datetime | None
    outcome: str
    verdicts: tuple[VerdictFact, ...]


@dataclass(frozen=True, slots=True)
class ChangeFact:
    """One thing that read differently from then on."""

    direction: str
    sentence: str


@dataclass(frozen=True, slots=True)
class AdjustmentFact:
    """A change of the plan while it ran, whether or not it came into force."""

    revision: int
    before: int
    direction: str
    changes: tuple[ChangeFact, ...]
    reason: str
    by: str
    via: str
    asked_at: datetime
    state: str
    applied_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime | None
    approved_by: tuple[str, ...]
    restores: int | None
    policy_digest: str


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


@dataclass(frozen=True, slots=True)
class EventFact:
    """One event of the trail. `human` tells whether a person did it."""

    seq: int
    at: datetime
    kind: str
    actor: str
    human: bool
    via: str
    sentence: str
    hash: str


@dataclass(frozen=True, slots=True)
class TrailFact:
    """The plan's chain, checked link by link when the report was made."""

    stream: str
    events: tuple[EventFact, ...]
    head_hash: str
    intact: bool
    finding: str


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One entry of the field-level log."""

    at: datetime
    actor: str
    what: str
    action: str
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LimitsFact:
    """The policy's promises that the outcome is measured against."""

    success_rate: float
    failure_rate: float
    rollback_seconds: float
    batch_minutes: float
    missing_metrics_minutes: float


@dataclass(frozen=True, slots=True)
class FreezeFact:
    """A freeze that covered tenants of the plan while it lived."""

    name: str
    reason: str
    begins_at: datetime
    ends_at: datetime | None
    declared_by: Person
    lifted_at: datetime | None
    lifted_by: Person | None
    lifted_why: str


@dataclass(frozen=True, slots=True)
class OverrideFact:
    """A freeze that the plan was let through."""

    freeze: str
    by: Person
    role: str
    reason: str
    at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class SoakFact:
    """What a batch's soak could find of one Kpi, as forecast when the plan was submitted."""

    batch: str
    kpi: str
    sentence: str
    enough: bool
    advice: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """Everything about one plan up to `cut_off`."""

    plan_id: str
    external_id: str
    note: str
    state: str
    deployer: str
    owner: Person
    author: Person
    from_versions: tuple[str, ...]
    release: ReleaseFact
    created_at: datetime
    submitted_at: datetime | None
    approved_at: datetime | None
    started_at: datetime | None
    started_by: Person | None
    ended_at: datetime | None
    soak_scale: float
    limits: LimitsFact
    policy_name: str
    policy_digest: str
    policy_text: str
    revisions: tuple[RevisionFact, ...]
    requests: tuple[RequestFact, ...]
    adjustments: tuple[AdjustmentFact, ...]
    planned_tenants: int
    left_out: tuple[tuple[str, str], ...]
    batches: tuple[BatchFact, ...]
    kpis: tuple[KpiFact, ...]
    rulings: tuple[RulingFact, ...]
    rollbacks: tuple[RollbackFact, ...]
    alerts: tuple[AlertFact, ...]
    trail: TrailFact
    field_changes: tuple[FieldChange, ...]
    cut_off: datetime
    generator: str
    instance: str
    url: str
    drills: tuple[DrillFact, ...] = ()
    drilled_before: DrillFact | None = None
    windows: tuple[str, ...] = ()
    freezes: tuple[FreezeFact, ...] = ()
    overrides: tuple[OverrideFact, ...] = ()
    stopped_at: datetime | None = None
    soaks: tuple[SoakFact, ...] = ()

    @property
    def tenants(self) -> tuple[TenantFact, ...]:
        """Return the tenants of all batches, in the order of the plan."""
        return tuple(tenant for batch in self.batches for tenant in batch.tenants)

    @property
    def adjusted(self) -> tuple[AdjustmentFact, ...]:
        """Return the changes that came into force."""
        return tuple(one for one in self.adjustments if one.applied_at is not None)

    @property
    def touched(self) -> tuple[TenantFact, ...]:
        """Return the tenants that a call may have reached."""
        return tuple(tenant for tenant in self.tenants if tenant.touched_at is not None)
