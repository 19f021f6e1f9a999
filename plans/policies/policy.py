"""What a policy says, as plain values: batches, guardrails, limits, windows, selection, rollback.

`policy_yaml` makes these from text; `waves` and `windows` read them; nothing here decides.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, time
from typing import Any

import rfc8785

HOLD_BACK = "hold-back"
"""The name of the last batch that `selection.hold_back_percentage` makes; no batch may take it."""

SLOW_SHARE_PERCENT = 5.0
"""`rollback_thresholds` on a histogram: breached when more than this share is slower."""

START_WITHIN_MINUTES = 240.0
"""How long after the first moment at which it could an approved plan may be started."""

PAUSE_SECONDS = 180.0
"""After a manual pause everything is back within this time, counted from the pause."""

LATEST_LOOK_SECONDS = 2.0
"""How much later than due a look may come: one tick of the watch and the source's answer."""

POINTS = "points"
"""The unit of a guardrail that allows a difference in percentage points."""

FACTOR = "x"
"""The unit of a guardrail that allows a factor."""

Labels = Mapping[str, str]
TenantSelector = str | Labels
"""One tenant by its key, or every tenant that carries all of the labels."""


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """One batch as the policy wants it; `metrics` are watched and reported, never a threshold."""

    name: str
    percentage: float
    soak_seconds: float
    metrics: tuple[str, ...] = ()
    advance: str = "automatic"


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One rule over one Kpi.

    Breached when more than `failure_limit` looks in a row failed. `slow_share_percent` is set for
    entries of `rollback_thresholds`: where the Kpi is a histogram, a look fails when more than
    that share of the requests is slower than `at_most`. Those entries always hold their number in
    `at_most`: whoever knows the Kpi's direction flips it for a Kpi where higher is better.

    Against `control` or `own_history` the number is what is allowed beside theirs: a difference in
    `points` or in the Kpi's own unit, or a factor `x`. `scope` says whose numbers are judged
    together, and who goes back: the plan, the present batch, or each tenant by itself.
    """

    kpi: str
    at_most: float | None = None
    at_least: float | None = None
    unit: str | None = None
    against: str = "absolute"
    window_seconds: float = 60.0
    min_samples: int = 20
    failure_limit: int = 1
    consecutive_error_limit: int = 4
    initial_delay_seconds: float = 0.0
    on_missing: str = "hold"
    action: str = "rollback"
    scope: str = "plan"
    critical: bool = True
    dry_run: bool = False
    slow_share_percent: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers that no plan under this policy may pass."""

    failure_rate: float = 5
    batch_minutes: float = 30
    rollback_seconds: float = 180
    missing_metrics_minutes: float = 5
    hold_minutes: float = 60
    success_rate: float = 98
    parallelism: int = 20
    attempts: int = 3
    call_timeout_seconds: float = 20
    look_seconds: float = 5
    failures: int | None = None


@dataclass(frozen=True, slots=True)
class Conditions:
    """What happens, beside the alert, when one of the four conditions is met."""

    failure_rate: str = "rollback"
    batch_overrun: str = "hold"
    missing_metrics: str = "hold"
    hold_expired: str = "rollback"


@dataclass(frozen=True, slots=True)
class RollbackRules:
    """How a rollback goes; `rollback_after_seconds` is the wait after a manual pause.

    `watch_after_minutes`: how long the restored tenants are watched until their Kpis are back in
    band; 0 = not at all. `unverified`: what becomes of a plan whose rollback would bring back a
    version without a signature that holds; warn or refuse.
    """

    scope: str = "plan"
    order: str = "newest_first"
    rollback_after_seconds: float = 60.0
    verify: bool = True
    drill: bool = False
    irreversible: str = "refuse"
    watch_after_minutes: float = 15.0
    unverified: str = "warn"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tenants come first, which never, and which share waits until the end."""

    order: str = "shuffle"
    rings: tuple[Labels, ...] = ()
    exclude: tuple[TenantSelector, ...] = ()
    pin: tuple[TenantSelector, ...] = ()
    hold_back_percentage: float = 0.0


@dataclass(frozen=True, slots=True)
class EvidenceRules:
    """The evidence test over Kpis that count requests; in % where a number has no other unit.

    Tolerated is `ratio` x the control's rate + `points` percentage points. A batch passes only
    after as many requests as find a rate of `detect` with the probability `power`.
    """

    kpis: tuple[str, ...] = ("error_rate",)
    action: str = "pause"
    max_false_rollback_risk: float = 1
    ratio: float = 1.2
    points: float = 0.5
    detect: float = 2
    power: float = 95


@dataclass(frozen=True, slots=True)
class Window:
    """A weekly span of wall time in a zone; `days` are the days on which it starts.

    When `end` is not after `start` the window ends on the next day; equal times are 24 hours.
    """

    kind: str
    days: tuple[str, ...]
    start: time
    end: time
    timezone: str


@dataclass(frozen=True, slots=True)
class UpgradePolicy:
    """One policy, complete: every default is filled in.

    `windows_closing`: what becomes of a batch in whose calls a window closes, `wait` for the next
    opening or `finish_batch`.
    """

    name: str
    batches: tuple[BatchSpec, ...]
    description: str = ""
    guardrails: tuple[Guardrail, ...] = ()
    approvals: str = "default"
    selection: Selection = field(default_factory=Selection)
    advance: str = "automatic"
    windows: tuple[Window, ...] = ()
    windows_closing: str = "wait"
    not_after: datetime | None = None
    limits: Limits = field(default_factory=Limits)
    on: Conditions = field(default_factory=Conditions)
    rollback: RollbackRules = field(default_factory=RollbackRules)
    evidence: EvidenceRules | None = None

    def windows_over(self, *, begun: bool) -> tuple[Window, ...]:
        """Return the windows that a batch has to obey, before it is begun or in its calls."""
        return () if begun and self.windows_closing == "finish_batch" else self.windows

    @property
    def watched_kpis(self) -> frozenset[str]:
        """Return every Kpi that a guardrail or the evidence test judges or a batch charts."""
        charted = {kpi for batch in self.batches for kpi in batch.metrics}
        tested = set() if self.evidence is None else set(self.evidence.kpis)
        return frozenset(charted | tested | {guardrail.kpi for guardrail in self.guardrails})

    def at_scale(self, factor: float) -> "UpgradePolicy":
        """Return the policy as a rehearsal runs it: soaks and guardrail windows times the factor.

        So is the time for which restored tenants are watched.

        No window becomes shorter than what two looks need: it would never see anything.
        """
        if factor == 1:
            return self
        two_looks = 2 * self.limits.look_seconds + LATEST_LOOK_SECONDS
        return replace(
            self,
            batches=tuple(
                replace(batch, soak_seconds=batch.soak_seconds * factor) for batch in self.batches
            ),
            guardrails=tuple(
                replace(
                    rule,
                    window_seconds=max(
                        rule.window_seconds * factor, min(rule.window_seconds, two_looks)
                    ),
                )
                for rule in self.guardrails
            ),
            rollback=replace(
                self.rollback, watch_after_minutes=self.rollback.watch_after_minutes * factor
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the policy as JSON values: times as HH:MM, instants as RFC 3339 in UTC."""
        body = asdict(self)
        for window in body["windows"]:
            window["start"] = window["start"].strftime("%H:%M")
            window["end"] = window["end"].strftime("%H:%M")
        if self.limits.failures is None:
            # A key that came later and is not written must not change the digest of a policy.
            del body["limits"]["failures"]
        if self.evidence is None:
            del body["evidence"]
        if self.rollback.unverified == RollbackRules().unverified:
            del body["rollback"]["unverified"]
        if self.not_after is not None:
            body["not_after"] = self.not_after.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return body

    def digest(self) -> str:
        """Return the SHA-256 (hex) of the canonical JSON: the same meaning, the same digest."""
        return hashlib.sha256(rfc8785.dumps(self.to_json())).hexdigest()


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """Who must agree: every role of the list, a different person for each.

    `start_within_minutes`: how long an approved plan may still be started after the first moment
    at which it could. `gate_roles`: who lets a batch begin at a manual gate; empty = whoever may.
    """

    name: str
    required_roles: tuple[str, ...]
    max_pending_minutes: float = 60
    start_within_minutes: float = START_WITHIN_MINUTES
    gate_roles: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the rule as JSON values; keys that came later only where they are written."""
        body: dict[str, Any] = {
            "required_roles": list(self.required_roles),
            "max_pending_minutes": self.max_pending_minutes,
        }
        if self.start_within_minutes != START_WITHIN_MINUTES:
            body["start_within_minutes"] = self.start_within_minutes
        if self.gate_roles:
            body["gate_roles"] = list(self.gate_roles)
        return body


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """All that one policy file says, by name."""

    policies: Mapping[str, UpgradePolicy]
    approvals: Mapping[str, ApprovalRule]
