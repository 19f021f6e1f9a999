"""Keep deadlines and durations true in a process whose wall clock is moved while it runs.

Deadlines are absolute in the database, since they must survive every process. A running process
measures how far its wall clock was moved against the steady one, and shifts every moment that it
has seen before along with it: 100 s that were left stay 100 s. After a restart the absolute
moments count, for nothing else is known then.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

JUMP_SECONDS = 2.0
"""Less than this is the fine work of a time service."""
MOST_KEPT = 20_000


def steady_seconds() -> float:
    """Return seconds that nobody moves; where the system can, sleep of the machine counts."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@dataclass(slots=True)
class SteadyClock:
    """How far the wall clock was moved, and since when each moment is known."""

    _offset: float | None = None
    _known: dict[str, tuple[datetime, float]] = field(default_factory=dict)

    def look(self, wall: datetime, steady: float) -> float:
        """Return by how many seconds the wall clock was moved since the last look; mostly 0."""
        offset = wall.timestamp() - steady
        if self._offset is None:
            self._offset = offset
            return 0.0
        moved = offset - self._offset
        if abs(moved) <= JUMP_SECONDS:
            return 0.0
        self._offset = offset
        return moved

    def moved_since(self, name: str, moment: datetime) -> timedelta:
        """Return how far the wall clock was moved since this process first saw the moment.

        `name` says what happened then; another moment under the same name is seen anew.
        """
        offset = self._offset or 0.0
        known = self._known.get(name)
        if known is None or known[0] != moment:
            if len(self._known) >= MOST_KEPT:
                self._known.pop(next(iter(self._known)))
            self._known[name] = (moment, offset)
            return timedelta(0)
        return timedelta(seconds=offset - known[1])

    def placed(self, name: str, moment: datetime | None) -> datetime | None:
        """Return where the moment lies on the wall clock as it goes now."""
        return None if moment is None else moment + self.moved_since(name, moment)
