"""Run tests on PostgreSQL: `python -m tests.postgres [ARGUMENTS OF PYTEST]`.

Starts a server of its own, gives its address to one pytest run as DATABASE_URL, and stops it,
whatever happens. Without arguments it runs what the gate runs. A deadlock anywhere fails the run.
"""

import os
import signal
import sys

from tests import gate
from tests.postgres.server import NoServer, running_server

USE_CASES = (
    "audit_verify",
    "checkpoints",
    "event_circumstances",
    "failed_logins",
    "fencing",
    "grants",
    "grants_at_once",
    "hands_loop",
    "history",
    "leases",
    "ledger",
    "ledger_statements",
    "looks_retention",
    "lost_answers",
    "migrations_of_before",
    "offline",
    "outage",
    "pushing",
    "release_standing",
    "reservation",
    "role_giving",
    "trail",
    "trail_tampering",
    "ways_in",
)
"""Those about locks, claims, constraints and the SQL that differs; the worlds play all the others
there, and by name each of them runs there."""
WORLDS = 100
SUITES = (
    "tests/postgres",
    *(f"tests/use_cases/test_{name}.py" for name in USE_CASES),
    *(
        f"tests/simulation/test_{name}.py"
        for name in ("first_worlds", "second_worlds", "both_databases", "server_away")
    ),
    *("--worlds", str(WORLDS)),
)


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
