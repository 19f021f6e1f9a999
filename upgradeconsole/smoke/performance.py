"""The rehearsal itself, in a process whose settings are already those of the rehearsal."""

import fcntl
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.db import connections
from django.utils import timezone

from batches.models import Heartbeat
from plans.lifecycle import LIVE_PLAN_STATES
from plans.models import Plan
from plans.refusal import BadInput
from upgradeconsole.smoke.following import Following
from upgradeconsole.smoke.inputs import Rehearsal
from upgradeconsole.smoke.outcome import outcome_of
from upgradeconsole.smoke.processes import (
    answers,
    children,
    last_words,
    run_beside,
    wait_until,
)
from upgradeconsole.smoke.stage import Stage, give_approvals, require_own_database, set_stage

SECONDS_TO_START = 60.0
SECONDS_TO_REPORT = 120.0


class DidNotStart(Exception):
    """A process of the rehearsal did not come up."""


@dataclass(slots=True)
class Performance:
    """One rehearsal in its folder; `say` gets a sentence whenever something happens."""

    rehearsal: Rehearsal
    folder: Path
    port: int
    say: Callable[[str], None]
    _plan_id: Any = field(default=None)
    _timed_out: bool = field(default=False)

    def run(self) -> dict[str, Any]:
        """Rehearse and return the outcome; no process is left when it returns or raises.

        Raises BadInput, DidNotStart, Interrupted or, while nothing runs yet, KeyboardInterrupt.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _interrupt)
        with _alone_in(self.folder):
            require_own_database()
            stage = set_stage(self.rehearsal, now=timezone.now())
            self._plan_id = stage.plan.pk
            (self.folder / "static").mkdir(exist_ok=True)
            run_beside(
                children(self.port),
                lambda stopping: self._play(stage, stopping),
                folder=self.folder,
            )
            return outcome_of(self._plan_id, timed_out=self._timed_out)

    def leave(self, *, remove: bool) -> None:
        """Remove the folder but for the report; keep all of it while tenants are in between."""
        live = None
        if self._plan_id is not None:
            live = Plan.objects.filter(pk=self._plan_id, state__in=LIVE_PLAN_STATES).first()
        connections.close_all()
        if live is not None:
            self.say(
                f"The plan is {str(live.state).replace('_', ' ')}, so tenants may be in between."
                f" A console on its folder goes on with it:"
                f" UPGRADECONSOLE_DEPLOYERS={settings.DEPLOYERS_FILE}"
                f" UPGRADECONSOLE_DICTIONARY={settings.DICTIONARY_FILE}"
                f" UPGRADECONSOLE_OUTBOUND={settings.OUTBOUND_FILE}"
                f" ./console up --no-demo --data {self.folder}"
            )
            return
        if not remove:
            return
        for path in self.folder.iterdir():
            if path.is_dir() and path != Path(settings.REPORTS_DIR):
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _play(self, stage: Stage, stopping: threading.Event) -> None:
        """Move the plan from its approval to its end, in the thread beside the processes."""
        until = time.monotonic() + self.rehearsal.timeout
        following = Following(stage.plan.pk, stage.gatekeeper, self.say, stopping)
        try:
            following.tell()
            self._wait_for("web", lambda: answers(self.port), stopping)
            self._wait_for("watch", Heartbeat.objects.exists, stopping)
            if stopping.is_set():
                return
            give_approvals(stage, now=timezone.now())
            if not following.to_the_end(seconds=until - time.monotonic()):
                self._timed_out = not stopping.is_set()
            elif not following.to_the_report(seconds=SECONDS_TO_REPORT):
                self.say(last_words(self.folder, "hands-paperwork"))
        finally:
            connections.close_all()

    def _wait_for(self, name: str, ready: Callable[[], bool], stopping: threading.Event) -> None:
        if wait_until(ready, seconds=SECONDS_TO_START, stopping=stopping) or stopping.is_set():
            return
        raise DidNotStart(
            f"The process {name} did not come up within {SECONDS_TO_START:.0f} s. Its last words:\n"
            + last_words(self.folder, name)
        )


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep others out of the folder; raise BadInput when a console or a rehearsal is at work."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The lock that `./console up` takes.
    with (folder / "up.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(
                [f"A console works on {folder}; give the rehearsal another folder: --keep DIR."]
            ) from None
        yield
