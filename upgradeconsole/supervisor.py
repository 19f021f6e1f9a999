"""Keep a handful of processes running, restart what ends, and leave nothing behind.

Each child runs in a session of its own under `supervisor_child`. Any exit of a child is a failure:
its whole process group is killed before it is started again, because a program may die and leave
workers that go on executing.
"""

import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import FrameType

from upgradeconsole.known_secrets import masked

HOLDER = Path(__file__).with_name("supervisor_child.py")
SECONDS_TO_END = 10.0
FIRST_BACK_OFF = 0.2
LONGEST_BACK_OFF = 10.0
SETTLED_AFTER = 30.0
LOG_BYTES = 5_000_000
OLD_LOGS = 1
READ_BYTES = 65_536
SECONDS_TO_TRY_STATUS = 1.0


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run; `env` is added to the supervisor's own environment.

    `longest_back_off`: how long a program that dies again and again waits at most, in seconds.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    longest_back_off: float = LONGEST_BACK_OFF


class Run:
    """One run of a child: its process group, its output and the holder's word about it."""

    def __init__(self, spec: ChildSpec) -> None:
        """Start the program in a session of its own."""
        self.control, theirs = socket.socketpair()
        reader, writer = os.pipe()
        with theirs, open(writer, "wb") as output_of_child:
            # -I -S: the holder needs nothing but built-in modules, so it stays small.
            self._holder = subprocess.Popen(
                [sys.executable, "-I", "-S", HOLDER, str(theirs.fileno()), "--", *spec.argv],
                env={**os.environ, **spec.env},
                stdin=subprocess.DEVNULL,
                stdout=output_of_child,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        self.output = open(reader, "rb", buffering=0)  # noqa: SIM115 - open as long as the run
        os.set_blocking(reader, False)
        self.control.setblocking(False)
        self.started_at = time.monotonic()
        self.program: int | None = None

    @property
    def group(self) -> int:
        """Return the id of the process group."""
        return self._holder.pid

    def ask_to_end(self) -> None:
        """Send TERM to the program alone: its workers are its own to stop."""
        os.kill(self._holder.pid, signal.SIGTERM)

    def kill_group(self) -> None:
        """Kill the program and everything it started."""
        os.killpg(self._holder.pid, signal.SIGKILL)

    def has_ended(self) -> bool:
        """Say whether the holder has exited; it stays a zombie, so that its group id stays ours."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._holder.pid, flags) is not None

    def hear_holder(self) -> bool:
        """Take the program's pid from the holder; return False when nothing more will come."""
        try:
            said = self.control.recv(64)
        except ConnectionResetError:
            return False
        if said:
            self.program = int(said)
        return bool(said)

    def close(self) -> int:
        """Forget the run and return its exit code."""
        self.control.close()
        self.output.close()
        return self._holder.wait()


class Child:
    """One supervised program, over all its runs."""

    def __init__(self, spec: ChildSpec, log_file: Path) -> None:
        self.spec = spec
        self.run: Run | None = None
        self.restarts = 0
        self.start_at = 0.0
        self._back_off = FIRST_BACK_OFF
        self._unfinished_line = b""
        self._log = RotatingFileHandler(
            log_file, maxBytes=LOG_BYTES, backupCount=OLD_LOGS, encoding="utf-8"
        )

    def start(self, selector: selectors.BaseSelector) -> None:
        """Start the program and listen to it."""
        self.run = Run(self.spec)
        selector.register(self.run.control, selectors.EVENT_READ, self)
        selector.register(self.run.output, selectors.EVENT_READ, self)

    def read(self, run: Run, source: object, selector: selectors.BaseSelector) -> None:
        """Take what the program wrote, or what its holder says about it."""
        if source is run.control:
            if not run.hear_holder():
                selector.unregister(run.control)
        elif not self._copy_output(run):
            selector.unregister(run.output)

    def clear_up(self, run: Run, selector: selectors.BaseSelector) -> int:
        """Kill what is left of the group, write its last words and return the exit code."""
        run.kill_group()
        while self._copy_output(run):
            pass
        if self._unfinished_line:
            self._write(b"\n")
        registered = {id(key.fileobj) for key in selector.get_map().values()}
        for source in (run.control, run.output):
            if id(source) in registered:
                selector.unregister(source)
        self.run = None
        return run.close()

    def plan_restart(self, ran_since: float) -> float:
        """Set when to start again and return the wait: longer each time, short after a good run."""
        now = time.monotonic()
        if now - ran_since >= SETTLED_AFTER:
            self._back_off = FIRST_BACK_OFF
        wait = self._back_off
        self._back_off = min(self.spec.longest_back_off, wait * 2)
        self.start_at = now + wait
        self.restarts += 1
        return wait

    def say(self, line: str) -> None:
        """Write one line, under the child's name, to the terminal and to the child's log.

        What this process knows of its environment's secrets is masked, whoever wrote the line.
        """
        line = masked(line)
        with suppress(OSError):
            # A terminal that is gone or a disk that is full must not end what is supervised.
            sys.stdout.write(f"{self.spec.name:<15} | {line}\n")
            sys.stdout.flush()
        self._log.emit(logging.LogRecord("", logging.INFO, "", 0, line, None, None))

    def close_log(self) -> None:
        """Close the log file."""
        self._log.close()

    def _copy_output(self, run: Run) -> bool:
        """Write what is there; return False at the end of the output or where nothing waits."""
        chunk = run.output.read(READ_BYTES)
        if chunk:
            self._write(chunk)
        return bool(chunk)

    def _write(self, chunk: bytes) -> None:
        *lines, self._unfinished_line = (self._unfinished_line + chunk).split(b"\n")
        for line in lines:
            self.say(line.decode("utf-8", "replace").rstrip("\r"))


class Supervisor:
    """Start the children in the order given; end them in the reverse order."""

    def __init__(self, specs: Sequence[ChildSpec], *, log_dir: Path, status_file: Path) -> None:
        log_dir.mkdir(parents=True, exist_ok=True)
        self._children = [Child(spec, log_dir / f"{spec.name}.log") for spec in specs]
        self._status_file = status_file
        self._selector = selectors.DefaultSelector()
        self._stop_asked = 0
        self._status_is_old = False

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT; a second signal kills without waiting."""
        woken, waker = os.pipe()
        for end in (woken, waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waker)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, self._on_signal)
        self._selector.register(woken, selectors.EVENT_READ, None)
        try:
            while not self._stop_asked:
                self._start_what_is_due()
                if self._status_is_old:
                    self._write_status()
                self._listen(self._seconds_to_next_start())
                self._take_back_what_ended()
        finally:
            self._end_all()
            self._status_file.unlink(missing_ok=True)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            self._selector.close()
            for end in (woken, waker):
                os.close(end)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            self._stop_asked += 1

    def _start_what_is_due(self) -> None:
        for child in self._children:
            if child.run is None and child.start_at <= time.monotonic():
                child.start(self._selector)
                self._write_status()

    def _seconds_to_next_start(self) -> float | None:
        waiting = [child.start_at for child in self._children if child.run is None]
        if self._status_is_old:
            waiting.append(time.monotonic() + SECONDS_TO_TRY_STATUS)
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def _listen(self, seconds: float | None) -> None:
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                os.read(key.fd, 4096)
            else:
                child: Child = key.data
                assert child.run is not None  # noqa: S101 - clear_up unregisters what it closes
                child.read(child.run, key.fileobj, self._selector)
                if key.fileobj is child.run.control:
                    self._write_status()

    def _take_back_what_ended(self) -> None:
        for child in self._children:
            if child.run is not None and child.run.has_ended():
                ran_since = child.run.started_at
                code = child.clear_up(child.run, self._selector)
                wait = child.plan_restart(ran_since)
                child.say(f"ended with code {code}; starts again in {wait:.1f} s")
                self._write_status()

    def _end_all(self) -> None:
        asked_before = self._stop_asked
        for child in reversed(self._children):
            if child.run is not None:
                child.run.ask_to_end()
                kill_at = time.monotonic() + SECONDS_TO_END
                while not child.run.has_ended():
                    if time.monotonic() >= kill_at or self._stop_asked > asked_before:
                        child.run.kill_group()
                    self._listen(0.2)
                child.clear_up(child.run, self._selector)
                self._write_status()
            child.close_log()

    def _write_status(self) -> None:
        status = {
            "supervisor": os.getpid(),
            "children": {
                child.spec.name: {
                    "pid": child.run.program if child.run else None,
                    "group": child.run.group if child.run else None,
                    "restarts": child.restarts,
                }
                for child in self._children
            },
        }
        draft = self._status_file.with_suffix(".new")
        # On a full disk the status gets out of date; the children matter more.
        self._status_is_old = True
        with suppress(OSError):
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                json.dump(status, out, indent=1)
            draft.replace(self._status_file)
            self._status_is_old = False
