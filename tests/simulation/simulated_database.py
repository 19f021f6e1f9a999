"""One database in memory for all simulated processes, with every touch of it in sight.

Each process believes that it has a connection of its own. A transaction of one process is atomic
with respect to the others, as with IMMEDIATE on SQLite: nobody comes between its statements, and
somebody may come before each of its first ones and before each statement outside of a transaction.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.db.utils import OperationalError

ROLLING_BACK = ("ROLLBACK TO SAVEPOINT", "RELEASE SAVEPOINT")
Touch = Callable[[str], None]


class SharedConnection(DatabaseWrapper):
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
        self.after_commit()

    @property
    def between_transactions(self) -> bool:
        """Tell whether another process may come now: nothing is begun, nothing half committed."""
        return self.autocommit and not self.in_atomic_block

    @property
    def raw(self) -> sqlite3.Connection:
        """Return the driver's connection, past all touches."""
        return self.connection


def locked() -> OperationalError:
    """Return what the driver says when another writer does not let go."""
    return OperationalError("database is locked")


def in_memory() -> SharedConnection:
    """Return an empty database in memory."""
    shared = SharedConnection(
        {**connections["default"].settings_dict, "NAME": "file:worlds?mode=memory"}
    )
    shared.ensure_connection()
    return shared


@contextmanager
def in_place_of_the_real_one(shared: SharedConnection) -> Iterator[None]:
    """Let everything that asks for the database get this one."""
    original = connections["default"]
    connections["default"] = shared
    try:
        yield
    finally:
        connections["default"] = original


class Template:
    """A state of the database from which every world begins."""

    def __init__(self, shared: SharedConnection) -> None:
        self._image = shared.raw.serialize()

    def put_into(self, shared: SharedConnection) -> None:
        """Make the database what it was."""
        shared.raw.deserialize(self._image)
