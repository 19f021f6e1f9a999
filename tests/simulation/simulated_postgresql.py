"""One PostgreSQL database for all simulated processes, with every touch of it in sight.

In truth there is one connection, so that a transaction of one process is atomic with respect to
the others here, too; races inside of transactions are for `tests/postgres/`. What is PostgreSQL's
own is real: the statements, constraints and deferred checks, row locks, jsonb, times, sequences
with gaps, transactions that an error has spoiled.

What a thread may believe of its connection is played (`Sessions`): the server ends it, in the
middle of a transaction, too, or when a commit is done and its answer under way; the driver then
refuses everything until the thread has closed it.
"""

import os
import random
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import psycopg
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper
from django.db.utils import OperationalError, ProgrammingError
from psycopg.pq import TransactionStatus

from tests.simulation.operators import Cast
from tests.simulation.scenario import Scenario
from tests.simulation.simulated_database import SharedConnection
from tests.simulation.virtual_loop import Fiber
from tests.simulation.world import World

BEGIN = "BEGIN"
NOTIFY = "SELECT pg_notify("


class Sessions:
    """The connections that threads believe in: which ones stand, and which ones were ended."""

    def __init__(self) -> None:
        self._starts = 0
        self._began: WeakKeyDictionary[Fiber, int] = WeakKeyDictionary()
        self._noticed: WeakSet[Fiber] = WeakSet()

    def end_all(self) -> None:
        """End all of them, as a server does that stops."""
        self._starts += 1

    def end_mine(self) -> None:
        """End that of the thread that runs."""
        if (me := Fiber.current()) is not None:
            self._began[me] = -1

    def hang_up(self) -> None:
        """Close that of the thread that runs; its next statement begins a new one."""
        if (me := Fiber.current()) is not None:
            self._began.pop(me, None)
            self._noticed.discard(me)

    def lost(self) -> bool:
        """Tell whether the thread that runs has one that was ended."""
        me = Fiber.current()
        return me is not None and self._began.get(me, self._starts) != self._starts

    def noticed(self) -> bool:
        """Tell whether the driver of the thread that runs knows that its connection is lost."""
        return self.lost() and Fiber.current() in self._noticed

    def stands(self) -> bool:
        """Tell whether the thread that runs has one that works."""
        return Fiber.current() in self._began and not self.lost()

    def use(self, *, away: bool, begins: bool) -> None:
        """Say something to the server, or raise what the driver raises instead."""
        me = Fiber.current()
        if me is None:
            return
        if self.lost():
            self._fail(me, begins)
        if me not in self._began:
            if away:
                raise OperationalError("connection failed: Connection refused")
            self._began[me] = self._starts

    def _fail(self, me: Fiber, begins: bool) -> None:
        if self.noticed() and begins:
            # No error of a connection by its kind: only who has closed it may begin anew.
            raise ProgrammingError("can't change 'autocommit' now: transaction status UNKNOWN")
        if self.noticed():
            raise OperationalError("the connection is closed")
        if not begins:
            # A beginning says nothing to the server; the first statement after it notices.
            self._noticed.add(me)
            raise OperationalError("server closed the connection unexpectedly")


class SharedServer(SharedConnection, DatabaseWrapper):
    """The one connection to a database of the server."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__(settings)
        self.sessions = Sessions()
        self._beside: psycopg.Connection[Any] | None = None

    def _start_transaction_under_autocommit(self) -> None:
        # Django asks for it where a transaction has to be begun by a statement, as on SQLite: so
        # both tell of its beginning at the same moment.
        self.before_statement(BEGIN)
        self._set_autocommit(False)

    def _ended(self) -> None:
        self.connection.autocommit = True

    def _rollback(self) -> None:
        super()._rollback()  # type: ignore[misc]  # the base has it
        if self.sessions.noticed():
            # A rollback that fails makes Django close the connection.
            self.sessions.hang_up()

    def close(self) -> None:
        self.sessions.hang_up()

    def is_usable(self) -> bool:
        return self.sessions.stands()

    def move_to(self, name: str) -> None:
        """Leave the database for another one of the same server."""
        self.leave()
        self.settings_dict["NAME"] = name
        self.sessions = Sessions()
        self.ensure_connection()

    def leave(self) -> None:
        """Close the connections in truth."""
        for driver in (self.connection, self._beside):
            if driver is not None:
                driver.close()
        self.connection = self._beside = None

    @property
    def raw(self) -> "Reads":
        """Return what reads past all touches: within a transaction, what that has written, too."""
        if self.connection.info.transaction_status is not TransactionStatus.INERROR:
            return Reads(self.connection)
        # A transaction that an error has spoiled answers nothing.
        if self._beside is None:
            self._beside = psycopg.connect(**self.get_connection_params(), autocommit=True)
        return Reads(self._beside)


class Reads:
    """Questions with SQLite's signs, answered with SQLite's values: the judges ask in one way."""

    def __init__(self, driver: "psycopg.Connection[Any]") -> None:
        self._driver = driver

    def execute(self, question: str, values: Sequence[object] = ()) -> "Answers":
        """Return the answers."""
        found = self._driver.execute(question.replace("?", "%s").encode(), values or None)
        return Answers([tuple(map(_as_sqlite_has_it, row)) for row in found])


class Answers:
    """Rows, one after the other or all of them."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self._rows = rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row."""
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows that are left."""
        rows, self._rows = self._rows, []
        return rows


def _as_sqlite_has_it(value: object) -> object:
    return value.hex if isinstance(value, uuid.UUID) else value


class OnServer:
    """A database that is made anew for every world, as a copy of the one that was kept."""

    def __init__(self) -> None:
        settings = connections["default"].settings_dict
        options = {key: value for key, value in settings["OPTIONS"].items() if key != "pool"}
        kept = {"OPTIONS": options, "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False}
        self.shared = SharedServer({**settings, **kept})
        self._first, self._copy = (f"{name}_{os.getpid()}" for name in ("stage", "world"))
        self._drop()
        self._say(f"CREATE DATABASE {self._first}")
        self.shared.move_to(self._first)

    def keep(self) -> None:
        self.shared.leave()

    def begin(self) -> None:
        self.shared.leave()
        self._say(f"DROP DATABASE IF EXISTS {self._copy}")
        self._say(f"CREATE DATABASE {self._copy} TEMPLATE {self._first}")
        self.shared.move_to(self._copy)

    def close(self) -> None:
        self.shared.leave()
        self._drop()

    def _drop(self) -> None:
        for name in (self._copy, self._first):
            self._say(f"DROP DATABASE IF EXISTS {name}")

    def _say(self, statement: str) -> None:
        # A connection that is kept would be ended by tests whose server goes away.
        where = {**self.shared.get_connection_params(), "dbname": "postgres"}
        with psycopg.connect(**where, autocommit=True) as server:
            server.execute(statement.encode())


class WorldOnServer(World):
    """A world whose database is a server: instead of being locked, it goes away."""

    shared: SharedServer

    def __init__(self, scenario: Scenario, shared: SharedConnection, cast: Cast) -> None:
        super().__init__(scenario, shared, cast)
        self.cut: Counter[str] = Counter()
        self._chance = random.Random(f"server {scenario.seed}")
        self._begins = False
        self._loses_answer: Fiber | None = None

    def before_statement(self, sql: str) -> None:
        # On SQLite nobody has to say it; so the same seed is the same story on both.
        if not sql.startswith(NOTIFY):
            super().before_statement(sql)

    def before_commit(self) -> None:
        self.shared.sessions.use(away=self._away, begins=False)
        super().before_commit()

    @property
    def _away(self) -> bool:
        return self.locked_until > self.loop.time()

    @property
    def database_failed(self) -> bool:
        return super().database_failed or bool(self.cut)

    def _let_through(self, sql: str) -> None:
        self._begins = sql == BEGIN
        self.shared.sessions.use(away=self._away, begins=self._begins)

    def _refuse(self) -> None:
        """End the connection now, or when the transaction is committed and nobody is told."""
        if not self.shared.between_transactions and self._chance.random() < 0.5:
            self._loses_answer = Fiber.current()
            return
        self.cut["between" if self.shared.between_transactions else "within"] += 1
        self.shared.sessions.end_mine()
        self.shared.sessions.use(away=self._away, begins=self._begins)

    def after_commit(self) -> None:
        super().after_commit()
        if self._loses_answer is not None and self._loses_answer is Fiber.current():
            self._loses_answer = None
            self.cut["answer"] += 1
            self.shared.sessions.end_mine()
            self.shared.sessions.use(away=self._away, begins=False)

    def _lock_database(self, seconds: float) -> None:
        super()._lock_database(seconds)
        self.shared.sessions.end_all()
