"""A database that was made by the old migrations, one by one, is the one that a new start makes."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from django.apps.registry import Apps
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

OURS = ("plans", "batches", "reports")
# An installation from before there were second factors: some are applied, the most are not.
BEFORE = [
    ("plans", "0005_adjustments"),
    ("batches", "0012_history"),
    ("reports", "0001_initial"),
]
SQLITE = ("SELECT tbl_name, type, name, sql FROM sqlite_master WHERE sql IS NOT NULL",)
POSTGRESQL = (
    "SELECT table_name, row_number() OVER (PARTITION BY table_name ORDER BY ordinal_position),"
    " column_name, data_type, character_maximum_length, is_nullable, column_default, is_identity"
    " FROM information_schema.columns WHERE table_schema = 'public'",
    "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT conrelid::regclass::text, conname, condeferrable, condeferred,"
    " pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid <> 0",
    "SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger"
    " WHERE NOT tgisinternal",
    "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
)


def _schema() -> set[tuple[str, ...]]:
    """Return everything that the database itself knows of the product's tables."""
    questions = POSTGRESQL if connection.vendor == "postgresql" else SQLITE
    found: set[tuple[str, ...]] = set()
    with connection.cursor() as cursor:
        for question in questions:
            cursor.execute(question)
            found |= {tuple(map(str, row)) for row in cursor.fetchall() if _is_ours(row[0])}
    return found


def _is_ours(name: str) -> bool:
    return name.startswith(tuple(f"{app}_" for app in OURS))


@contextmanager
def _empty_database(folder: Path) -> Iterator[None]:
    """Let everything that asks for the database get an empty one."""
    original: BaseDatabaseWrapper = connections["default"]
    other = original.copy()
    if original.vendor == "postgresql":
        other.settings_dict["NAME"] = f"{original.settings_dict['NAME']}_of_before"
        other.settings_dict["OPTIONS"].pop("pool", None)
        _say(original, f"CREATE DATABASE {other.settings_dict['NAME']}")
    else:
        other.settings_dict["NAME"] = str(folder / "of-before.sqlite3")
    connections["default"] = other
    try:
        with closing(other):
            yield
    finally:
        connections["default"] = original
        if original.vendor == "postgresql":
            _say(original, f"DROP DATABASE {other.settings_dict['NAME']}")


def _say(server: BaseDatabaseWrapper, statement: str) -> None:
    where = {**server.get_connection_params(), "dbname": "postgres"}
    with psycopg.connect(**where, autocommit=True) as beside:
        beside.execute(statement.encode())


def _ours(executor: MigrationExecutor) -> list[tuple[str, str]]:
    return [leaf for leaf in executor.loader.graph.leaf_nodes() if leaf[0] in OURS]


def _bring_to_before() -> Apps:
    """Migrate to what an old installation has, along the old migrations; return its models."""
    executor = MigrationExecutor(connection)
    executor.loader.replace_migrations = False
    executor.loader.build_graph()
    apps: Apps = executor.migrate(BEFORE).apps
    return apps


@pytest.mark.django_db(transaction=True)
def test_an_old_database_goes_on_along_the_old_migrations_and_ends_as_a_new_one(
    tmp_path: Path,
) -> None:
    made_now = _schema()
    with _empty_database(tmp_path):
        old = _bring_to_before()
        ada = old.get_model("plans", "User").objects.create(email="a@b.org", is_superuser=True)

        executor = MigrationExecutor(connection)
        apps = executor.migrate(_ours(executor)).apps

        held = apps.get_model("plans", "RoleBinding").objects.filter(user_id=ada.pk)
        assert [binding.role for binding in held] == ["administrator"]
        assert _schema() == made_now
        _assert_nothing_is_left_to_do()


def _assert_nothing_is_left_to_do() -> None:
    """An installation of the last release has all the old ones, and never heard of their sums."""
    recorder = MigrationRecorder(connection)
    sums = [name for name in recorder.applied_migrations() if "_squashed_" in name[1]]
    assert sorted(app for app, _name in sums) == sorted(OURS)
    for app, name in sums:
        recorder.record_unapplied(app, name)
    executor = MigrationExecutor(connection)
    assert executor.migration_plan(_ours(executor)) == []
    executor.loader.check_consistent_history(connection)
