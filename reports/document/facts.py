"""What a compliance report knows: plain facts about one plan, read from the database elsewhere.

The whole of it travels inside the PDF as report.json; the PDF is a rendering of it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reports.document.facts_agreed import (
    AdjustmentFact,
    BrokenGlassFact,
    FreezeFact,
    GrantFact,
    OverrideFact,
    Person,
    ReleaseFact,
    RequestFact,
    RevisionFact,
    SoakFact,
)
from reports.document.facts_course import (
    AlertFact,
    BatchFact,
    DrillFact,
    EvidenceFact,
    KpiFact,
    RollbackFact,
    RulingFact,
    TenantFact,
)


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
class CheckpointFact:
    """The newest signed checkpoint, and what shows that the plan's trail is in it.

    `proof` has stream, seq, hash, index, count and path, as `verify_trail.py` takes it.
    """

    number: int
    at: datetime
    kid: str
    text: str
    proof: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrailFact:
    """The plan's chain, checked link by link when the report was made."""

    stream: str
    events: tuple[EventFact, ...]
    head_hash: str
    intact: bool
    finding: str
    checkpoint: CheckpointFact | None = None


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
    evidence: EvidenceFact | None = None
    soaks: tuple[SoakFact, ...] = ()
    grants: tuple[GrantFact, ...] = ()
    grant_keys: tuple[tuple[str, str], ...] = ()
    broken_glass: tuple[BrokenGlassFact, ...] = ()

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
