"""Named points at which a test may let a process die, stand still or fail; nothing otherwise.

Every point lies between two touches of the database or of the network, so that whatever can happen
to a process there can be made to happen. Production code only says `reach("...")`, which costs one
look at a variable as long as nobody has set a trap.

`UPGRADECONSOLE_FAILPOINTS="effects.call_sent=kill@3,watch.acting=freeze"` sets traps for a real
process: `kill` (SIGKILL), `freeze` (SIGSTOP) or `raise` (OSError), at the n-th time that the point
is reached (the first without `@n`). The simulator sets a trap of its own with `trap`.

`UPGRADECONSOLE_FAILPOINTS_FILE=FILE` lets a test arm a running console: while the file exists, all
processes obey the traps written in it. The process that gets there first takes the file away, so
that one trap springs once however often processes start again; FILE.sprung then says where and who.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

POINTS = (
    "lease.acquired",
    "lease.checked",
    "lease.renewing",
    "lease.releasing",
    "ledger.begun",
    "ledger.applied",
    "ledger.claimed",
    "ledger.journalled",
    "ledger.recorded",
    "ledger.flushed",
    "effects.observed",
    "effects.call_ready",
    "effects.call_sent",
    "effects.looks_noted",
    "trail.recorded",
    "trail.checkpointed",
    "grants.used",
    "adjust.restoring",
    "watch.ticking",
    "watch.decided",
    "watch.acted",
    "hands.began",
    "hands.ending",
    "rollback.restored",
    "rollback.checked",
    "aftermath.judged",
    "drill.called",
)
VARIABLE = "UPGRADECONSOLE_FAILPOINTS"
FILE_VARIABLE = "UPGRADECONSOLE_FAILPOINTS_FILE"
Trap = Callable[[str], None]


class BadFailpoint(ValueError):
    """Raised at start when the variable names a point or an act that does not exist."""


def _wanted(text: str) -> dict[str, tuple[str, int]]:
    """Return what is to happen at which point, and at which time that it is reached."""
    wanted: dict[str, tuple[str, int]] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        point, _equals, act = entry.partition("=")
        act, _at, times = act.partition("@")
        if point not in POINTS or act not in _ACTS or not (times or "1").isdecimal():
            raise BadFailpoint(f"{VARIABLE}: {entry!r} is not POINT=ACT or POINT=ACT@N")
        wanted[point] = (act, int(times or "1"))
    return wanted


def _from_environment(text: str) -> Trap | None:
    wanted = _wanted(text)
    if not wanted:
        return None
    reached: Counter[str] = Counter()

    def spring(point: str) -> None:
        if point in wanted:
            reached[point] += 1
            act, times = wanted[point]
            if reached[point] == times:
                _ACTS[act]()

    return spring


def _from_file(name: str) -> Trap | None:
    """Return a trap that obeys a file, which whoever springs it takes away."""
    if not name:
        return None
    file, sprung = Path(name), Path(f"{name}.sprung")
    reached: Counter[str] = Counter()

    def spring(point: str) -> None:
        try:
            wanted = _wanted(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            reached.clear()
            return
        if point not in wanted:
            return
        reached[point] += 1
        act, times = wanted[point]
        if reached[point] < times:
            return
        claim = Path(f"{name}.{os.getpid()}")
        try:
            file.rename(claim)
        except FileNotFoundError:
            return
        claim.write_text(f"{point} {os.getpid()} {time.time()}", encoding="utf-8")
        claim.rename(sprung)
        _ACTS[act]()

    return spring


def _fail() -> None:
    raise OSError("a failpoint was reached")


_ACTS: dict[str, Callable[[], None]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "freeze": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "raise": _fail,
}
_trap: Trap | None = _from_environment(os.environ.get(VARIABLE, "")) or _from_file(
    os.environ.get(FILE_VARIABLE, "")
)


def reach(point: str) -> None:
    """Say that this process is at the point."""
    if _trap is not None:
        _trap(point)


def trap(new: Trap | None) -> Trap | None:
    """Set what happens at every point, None for nothing; return what was set before."""
    global _trap
    old, _trap = _trap, new
    return old
