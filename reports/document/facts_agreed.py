"""What a compliance report knows of what was agreed: the release, revisions, requests, freezes."""

from collections.abc import Mapping
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
    standing: str = ""
    """Why nothing of it may be installed any more; empty while it is trusted."""
    signatures: tuple[str, ...] = ()
    """Every signature that it ever had, in words, the oldest first."""


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
class GrantFact:
    """One signed approval; `grant` is {payload, sig, kid} as whoever verifies it takes it.

    `genuine` tells whether the signature held when the report was made, `finding` why not.
    """

    jti: str
    action: str
    batch: int | None
    person: Person
    role: str
    quorum: str
    methods: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    consumed_at: datetime | None
    op: str
    voided_why: str
    grant: Mapping[str, str]
    genuine: bool
    finding: str = ""


@dataclass(frozen=True, slots=True)
class BrokenGlassFact:
    """An act that was done without the approvers, and its review."""

    act: str
    batch: int | None
    by: Person
    at: datetime
    reason: str
    roles: tuple[str, ...]
    told: tuple[str, ...]
    review_due: datetime
    reviewed_by: Person | None
    reviewed_at: datetime | None
    verdict: str
    review: str


@dataclass(frozen=True, slots=True)
class SoakFact:
    """What a batch's soak could find of one Kpi, as forecast when the plan was submitted."""

    batch: str
    kpi: str
    sentence: str
    enough: bool
    advice: tuple[str, ...] = ()
