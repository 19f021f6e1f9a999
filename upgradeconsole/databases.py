"""The settings of the database: SQLite by default, PostgreSQL where DATABASE_URL names one.

What differs between the processes is how long they keep a connection and how long they wait:
web takes one from a pool for each request, hands and watch keep theirs.
"""

from pathlib import Path
from typing import Any, Literal

from upgradeconsole.database_url import DatabaseAddress

Process = Literal["web", "watch", "hands", "command"]
LONG_LIVED: dict[str, Process] = {"watch": "watch", "qcluster": "hands", "smoke_upgrade": "watch"}
KEPT_SECONDS = 600

# Milliseconds. Nothing here may end the way back: a statement that is cut off is one that waits for
# a row, and watch and ledger do it again. Commands (migrations) may take as long as they take.
# A process that stands still with rows locked loses them before its leases run out (8 s).
IDLE_IN_TRANSACTION: dict[Process, int] = {
    "web": 5_000,
    "watch": 5_000,
    "hands": 5_000,
    "command": 60_000,
}
LOCK_WAIT: dict[Process, int] = {"web": 10_000, "watch": 2_000, "hands": 10_000, "command": 0}
STATEMENT: dict[Process, int] = {"web": 30_000, "watch": 30_000, "hands": 60_000, "command": 0}


def process_kind(arguments: list[str], *, serves: bool) -> Process:
    """Return what this process is, by its command line; `serves`: it was started as web."""
    if serves:
        return "web"
    command = arguments[1] if len(arguments) > 1 else ""
    return LONG_LIVED.get(command, "command")


def sqlite(name: str, *, test_name: Path | str, process: Process) -> dict[str, Any]:
    """Return the settings of the embedded default."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": name,
        "ATOMIC_REQUESTS": False,
        "CONN_MAX_AGE": _kept(process),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
        # A file, because several threads and processes of one test share it.
        "TEST": {"NAME": str(test_name)},
    }


def postgresql(address: DatabaseAddress, *, process: Process, pool_size: int) -> dict[str, Any]:
    """Return the settings of a PostgreSQL database for one kind of process."""
    limits: dict[str, Any] = {
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION[process],
        # A call is sent because its row of the journal is there: a server that crashes must not
        # forget the row, however it is set up.
        "synchronous_commit": "on",
    }
    if LOCK_WAIT[process]:
        limits |= {"lock_timeout": LOCK_WAIT[process], "statement_timeout": STATEMENT[process]}
    options: dict[str, Any] = {
        "connect_timeout": 5,
        "application_name": f"upgradeconsole {process}",
        # A server that vanished without a word is noticed within about ten seconds.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
        "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
        **address.parameters,
    }
    if process == "web":
        options["pool"] = {"min_size": min(2, pool_size), "max_size": pool_size, "timeout": 10}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": address.name,
        "USER": address.user,
        "PASSWORD": address.password,
        "HOST": address.host,
        "PORT": address.port,
        "ATOMIC_REQUESTS": False,
        # Rows are locked by name where it matters (plan first); read committed is enough then.
        "CONN_MAX_AGE": _kept(process),
        # After a restart of the server nobody is handed a dead connection.
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }


def _kept(process: Process) -> int:
    # Threads of web never use a connection twice; in a pool it must not outlive the request.
    return KEPT_SECONDS if process in {"watch", "hands"} else 0
