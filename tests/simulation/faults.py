"""What goes wrong in a world: processes die or stand still at a touch, the rest at a time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from plans.failpoints import POINTS

TOUCHES = ("statement", "commit", "committed", "call", "answer", "observe")
"""The touches that are no named points: of the database, and of the network."""

FREEZABLE = tuple(point for point in (*POINTS, *TOUCHES) if point != "effects.call_ready")
"""Where a process may stand still although the platform checks no fence.

Right before a call leaves, only the fence helps: no program can look at its watch later than that.
"""


@dataclass(slots=True)
class Strike:
    """One fault of a process: at the n-th time that one of the kind is at the point.

    `leader`: only the watch that decides. `seconds`: how long it stands still, or is down.
    """

    act: Literal["crash", "freeze", "busy"]
    at: str
    kind: str = ""
    nth: int = 1
    after: float = 0.0
    seconds: float = 12.0
    leader: bool = False
    seen: int = 0
    struck_at: float | None = None
    struck: str = ""


@dataclass(frozen=True, slots=True)
class Timed:
    """Something that happens to the world at a time: its name is a key of `World.happenings`."""

    at: float
    what: str
    with_: tuple[object, ...] = ()


@dataclass(slots=True)
class Strikes:
    """All faults of processes in one world."""

    waiting: list[Strike] = field(default_factory=list)
    done: list[Strike] = field(default_factory=list)

    def due(self, at: str, kind: str, now: float, leads: Callable[[], bool]) -> Strike | None:
        """Return the fault that strikes now, counting this touch for every one that waits."""
        for strike in self.waiting:
            if (
                strike.at == at
                and strike.after <= now
                and (not strike.kind or strike.kind == kind)
                and (not strike.leader or leads())
            ):
                strike.seen += 1
                if strike.seen >= strike.nth:
                    self.waiting.remove(strike)
                    self.done.append(strike)
                    return strike
        return None
