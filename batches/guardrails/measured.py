"""What a guardrail saw at one look, as a value. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

Outcome = Literal["successful", "failed", "inconclusive", "error"]


class TenantSeen(NamedTuple):
    """What one tenant showed by itself; `value` is None where missing data counts as failed."""

    failed: bool
    value: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a guardrail saw at its newest look. `n` counts requests, or values of a gauge.

    `baseline` is what it was compared with, and `threshold` the limit that followed from it.
    `by_tenant`: of a guardrail for each tenant, all tenants with enough data and whether each
    failed; of any other, those that are far over the limit by themselves. `undecided`: upgraded
    tenants with too little data of their own. `silent`: of a guardrail for each tenant, those
    without data, and why.
    """

    outcome: Outcome
    value: float | None
    threshold: float
    unit: str
    n: int
    tenants: int
    worst: tuple[str, float] | None
    cause: str | None
    sentence: str
    at: datetime | None = None
    """When the newest look was; None where there is none in the window."""
    bad: float | None = None
    baseline: float | None = None
    by_tenant: Mapping[str, TenantSeen] = field(default_factory=dict)
    undecided: frozenset[str] = frozenset()
    silent: Mapping[str, str] = field(default_factory=dict)
    lost: int = 0
    """Upgraded tenants without data, where the rest could be measured."""


def each_outcome(by_tenant: Mapping[str, TenantSeen], tenants: int) -> Outcome:
    """Return what tenants that are judged one by one come to: one that failed is enough.

    Good is only what more than half of them showed.
    """
    if any(seen.failed for seen in by_tenant.values()):
        return "failed"
    return "successful" if 2 * len(by_tenant) > tenants else "inconclusive"
