"""The lives of plans, as one table from which code, pages, API, docs and tests are made.

`batches/lifecycle.py` holds the same kind of table for batches and tenant upgrades.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Transition:
    """One legal move: from any of `sources` to `target`; `target` None = decided at run time."""

    name: str
    sources: tuple[str, ...]
    target: str | None
    meaning: str


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """A table of states and transitions."""

    noun: str
    states: Mapping[str, str]
    initial: str
    transitions: tuple[Transition, ...]
    endings: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        for transition in self.transitions:
            named = {*transition.sources, transition.target or self.initial}
            if unknown := named - set(self.states):
                raise ValueError(f"{self.noun}.{transition.name} names unknown states {unknown}")

    def named(self, name: str) -> Transition:
        """Return the transition of that name; KeyError when the table has none."""
        for transition in self.transitions:
            if transition.name == name:
                return transition
        raise KeyError(f"{self.noun} has no transition {name!r}")

    def sources(self, name: str) -> tuple[str, ...]:
        """Return the states from which the transition is legal."""
        return self.named(name).sources

    def allows(self, state: str, name: str) -> bool:
        """Tell whether the transition is legal from the state."""
        return state in self.named(name).sources

    def possible(self, state: str) -> tuple[str, ...]:
        """Return the names of all transitions that are legal from the state."""
        return tuple(t.name for t in self.transitions if state in t.sources)

    def choices(self) -> list[tuple[str, str]]:
        """Return (state, label) pairs for a model field."""
        return list(self.states.items())


PLAN = Lifecycle(
    noun="plan",
    initial="draft",
    states={
        "draft": "Draft",
        "awaiting_approval": "Awaiting approval",
        "approved": "Approved",
        "running": "Running",
        "paused": "Paused",
        "completed": "Completed",
        "stopped": "Stopped",
        "rolling_back": "Rolling back",
        "rolled_back": "Rolled back",
        "needs_hand": "Needs a hand",
        "rejected": "Rejected",
        "expired": "Expired",
        "cancelled": "Cancelled",
        "archived": "Archived",
    },
    endings=frozenset(
        {
            "completed",
            "stopped",
            "rolled_back",
            "needs_hand",
            "rejected",
            "expired",
            "cancelled",
        }
    ),
    transitions=(
        Transition("submit", ("draft",), "awaiting_approval", "hand in for approval"),
        Transition(
            "revise",
            ("draft", "awaiting_approval", "approved", "rejected", "expired"),
            "draft",
            "change the content; every approval so far is void",
        ),
        Transition("approve", ("awaiting_approval",), "approved", "all roles have agreed"),
        Transition("reject", ("awaiting_approval",), "rejected", "an approver said no"),
        Transition("expire", ("awaiting_approval", "approved"), "expired", "time ran out"),
        Transition("start", ("approved",), "running", "reserve the tenants and begin"),
        Transition("pause", ("running",), "paused", "nothing new starts"),
        Transition("resume", ("paused",), "running", "go on"),
        Transition("complete", ("running",), "completed", "every tenant is accounted for"),
        Transition(
            "begin_rollback",
            ("running", "paused", "completed", "stopped", "needs_hand"),
            "rolling_back",
            "take touched tenants back",
        ),
        Transition("finish_rollback", ("rolling_back",), "rolled_back", "all are back"),
        Transition(
            "finish_part",
            ("rolling_back",),
            "paused",
            "a part is back; a person chooses what becomes of the rest",
        ),
        Transition("escalate", ("rolling_back", "running"), "needs_hand", "tenants need a person"),
        Transition("settle_rolled_back", ("needs_hand",), "rolled_back", "settled as taken back"),
        Transition(
            "stop_here",
            ("running", "paused"),
            "stopped",
            "nothing more is upgraded, nothing is taken back",
        ),
        Transition(
            "need_hand_stopped",
            ("stopped",),
            "needs_hand",
            "tenants of a stopped plan need a person",
        ),
        Transition("settle_stopped", ("needs_hand",), "stopped", "settled where it was stopped"),
        Transition("settle_completed", ("needs_hand",), "completed", "settled as upgraded"),
        Transition(
            "cancel", ("draft", "awaiting_approval", "approved"), "cancelled", "will not be done"
        ),
        Transition(
            "archive",
            ("rejected", "expired", "cancelled", "completed", "stopped", "rolled_back"),
            "archived",
            "put away; can no longer be rolled back",
        ),
    ),
)

LIVE_PLAN_STATES = ("running", "paused", "rolling_back", "needs_hand")
