"""One database for all simulated processes, with every touch of it in sight.

Each process believes that it has a connection of its own. A transaction of one process is atomic
with respect to the others, as with IMMEDIATE on SQLite: nobody comes between its statements, and
somebody may come before each of its first ones and before each statement outside of a transaction.
Here it is SQLite's, in memory; `simulated_postgresql.py` has the same of a PostgreSQL server.
"""

import sqlite3
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.db.utils import OperationalError

from upgradeconsole import databases

ROLLING_BACK = ("ROLLBACK TO SAVEPOINT", "RELEASE SAVEPOINT")
Touch = Callable[[str], None]


class SharedConnection(BaseDatabaseWrapper):
    """The one connection; it tells `before_statement` and `around_commit` of every touch."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings, "default")
        self.before_statement: Touch = lambda sql: None
        self.before_commit: Callable[[], None] = lambda: None
        self.after_commit: Callable[[], None] = lambda: None
        self.execute_wrappers.append(self._watched)

    def _watched(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.before_statement(sql)
        return execute(sql, params, many, context)

    def _commit(self) -> None:
        try:
            self.before_commit()
        except BaseException:
            super()._rollback()  # type: ignore[misc]  # the base has it
            raise
        super()._commit()  # type: ignore[misc]  # the base has it
        self._ended()
        self.after_commit()

    def _ended(self) -> None:
        """Leave the transaction that was just committed: what is read now begins no other one."""

    @property
    def between_transactions(self) -> bool:
        """Tell whether another process may come now: nothing is begun, nothing half committed."""
        return self.autocommit and not self.in_atomic_block

    @property
    @abstractmethod
    def raw(self) -> Any:
        """Return what executes a question past all touches, written for SQLite."""


class SharedMemory(SharedConnection, DatabaseWrapper):
    """The one connection to a database in memory."""

    @property
    def raw(self) -> sqlite3.Connection:
        return self.connection


def locked() -> OperationalError:
    """Return what the driver says when another writer does not let go."""
    return OperationalError("database is locked")


@contextmanager
def in_place_of_the_real_one(shared: SharedConnection) -> Iterator[None]:
    """Let everything that asks for the database get this one."""
    original = connections["default"]
    connections["default"] = shared
    try:
        yield
    finally:
        connections["default"] = original


class Database(Protocol):
    """A database in which one world after the other begins from the same rows."""

    @property
    def shared(self) -> SharedConnection:
        """Return the one connection to it."""

    def keep(self) -> None:
        """Let every world begin from what is there now."""

    def begin(self) -> None:
        """Make the database what was kept."""

    def close(self) -> None:
        """Leave nothing behind."""


class InMemory:
    """SQLite's, in memory."""

    def __init__(self) -> None:
        name = "file:worlds?mode=memory"
        ours = databases.sqlite(name, test_name=Path(), process="command")
        self.shared = SharedMemory({**connections["default"].settings_dict, **ours})
        self.shared.ensure_connection()
        self._kept = sqlite3.connect(":memory:")

    def keep(self) -> None:
        self.shared.raw.backup(self._kept)

    def begin(self) -> None:
        # Not by `deserialize`, which is faster: table-valued functions (json_each) that were asked
        # before it end the process in SQLite 3.40.
        self._kept.backup(self.shared.raw)

    def close(self) -> None:
        """It ends with the process."""
