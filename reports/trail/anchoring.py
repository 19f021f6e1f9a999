"""Checkpoints leave the database: a line in the log, a file elsewhere, a webhook.

The watch asks for it once a second, after everything that is urgent. Files are written by a thread
of their own: a disk that hangs holds nobody up, and is an alert.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from django.conf import settings

from batches.alerting import alerts
from batches.models import Alert
from batches.runtime import surroundings
from plans.models import Checkpoint
from plans.trail.checkpoints import due, newest, take_checkpoint
from reports.telling.checkpoint_news import announce_checkpoint
from reports.trail.anchor_files import Anchor, last_number, write

logger = logging.getLogger(__name__)

KIND = "audit_anchor_failed"
HANGS_AFTER_SECONDS = 60.0
TRY_AGAIN_SECONDS = 15.0
AT_ONCE = 500


def keep_checkpoints(now: datetime) -> None:
    """Take a checkpoint where one is due."""
    try:
        if why := due(now):
            take_and_tell(why=why, now=now)
    except OSError as error:
        _tell(f"no checkpoint can be signed: {error}", now)


def keep_anchors(now: datetime) -> None:
    """See that all checkpoints get into files outside of the database."""
    _KEEPER.tick(now)


def take_and_tell(*, why: str, now: datetime) -> Checkpoint | None:
    """Take a checkpoint; log it and announce it to the machines that want it."""
    taken = take_checkpoint(why=why, now=now)
    if taken is not None:
        logger.info("CHECKPOINT %s", taken.text.strip().replace("\n", " | "))
        announce_checkpoint(checkpoint=taken, now=now)
    return taken


@dataclass
class _Writing:
    """One write that is under way, or has ended."""

    folder: Path
    log: str
    upto: int
    since: float
    written: int = 0
    problem: str = ""
    done: bool = False


@dataclass
class Keeper:
    """Keeps the files up with the database; one per process."""

    _now: "_Writing | None" = None
    _known: dict[tuple[Path, str], int] = field(default_factory=dict)
    _again: float = 0.0

    def tick(self, now: datetime) -> None:
        """See what became of the last write, and begin the next one."""
        here = surroundings.here()
        if self._now is not None and not self._ended(now):
            return
        last = newest()
        if last is None or here.monotonic() < self._again:
            return
        folder = Path(settings.AUDIT_ANCHOR_DIR)
        known = self._known.get((folder, last.log))
        if known is not None and known >= last.number:
            return
        self._now = writing = _Writing(folder, last.log, last.number, here.monotonic())
        if known is None:
            # How far the files are is read once; the disk may be slow.
            here.spawn(lambda: _look(writing), name="anchors")
            return
        rows = Checkpoint.objects.filter(log=last.log, number__gt=known).order_by("number")
        waiting = [Anchor(c.number, c.at, c.text, c.heads, c.whole) for c in rows[:AT_ONCE]]
        here.spawn(lambda: _write(writing, waiting), name="anchors")

    def _ended(self, now: datetime) -> bool:
        """Tell whether the write under way is over; tell people what came of it."""
        writing, here = self._now, surroundings.here()
        assert writing is not None  # noqa: S101  (asked for by the only caller)
        if not writing.done:
            if here.monotonic() - writing.since > HANGS_AFTER_SECONDS:
                _tell(f"writing to {writing.folder} hangs", now)
            return False
        self._now = None
        if writing.problem:
            self._again = here.monotonic() + TRY_AGAIN_SECONDS
            # What of it was written before it failed is looked up.
            self._known.pop((writing.folder, writing.log), None)
            _tell(writing.problem, now)
        else:
            self._known[writing.folder, writing.log] = writing.written
            _untell(now)
        return True


def _look(writing: _Writing) -> None:
    try:
        writing.written = last_number(writing.folder, writing.log)
        if writing.written > writing.upto:
            writing.problem = (
                f"the anchors in {writing.folder} know checkpoint {writing.written}, the database"
                f" only {writing.upto}: it was cut, or is an older copy"
            )
    except OSError as error:
        writing.problem = f"{writing.folder}: {error.strerror or error}"
    finally:
        writing.done = True


def _write(writing: _Writing, waiting: Sequence[Anchor]) -> None:
    try:
        writing.written = write(writing.folder, writing.log, waiting)
    except OSError as error:
        writing.problem = f"{writing.folder}: {error.strerror or error}"
    finally:
        writing.done = True


def _tell(problem: str, now: datetime) -> None:
    alerts.fire(
        plan=None,
        kind=KIND,
        sentence=f"checkpoints of the trail do not get out of the database: {problem}",
        now=now,
    )


def _untell(now: datetime) -> None:
    if Alert.objects.filter(key=alerts.alert_key(None, KIND), resolved_at=None).exists():
        alerts.resolve(plan=None, kind=KIND, now=now)


_KEEPER = Keeper()
"""This process's one keeper."""
