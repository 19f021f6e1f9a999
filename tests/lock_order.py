"""Watch which rows a transaction locks, and in which order: the plan comes before all else of it.

Whoever takes the plan's row first cannot wait crosswise with anybody else about that plan. Works on
PostgreSQL, where the statements say what they lock; SQLite has one lock for everything.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.transaction import Atomic

LEASE, PLAN = "batches_lease", "plans_plan"
# What belongs to one plan: its row has to be held before any of these is locked or changed.
OF_A_PLAN = {
    "batches_batch",
    "batches_rollback",
    "batches_tenantupgrade",
    "batches_deployercall",
    "plans_approvalrequest",
}
# Taken by transactions of many plans, after the plan's own row.
SHARED = {"plans_plugin", "plans_installation", "batches_deployermeasurement", "plans_stream"}
# Rows that others refer to: a lock that includes the key makes every such writer wait.
REFERRED_TO = OF_A_PLAN | SHARED - {"batches_deployermeasurement"} | {PLAN, "plans_tenant"}

_LOCKS = re.compile(r'FROM "(\w+)".* FOR (NO KEY )?UPDATE\b', re.DOTALL)
_CHANGES = re.compile(r'\s*UPDATE "?(\w+)"?\s')
_MAKES_A_PLAN = re.compile(r'\s*INSERT INTO "plans_plan"')


def locked_by(sql: str) -> tuple[str, bool] | None:
    """Return the table whose rows a statement locks, and whether it locks their keys as well."""
    if found := _LOCKS.search(sql):
        return found[1], found[2] is None
    if found := _CHANGES.match(sql):
        return found[1], False
    return None


def problem_with(tables: list[str], table: str, *, with_key: bool) -> str:
    """Return what is wrong with locking a table after others; empty when nothing is."""
    if with_key and table in REFERRED_TO:
        return f"{table} is locked with its key: write select_for_update(no_key=True)"
    if table == LEASE and set(tables) - {LEASE}:
        return f"a lease is locked after {', '.join(tables)}"
    if table == PLAN and PLAN not in tables and set(tables) & (OF_A_PLAN | SHARED):
        return f"the plan is locked after {', '.join(tables)}"
    if table in OF_A_PLAN and PLAN not in tables:
        return f"{table} is locked before its plan"
    return ""


class LockOrder:
    """Notes the locks of every transaction of every thread, and what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._here = threading.local()

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        tables: list[str] | None = getattr(self._here, "tables", None)
        if tables is not None and (lock := locked_by(sql)):
            table, with_key = lock
            if problem := problem_with(tables, table, with_key=with_key):
                self.problems.append(f"{problem}\n    {sql[:300]}")
            tables.append(table)
        elif tables is not None and _MAKES_A_PLAN.match(sql):
            # Nobody else can see it, let alone wait for it, before this transaction has ended.
            tables.append(PLAN)
        return execute(sql, params, many, context)

    def entered(self) -> None:
        """Begin a transaction, or go one deeper."""
        self._here.depth = getattr(self._here, "depth", 0) + 1
        if self._here.depth == 1:
            self._here.tables = []

    def left(self) -> None:
        """End what was entered last, unless that was before the watching began."""
        depth: int = self._here.__dict__.get("depth", 0)
        self._here.depth = max(0, depth - 1)
        if depth <= 1:
            self._here.tables = None


@contextmanager
def watched_locks() -> Iterator[LockOrder]:
    """Watch all connections for a while."""
    order = LockOrder()
    watched: list[BaseDatabaseWrapper] = []

    def watch(connection: BaseDatabaseWrapper, **_more: Any) -> None:
        if order not in connection.execute_wrappers:
            connection.execute_wrappers.append(order)
            watched.append(connection)

    enter, leave = Atomic.__enter__, Atomic.__exit__

    def entering(self: Any) -> None:
        enter(self)
        # What the test itself is wrapped in is no transaction of the product.
        if not getattr(self, "_from_testcase", False):
            order.entered()

    def leaving(self: Any, *exception: Any) -> None:
        if not getattr(self, "_from_testcase", False):
            order.left()
        leave(self, *exception)

    watch(connection)
    connection_created.connect(watch)
    Atomic.__enter__, Atomic.__exit__ = entering, leaving  # type: ignore[method-assign]
    try:
        yield order
    finally:
        Atomic.__enter__, Atomic.__exit__ = enter, leave  # type: ignore[method-assign]
        connection_created.disconnect(watch)
        for one in watched:
            one.execute_wrappers.remove(order)
