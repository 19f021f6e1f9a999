"""What is known of a guardrail from look to look, and what it says now, as values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from batches.guardrails.measured import Outcome
from plans.policies.policy import Guardrail

Verdict = Literal["fine", "breached", "no_data", "undecided"]
Deed = Literal["", "rollback", "pause", "warn", "hold"]


@dataclass(frozen=True, slots=True)
class GuardState:
    """What must be known of the looks before. The same look judged twice counts once."""

    verdict: Verdict = "undecided"
    failed_running: int = 0
    errors_running: int = 0
    successes: int = 0
    """Good measurements since the soak began."""
    last_outcome: Outcome | None = None
    last_look_at: datetime | None = None
    last_good_at: datetime | None = None
    missing_since: datetime | None = None
    soak_started: datetime | None = None
    cause: str | None = None
    """Why there is nothing to judge now; `missing_since` says since when, unless it is idle."""
    idle_since: datetime | None = None
    batch: int | None = None
    """Of a guardrail about the present batch: which one that was."""
    tenants: Mapping[str, int] = field(default_factory=dict)
    """How many looks running each tenant failed by itself; those with none are left out."""

    @property
    def without_since(self) -> datetime | None:
        """Return since when there has been nothing to judge, None while there is."""
        return self.missing_since or self.idle_since

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
            if name != "tenants" or value
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> GuardState:
        """Return the state that to_json wrote; an empty object is the state at the beginning."""
        times = ("last_look_at", "last_good_at", "missing_since", "idle_since", "soak_started")
        values = dict(body)
        for name in times:
            if values.get(name) is not None:
                values[name] = datetime.fromisoformat(values[name])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class GuardrailRuling:
    """What one guardrail says now. `action` is what is to follow, empty where nothing is."""

    guardrail: str
    kpi: str
    verdict: Verdict
    action: Deed
    sentence: str
    value: float | None
    threshold: float
    unit: str
    n: int
    window_seconds: float
    tenants: int
    worst: tuple[str, float] | None
    cause: str | None
    at: datetime
    blocking: bool = True
    """Whether the plan waits for this guardrail to be fine."""
    bad: float | None = None
    baseline: float | None = None
    lost: int = 0
    since: datetime | None = None
    """Since when there has been nothing to judge."""
    last_good_at: datetime | None = None
    next: str = ""
    """How far it is to the next verdict."""
    breached_by: Mapping[str, float | None] = field(default_factory=dict)
    """Who broke it, where each tenant is judged by itself."""
    stands_out: Mapping[str, float | None] = field(default_factory=dict)
    """Who is far over the limit although the guardrail is about all together; None = and gives too
    little now to say how far."""


def guardrail_key(guardrail: Guardrail) -> str:
    """Return what a guardrail is called among those of its plan."""
    side = "at_least" if guardrail.at_most is None else "at_most"
    number = guardrail.at_least if guardrail.at_most is None else guardrail.at_most
    share = guardrail.slow_share_percent
    parts = [
        f"{guardrail.kpi} {side} {number:g}",
        f" {guardrail.unit}" if guardrail.unit else "",
        f" for {100 - share:g} %" if share is not None else "",
        f" over {guardrail.window_seconds:g} s",
        f" against {guardrail.against}" if guardrail.against != "absolute" else "",
        f" per {guardrail.scope}" if guardrail.scope != "plan" else "",
        "" if guardrail.action == "rollback" else f" or {guardrail.action}",
        " (dry run)" if guardrail.dry_run else "",
    ]
    return "".join(parts)
