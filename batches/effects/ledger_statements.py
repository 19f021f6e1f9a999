"""What the ledger writes hundreds of times a second, in statements whose text never changes.

Django makes the text of a query anew each time and gives each id of a list a place of its own,
which was most of what a ledger cost. Here a list is one value, so one statement moves a whole chunk
and the database knows it already. Everything runs inside the caller's transaction.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

from batches.effects.ports import CallEnd, CallStart

LONGEST_ANSWER = 500
MOMENT = datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)
"""Stands in a `Question` where the time of each asking goes."""

_JOURNAL = """\
INSERT INTO "batches_deployercall" ("plan_id", "upgrade_id", "direction", "generation", "attempt",
 "key", "fence", "version", "executor", "reason", "started_at", "outcome", "answer")
SELECT %s, "new"."upgrade_id", %s, "new"."generation", "new"."attempt", "new"."key", "new"."fence",
 "new"."version", %s, "new"."reason", %s, '', '' FROM ROWS WHERE true
RETURNING "id", "key", "attempt"
"""
_JOURNAL_ROW = {
    "upgrade_id": "bigint",
    "generation": "bigint",
    "attempt": "bigint",
    "key": "text",
    "fence": "bigint",
    "version": "text",
    "reason": "text",
}
# A call that was given up as lost keeps that outcome: its tenant was looked at since.
_END_CALLS = """\
UPDATE "batches_deployercall" SET "started_at" = "new"."started_at", "ended_at" = "new"."ended_at",
 "outcome" = "new"."outcome", "status" = "new"."status", "answer" = "new"."answer"
FROM ROWS WHERE "batches_deployercall"."id" = "new"."id"
 AND "batches_deployercall"."ended_at" IS NULL
"""
_END_ROW = {
    "id": "bigint",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
    "outcome": "text",
    "status": "int",
    "answer": "text",
}
_GENERATIONS = """\
SELECT "id", "generation" FROM "batches_tenantupgrade" WHERE "id" IN LIST AND "state" = %s
"""
_FIRST_TOUCH = """\
UPDATE "batches_tenantupgrade" SET "touched_at" = %s, "version_before" = %s, "digest_before" = %s,
 "config_before" = %s, "attempts" = "attempts" + 1 WHERE "id" IN LIST AND "touched_at" IS NULL
"""
_ATTEMPT = """\
UPDATE "batches_tenantupgrade" SET "attempts" = "attempts" + 1 WHERE "id" IN LIST
"""
_CLAIM = """\
UPDATE "batches_tenantupgrade" SET "state" = %s, "generation" = "generation" + 1, "fence" = %s,
 "started_at" = %s WHERE "id" IN LIST
"""
_MOVE = """\
UPDATE "batches_tenantupgrade" SET CHANGES WHERE "id" IN LIST AND "generation" = %s
 AND "state" IN LIST RETURNING "id", "tenant_key"
"""
_SEEN = """\
UPDATE "plans_installation" SET "version" = %s, "digest" = %s, "observed_at" = %s
WHERE "plugin_id" = %s AND "tenant_id" IN
 (SELECT "tenant_id" FROM "batches_tenantupgrade" WHERE "id" IN LIST)
"""
_LOST = """\
UPDATE "batches_deployercall" SET "ended_at" = %s, "outcome" = 'unknown', "answer" = %s
WHERE "upgrade_id" IN LIST AND "direction" = %s AND "ended_at" IS NULL
"""


class Question:
    """A query that is asked in each transaction: Django makes its text once.

    Rows come as the database has them. The query may name `MOMENT` in place of the time.
    """

    def __init__(self, rows: "QuerySet[Any, Any]") -> None:
        self._rows = rows
        self._made: tuple[str, tuple[Any, ...]] | None = None

    def ask(self, now: datetime = MOMENT) -> list[tuple[Any, ...]]:
        """Return the rows as they are now."""
        if self._made is None:
            # At the first asking: a query that locks is made inside a transaction only.
            self._made = self._rows.query.sql_with_params()
        sql, values = self._made
        moment, at = _time(MOMENT), _time(now)
        return _run(sql, [at if value == moment else value for value in values])


def in_list(ids: Iterable[int]) -> RawSQL:
    """Return what `pk__in` takes: the ids as one value, however many they are."""
    sql = "SELECT value FROM json_each(%s)"
    if connection.vendor == "postgresql":
        sql = "SELECT unnest(%s::bigint[])"
    values = [_listed(ids)]
    # Each text is ours, and the ids are its parameter.
    return RawSQL(sql, values)  # noqa: S611  # nosec B611


def journal(
    starts: Sequence[CallStart], *, plan_id: Any, executor: str, now: datetime
) -> dict[tuple[str, int], int]:
    """Write the rows of calls that are about to be sent; return their ids by key and attempt."""
    if not starts:
        return {}
    rows = [
        {
            "upgrade_id": start.task.upgrade_id,
            "generation": start.task.generation,
            "attempt": start.attempt,
            "key": start.task.key,
            "fence": start.task.fence,
            "version": start.task.version,
            "reason": start.reason,
        }
        for start in starts
    ]
    direction = starts[0].task.direction
    fixed = [_uuid(plan_id), direction, executor, _time(now), json.dumps(rows)]
    written = _run(_with_rows(_JOURNAL, _JOURNAL_ROW), fixed)
    return {(key, attempt): pk for pk, key, attempt in written}


def end_calls(calls: Sequence[CallEnd]) -> None:
    """Write how calls ended."""
    rows = [
        {
            "id": call.call_id,
            "started_at": str(_time(call.started_at)),
            "ended_at": str(_time(call.ended_at)),
            "outcome": call.answer.outcome,
            "status": call.answer.status,
            "answer": call.answer.text[:LONGEST_ANSWER],
        }
        for call in calls
    ]
    if rows:
        _change(_with_rows(_END_CALLS, _END_ROW), [json.dumps(rows)])


def generations(ids: Iterable[int], state: str) -> dict[int, int]:
    """Return the generations of those that are in the state."""
    return dict(_run(_GENERATIONS, [_listed(ids), state]))


def first_touch(
    ids: Iterable[int], *, version: str, digest: str, config: object | None, now: datetime
) -> int:
    """Keep what tenants were before their first call; return for how many it is the first."""
    kept = None if config is None else connection.ops.adapt_json_value(config, None)
    return _change(_FIRST_TOUCH, [_time(now), version, digest, kept, _listed(ids)])


def count_attempt(ids: Iterable[int]) -> None:
    """Count one more call of each tenant."""
    _change(_ATTEMPT, [_listed(ids)])


def claim(ids: Iterable[int], *, state: str, fence: int, now: datetime) -> int:
    """Begin a new intent of each tenant; return of how many."""
    return _change(_CLAIM, [state, fence, _time(now), _listed(ids)])


def move(
    ids: Iterable[int], *, generation: int, sources: Sequence[str], changes: Mapping[str, Any]
) -> dict[int, str]:
    """Move those that are still at this intent; return their keys by id."""
    names = ", ".join(f'"{name}" = %s' for name in changes)
    values = [_time(value) if isinstance(value, datetime) else value for value in changes.values()]
    statement = _MOVE.replace("CHANGES", names)
    return dict(_run(statement, [*values, _listed(ids), generation, _listed(sources)]))


def note_seen(
    ids: Iterable[int], *, plugin_id: Any, version: str, digest: str, at: datetime
) -> None:
    """Write what was seen at the tenants of these upgrades."""
    _change(_SEEN, [version, digest, _time(at), _uuid(plugin_id), _listed(ids)])


def give_up_calls(ids: Iterable[int], *, direction: str, now: datetime) -> None:
    """End open calls of these upgrades for which nobody waits any more."""
    words = "its executor was lost before the answer"
    _change(_LOST, [_time(now), words, _listed(ids), direction])


def _with_rows(sql: str, columns: Mapping[str, str]) -> str:
    """Return the statement over rows that come as one JSON value."""
    if connection.vendor == "postgresql":
        typed = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        rows = f'json_to_recordset(%s::json) AS "new" ({typed})'
    else:
        taken = ", ".join(f"json_extract(value, '$.{name}') AS \"{name}\"" for name in columns)
        # The names are of this file.
        rows = f'(SELECT {taken} FROM json_each(%s)) AS "new"'  # noqa: S608  # nosec B608
    return sql.replace("ROWS", rows)


def _for_database(sql: str) -> str:
    if connection.vendor == "postgresql":
        return sql.replace("IN LIST", "= ANY(%s)")
    return sql.replace("IN LIST", "IN (SELECT value FROM json_each(%s))")


def _run(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(_for_database(sql), values)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        return found


def _change(sql: str, values: Sequence[Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_for_database(sql), values)
        return int(cursor.rowcount)


def _listed(values: Iterable[Any]) -> Any:
    found = list(values)
    return found if connection.vendor == "postgresql" else json.dumps(found)


def _time(at: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(at)


def _uuid(value: Any) -> Any:
    known = UUID(str(value))
    return known if connection.vendor == "postgresql" else known.hex
