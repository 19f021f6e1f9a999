"""The rehearsal's own processes: they run while the rehearsal does, and not a moment longer."""

import http.client
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path

from upgradeconsole.supervisor import ChildSpec, Supervisor

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
LAST_LINES = 15


def children(port: int) -> list[ChildSpec]:
    """Return web, watch and both kinds of hands, as a console on one machine runs them."""
    manage = [sys.executable, str(ROOT / "manage.py")]
    web = [sys.executable, "-m", "daphne", "-v", "0", "-b", HOST, "-p", str(port)]
    return [
        ChildSpec("web", [*web, "upgradeconsole.asgi:application"]),
        ChildSpec("watch", [*manage, "watch"]),
        ChildSpec("hands-effects", [*manage, "qcluster"]),
        ChildSpec("hands-paperwork", [*manage, "qcluster"], {"Q_CLUSTER_NAME": "paperwork"}),
    ]


class Interrupted(Exception):
    """Somebody told the rehearsal to end before it had."""


def run_beside(
    specs: Sequence[ChildSpec], work: Callable[[threading.Event], None], *, folder: Path
) -> None:
    """Run `work` in a thread while the processes run; when it returns they have all ended.

    TERM and Ctrl-C end everything and raise Interrupted; `work` is told by its event. Should this
    process be killed, its children notice and end by themselves.
    """
    status_file = folder / "supervisor.json"
    stopping, over = threading.Event(), threading.Event()

    def run() -> None:
        try:
            work(stopping)
        finally:
            over.set()
            # The supervisor writes the file once it hears signals; before that, one would kill.
            while not status_file.exists() and not stopping.wait(0.05):
                pass
            if not stopping.is_set():
                os.kill(os.getpid(), signal.SIGTERM)

    supervisor = Supervisor(specs, log_dir=folder / "logs", status_file=status_file)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="rehearsal") as pool:
        working = pool.submit(run)
        try:
            # What the children say is in their logs; standard output is for the result.
            with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
                supervisor.run()
        finally:
            interrupted = not over.is_set()
            stopping.set()
    working.result()
    if interrupted:
        raise Interrupted


def answers(port: int) -> bool:
    """Tell whether the web process serves."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def wait_until(ready: Callable[[], bool], *, seconds: float, stopping: threading.Event) -> bool:
    """Return True once it is so, False when the time is over or everything is to end."""
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until or stopping.wait(0.1):
            return False
    return True


def last_words(folder: Path, name: str) -> str:
    """Return the end of a process's log."""
    log = folder / "logs" / f"{name}.log"
    if not log.exists():
        return "it said nothing"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-LAST_LINES:]) or "it said nothing"
