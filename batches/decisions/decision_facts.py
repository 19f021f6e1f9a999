"""What a decision about a plan rests on, and what it comes to: plain values, read elsewhere."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from plans.policies.policy import Conditions, Limits

STOPS_WIDENING = (
    "; the release cannot be taken back, so nothing is restored and no further tenant is upgraded"
)


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """A batch as the watch sees it.

    `forward_left`: tenants that still wait for their call; `to_retry`: those of them that a stop
    left unknown. `drilled`: tenants that need a hand because of a drill; they are not failures.
    `waits_since`: since when it waits for an opening in the middle of its calls. `left_out`:
    tenants that a person left out before any call reached them.
    """

    pk: int
    number: int
    name: str
    state: str
    size: int
    counts: Mapping[str, int]
    advance: str = "automatic"
    promoted: bool = False
    forward_left: int = 0
    to_retry: int = 0
    stragglers: int = 0
    untouched_failures: int = 0
    failures: int = 0
    drilled: int = 0
    left_out: int = 0
    calls_open: int = 0
    calling_since: datetime | None = None
    waits_since: datetime | None = None
    handed_out_at: datetime | None = None
    soak_left: float = 0.0
    held_at: datetime | None = None
    held_kind: str = ""
    acknowledged: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RollbackFacts:
    """An unfinished rollback. `left`: tenants that are not back; `checked`: read once more."""

    pk: str
    deadline: datetime
    left: tuple[str, ...]
    checked: bool
    escalated: bool
    missed: bool


@dataclass(frozen=True, slots=True)
class BreachFacts:
    """A guardrail that is broken now. `tenants` broke it, where its scope is each tenant."""

    key: str
    kpi: str
    action: str
    sentence: str
    scope: str = "plan"
    tenants: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MissingFacts:
    """Monitoring data that is missing, since when and for which Kpi."""

    kpi: str
    since: datetime
    sentence: str


@dataclass(frozen=True, slots=True)
class DrillFacts:
    """What the drill within the plan needs next: begin, run, a step of its own, or failed."""

    step: str
    sentence: str = ""
    pk: str = ""
    closed: str = ""
    """Why its tenant may not be called forward now, by windows and freezes."""


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """Everything that a decision about one plan depends on.

    `incident`: those who were not upgraded are ill as well; `inconclusive`: a soak ended without
    a verdict of the evidence test. `rehearsal` says why a plan that rehearses a rollback is to ask
    for it now.
    `window_open`: what comes next may be called, by the policy's windows and by all freezes;
    `window_for_good`: it never will be. `irreversible`: the release cannot be taken back.
    `distrusted`: its key was revoked, or it is in quarantine, since the plan began.
    `half_done`: a stop found tenants half done, and they can be read by now.
    `all_seen_at`: when each watched Kpi had brought data again, None while one has none.
    """

    state: str
    now: datetime
    limits: Limits
    on: Conditions
    batches: tuple[BatchFacts, ...]
    scope: str = "plan"
    orchestrator_on: bool = True
    rollback_on: bool = True
    watch_may_call: bool = True
    resume_by: datetime | None = None
    rollback: RollbackFacts | None = None
    breaches: tuple[BreachFacts, ...] = ()
    incident: str = ""
    inconclusive: str = ""
    missing: tuple[MissingFacts, ...] = ()
    all_seen_at: datetime | None = None
    window_open: bool = True
    window_sentence: str = ""
    window_for_good: bool = False
    irreversible: bool = False
    promotable: bool = False
    promotable_sentence: str = ""
    quote_fits: bool = True
    quote_sentence: str = ""
    release_problem: str = ""
    distrusted: str = ""
    room_problem: str = ""
    unreadable: str = ""
    drill: DrillFacts | None = None
    rehearsal: str = ""
    half_done: bool = False

    @property
    def live(self) -> BatchFacts | None:
        """Return the batch that is deploying, soaking or held."""
        for batch in self.batches:
            if batch.state in {"deploying", "soaking", "held"}:
                return batch
        return None

    @property
    def next(self) -> BatchFacts | None:
        """Return the first batch that has not begun."""
        return next((batch for batch in self.batches if batch.state == "pending"), None)

    @property
    def takes_back(self) -> bool:
        """Tell whether the console may take this plan back by itself."""
        return self.rollback_on and not self.irreversible

    def stopping(self, sentence: str) -> str:
        """Return the sentence of a trigger that only stops, with what will not be done."""
        return sentence + STOPS_WIDENING if self.irreversible else sentence

    @property
    def to_reopen(self) -> BatchFacts | None:
        """Return the first batch that had ended and has tenants to be called again."""
        ended = (batch for batch in self.batches if batch.state in {"passed", "rolled_back"})
        return next((batch for batch in ended if batch.forward_left), None)

    @property
    def touched(self) -> bool:
        """Tell whether any batch has begun."""
        return any(batch.state not in {"pending", "skipped"} for batch in self.batches)

    def totals(self) -> dict[str, int]:
        """Return the tenant counts of the whole plan."""
        total: dict[str, int] = {}
        for batch in self.batches:
            for state, n in batch.counts.items():
                total[state] = total.get(state, 0) + n
        return total


@dataclass(frozen=True, slots=True)
class Action:
    """What to do: its `do` names the use case that the watch calls with the rest.

    `scope` and `tenants`: what a breach was about, where it was not the whole plan.
    """

    do: str
    sentence: str = ""
    batch: int | None = None
    kind: str = ""
    scope: str = "plan"
    tenants: tuple[str, ...] = ()


Rule = Callable[[PlanFacts], Action | None]
"""From facts to an action; None where the rule has nothing to say."""
