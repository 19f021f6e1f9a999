"""What the effect loop takes and gives: tasks, journal entries, outcomes, and its ports.

No Django and no network here: the ledger in the database, the simulator's and the loop itself all
speak in these values.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol

from batches.deployers.base import Answer, Observed
from batches.runtime import surroundings

LOOKS_KEPT = 200
Direction = Literal["install", "restore"]
Move = Literal["confirm", "fail", "lose", "release", "restored", "give_up"]


@dataclass(frozen=True, slots=True)
class Task:
    """One intent for one tenant, as claimed from the ledger.

    `late_calls`: forward calls sent earlier may still be applied, so that a restore counts only
    when the old version is observed after they cannot be any more. `reason` says why a call under
    this intent repeats an earlier one (empty for the first). `digest`: of the artifact that was
    signed, or, of a restore to what nobody signed, as it was seen there before. `way_back`: the
    older version to which this tenant may be taken forward, since it is the one it came from.
    """

    upgrade_id: int
    tenant: str
    direction: Direction
    generation: int
    key: str
    fence: int
    version: str
    digest: str = ""
    config: object | None = None
    version_before: str = ""
    way_back: str = ""
    touched: bool = False
    late_calls: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CallStart:
    """What the journal says before a call is sent."""

    task: Task
    attempt: int
    version_before: str
    config_before: object | None
    reason: str
    digest_before: str = ""


@dataclass(frozen=True, slots=True)
class CallEnd:
    """What the journal says when a call has ended; times are aware UTC."""

    call_id: int
    started_at: datetime
    ended_at: datetime
    answer: Answer


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task: a move of the tenant's state, the end of a call, or both.

    `exhausted`: all attempts are used up; the tenant is not claimed again by itself.
    """

    task: Task
    at: datetime
    move: Move | None = None
    observed: Observed | None = None
    error: str = ""
    call: CallEnd | None = None
    exhausted: bool = False


class Ledger(Protocol):
    """Where intents come from and facts go; every method is safe to call from many coroutines."""

    async def claim_many(self, limit: int) -> Sequence[Task]:
        """Return up to `limit` new intents.

        None when nothing is left, when it is time to stop, or when nothing more may run beside
        what this run has under way.
        """

    async def begin_calls(self, starts: Sequence[CallStart]) -> Sequence[int | None]:
        """Write the journal rows; None for a call that must not be sent any more."""

    async def record_many(self, outcomes: Sequence[Outcome]) -> None:
        """Write what happened."""

    async def settles_at(self, task: Task) -> datetime | None:
        """Return until when an earlier forward call may still be applied, None when none may."""

    async def renew(self, task: Task) -> Task | None:
        """Return a new intent for the same tenant; None when it is somebody else's by now."""

    def stop_requested(self) -> bool:
        """Tell whether nothing new may start."""


class Clock(Protocol):
    """Time as the loop sees it; the simulator brings its own."""

    def now(self) -> datetime:
        """Return the wall time, aware UTC."""

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The clock of the surroundings."""

    def now(self) -> datetime:
        """Return the wall time, aware UTC."""
        return surroundings.here().now()

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return surroundings.here().monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the loop over the tenants of one plan.

    `give_up_at`: a restore that has not succeeded by then is handed to a person. `fault`: what a
    rehearsal puts in the way of its own calls.
    """

    plan: str
    plugin: str
    deployer: str
    parallelism: int
    attempts: int
    call_timeout: float
    give_up_at: datetime | None = None
    fault: str = ""


@dataclass(slots=True)
class Progress:
    """What one run did."""

    tasks: int = 0
    calls: int = 0
    unauthorized: str = ""
    first_call_at: datetime | None = None
    last_read_back_at: datetime | None = None
    looks: deque[float] = field(default_factory=lambda: deque(maxlen=LOOKS_KEPT))
    """Seconds of the newest looks that were answered."""


def settle_time(started_at: datetime, *, call_timeout: float, outcome: str) -> datetime | None:
    """Return until when a forward call may still be applied; None when it cannot any more.

    A call that was answered is over. One that timed out or was cut off may be applied later than
    our patience: it is given as long again.
    """
    if outcome in {"ok", "refused", "failed"}:
        return None
    return started_at + timedelta(seconds=2 * call_timeout)
