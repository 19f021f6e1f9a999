"""Run tests on PostgreSQL: `python -m tests.postgres [ARGUMENTS OF PYTEST]`.

Starts a server of its own, gives its address to one pytest run as DATABASE_URL, and stops it,
whatever happens. Without arguments it runs what the gate runs. A deadlock anywhere fails the run.
"""

import os
import signal
import sys

from tests import gate
from tests.postgres.server import NoServer, running_server

# What locks, claims and counts on rows; what is timed by the watch's own ticks runs on SQLite.
USE_CASES = (
    *("approval", "control", "fencing", "hands_loop", "leases", "leaving_out", "ledger"),
    *("policies", "quarantine", "reservation", "retrying", "rollback", "trail"),
)
SUITES = ("tests/postgres", *(f"tests/use_cases/test_{name}.py" for name in USE_CASES))


def main(arguments: list[str]) -> int:
    """Run pytest; return its exit code, or 1 when the server's log tells of a deadlock."""
    try:
        with running_server() as server:
            environ = {**os.environ, "DATABASE_URL": server.url}
            code = gate.pytest(arguments, environ) if arguments else gate.run(SUITES, environ)
            if deadlocks := server.deadlocks():
                sys.stderr.write("\n".join(["PostgreSQL had to end deadlocks:", *deadlocks, ""]))
                sys.stderr.write(server.log.read_text(errors="replace")[-6000:])
                return code or 1
            return code
    except NoServer as why:
        sys.stderr.write(f"{why}\n")
        return 1


if __name__ == "__main__":
    # As an exit and not as the end: the server's folder is removed then, too.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    sys.exit(main(sys.argv[1:]))
