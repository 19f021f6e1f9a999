"""A backup of a console on PostgreSQL: dumped as of one moment, restored into an empty database."""

import os
import subprocess
from pathlib import Path

import pytest
from django.db import connection
from django.utils.timezone import now

from plans.models import Tenant
from upgradeconsole.backup import (
    BackupRefused,
    Contents,
    check_backup,
    connection_string,
    take_backup,
)
from upgradeconsole.database_url import DatabaseAddress

pytestmark = pytest.mark.django_db(transaction=True)


def address(name: str = "") -> DatabaseAddress:
    known = connection.settings_dict
    return DatabaseAddress(
        name or known["NAME"],
        known["USER"],
        known["PASSWORD"],
        known["HOST"],
        str(known["PORT"]),
    )


def take(database: DatabaseAddress, target: Path) -> None:
    contents = Contents(database=database, before={}, after={}, keys={})
    take_backup(contents, target, keys_target=None, version="1.0", now=now())


def test_what_was_dumped_is_restored(tmp_path: Path) -> None:
    Tenant.objects.create(key="acorn", name="Acorn", owner_email="acorn@example.org")
    take(address(), tmp_path / "copy")
    assert check_backup(tmp_path / "copy") == []

    empty = "restored_" + connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{empty}"')
    try:
        there = connection_string(address(empty))
        password = {**os.environ, "PGPASSWORD": address().password}
        for command in (
            [
                "pg_restore",
                "--no-owner",
                f"--dbname={there}",
                str(tmp_path / "copy/console.pgdump"),
            ],
            ["psql", "--tuples-only", "--command=SELECT key FROM plans_tenant", there],
        ):
            done = subprocess.run(
                command, env=password, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["acorn"]
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{empty}" WITH (FORCE)')


def test_a_dump_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BackupRefused, match=r'pg_dump failed: .*"not_there" does not exist'):
        take(address("not_there"), tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_a_dump_that_was_cut_off_is_found(tmp_path: Path) -> None:
    take(address(), tmp_path / "copy")
    dump = tmp_path / "copy/console.pgdump"
    dump.write_bytes(dump.read_bytes()[:1000])
    assert check_backup(tmp_path / "copy") == ["console.pgdump is not what was copied."]
