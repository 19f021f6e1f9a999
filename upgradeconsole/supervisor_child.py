"""Hold one child of the supervisor: `python supervisor_child.py FD -- argv...`.

The program itself cannot watch the supervisor, so this small parent does. It leads the process
group, tells the supervisor the program's pid over the socket FD, passes SIGTERM on, and ends the
whole group when the socket closes, which is what the kernel does even for a supervisor that was
killed with SIGKILL. Only built-in modules are imported: one of these runs per child.
"""

import os
import select
import signal
import sys
import time
from types import FrameType

SECONDS_TO_END = 10.0
NOT_STARTED = 127


def hold(control: int, argv: list[str]) -> int:
    """Run argv until it ends and return its exit code, or 128 + the signal that ended it."""
    woken, waker = os.pipe()
    for end in (woken, waker):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(waker)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, _wake)
    # The supervisor decides about Ctrl-C; the terminal must not end children out of order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(control, False)
    try:
        program = os.posix_spawnp(
            argv[0], argv, os.environ, setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGCHLD]
        )
    except OSError as error:
        sys.stderr.write(f"cannot start {argv[0]}: {error.strerror}\n")
        return NOT_STARTED
    os.write(control, b"%d\n" % program)
    return _watch(control, woken, program)


def _watch(control: int, woken: int, program: int) -> int:
    watched = [control, woken]
    kill_at: float | None = None
    while True:
        wait = None if kill_at is None else max(0.0, kill_at - time.monotonic())
        readable, _, _ = select.select(watched, [], [], wait)
        if woken in readable and signal.SIGTERM in os.read(woken, 512):
            os.kill(program, signal.SIGTERM)
        if control in readable and not os.read(control, 512):
            watched.remove(control)
            os.kill(program, signal.SIGTERM)
            kill_at = time.monotonic() + SECONDS_TO_END
        ended, status = os.waitpid(program, os.WNOHANG)
        if kill_at is not None and (ended or time.monotonic() >= kill_at):
            # The supervisor is gone, so nobody else clears up what the program started. This ends
            # the holder too.
            os.killpg(0, signal.SIGKILL)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _wake(_number: int, _frame: FrameType | None) -> None:
    """Let the wake-up pipe carry the signal to the loop."""


if __name__ == "__main__":
    sys.exit(hold(int(sys.argv[1]), sys.argv[3:]))
