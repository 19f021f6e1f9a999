"""What a scenario is: the plans, the people's cues, the faults, and what the world is like."""

import random
from dataclasses import dataclass, field

from batches.deployers.simulated_deployer import Fault
from tests.simulation.faults import Strike, Timed

TENANTS = ("acorn", "birch", "cedar", "dogwood", "elm", "fir", "gorse", "hazel")
CALL_TIMEOUT = 3.0
BOTH = frozenset({"install", "restore"})
BACK = frozenset({"restore"})
FORWARD = frozenset({"install"})
ONE_WAY = "1.7.0"
"""The release that cannot be taken back."""


@dataclass(frozen=True, slots=True)
class Cue:
    """After the n-th event of a kind in a plan's trail somebody does something."""

    event: str
    act: str
    delay: float = 0.5
    nth: int = 1
    plan: int = 0


@dataclass(slots=True)
class PlanSpec:
    """One plan of the world; `comes_at`: when it is drafted."""

    tenants: tuple[str, ...]
    policy: str
    version: str = "1.5.0"
    comes_at: float = 0.0
    after_event: str = ""
    acts: tuple[str, ...] = ("submit", "approve_as_aram", "approve_as_sona")


@dataclass(slots=True)
class Scenario:
    """All that makes one world."""

    seed: int
    family: str = ""
    dice: random.Random = field(default_factory=random.Random)
    plans: list[PlanSpec] = field(default_factory=list)
    watches: int = 1
    shared: bool = False
    """Whether the watches share the plans out, as on PostgreSQL."""
    hands: int = 1
    strict: bool = False
    parallelism: int = 5
    latency: float = 0.2
    faults: dict[str, Fault] = field(default_factory=dict)
    bad_share: dict[str, float] = field(default_factory=dict)
    known_past: bool = False
    """Whether the console knows what the tenants were like before."""
    strikes: list[Strike] = field(default_factory=list)
    happenings: list[Timed] = field(default_factory=list)
    cues: list[Cue] = field(default_factory=list)
    settles: bool = True
    """Whether people clear up at the end; else what is left must be left honestly."""
    sees_through: bool = False
    """Whether the world goes on until what follows each rollback has been watched to its end."""
    seconds: float = 60.0
    paperwork: bool = False
    chores: tuple[str, ...] = ()
    """The chores that the watch does; all of them with `paperwork`."""
    give_way: float = 0.04
    lose_hints: float = 0.0
    deliver_twice: float = 0.0
    hands_delay: float = 0.3
    slowness: float = 1.4
    """How much longer than a second the watch takes from look to look."""

    def cue(self, event: str, act: str, delay: float = 0.5, nth: int = 1, plan: int = 0) -> None:
        """Let somebody act after an event."""
        self.cues.append(Cue(event, act, delay, nth, plan))

    def happen(self, at: float, what: str, *with_: object) -> None:
        """Let something happen at a time."""
        self.happenings.append(Timed(at, what, with_))
