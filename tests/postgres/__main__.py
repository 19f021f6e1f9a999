"""Run tests on PostgreSQL: `python -m tests.postgres [ARGUMENTS OF PYTEST]`.

Starts a server of its own, gives its address to one pytest run as DATABASE_URL, and stops it,
whatever happens. Without arguments it runs what the gate runs. A deadlock anywhere fails the run.
"""

import os
import signal
import sys

from tests import gate
from tests.postgres.server import NoServer, running_server

PLAYED = "is timed by the watch's own ticks; the worlds play these stories there"
LEFT_OUT = {
    "adjust_watched": PLAYED,
    "aftermath": PLAYED,
    "checks": "reads settings and files",
    "closing_in_a_batch": PLAYED,
    "commands": "writes single rows, one person at a time",
    "configured": "reads a file",
    "counterfactual": "reads what others wrote",
    "drill_crashes": PLAYED,
    "evidence_replay": PLAYED,
    "evidence_watch": PLAYED,
    "fit_at_start": PLAYED,
    "fit_probe_command": "reads sources, writes single rows",
    "free_space": "is about the folder of an embedded database",
    "guardrails_watched": PLAYED,
    "placebo_runs": "computes on what is read",
    "plan_drill": PLAYED,
    "pushed_rollout": PLAYED,
    "rehearsals": PLAYED,
    "seed_demo": "writes through use cases that are tested there",
    "source_reader": "reads sources, writes single rows",
    "ticks_cost": "counts questions, which are the same",
    "two_sources": PLAYED,
}
"""Use cases that prove little more on PostgreSQL; named, they run there like all others."""
WORLDS = 100
SUITES = (
    "tests/postgres",
    *(
        str(file.relative_to(gate.ROOT))
        for file in sorted((gate.ROOT / "tests" / "use_cases").glob("test_*.py"))
        if file.stem.removeprefix("test_") not in LEFT_OUT
    ),
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
