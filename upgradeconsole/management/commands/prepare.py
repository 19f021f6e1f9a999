"""Make the database ready for this version, in one process: a start of Django costs seconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError, CommandParser, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from plans.log_in.first_account import first_account_line
from plans.sealed_secrets import keyring
from upgradeconsole.sealing import KeysUnusable

PREPARING = 0x75636F6E
"""The number of the advisory lock; any will do that nobody else uses in this database."""


class Command(BaseCommand):
    """Migrate, make the cache table and fill an empty database with the demonstration."""

    help = "Migrate the database and, where it is empty, fill it with the demonstration."
    # The processes that start next run the checks.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Accept --no-demo."""
        parser.add_argument("--no-demo", action="store_true", help="leave an empty database empty")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what is not done yet; doing it twice changes nothing."""
        with self._alone():
            self._prepare(with_demo=not options["no_demo"])

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one machine after the other prepare a database that they share.

        SQLite's file is one machine's, whose start holds a lock on the folder.
        """
        if connection.vendor != "postgresql":
            yield
            return
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [PREPARING])
        try:
            yield
        finally:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [PREPARING])

    def _prepare(self, *, with_demo: bool) -> None:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            self.stdout.write("Bringing the database to this version")
            call_command("migrate", interactive=False, verbosity=0)
        call_command("createcachetable", verbosity=0)
        # Made before any process needs it, so that a backup of the first day has it.
        try:
            keyring().keys()
        except KeysUnusable as unusable:
            raise CommandError(f"The keys that seal secrets cannot be used: {unusable}") from None
        if with_demo and not get_user_model().objects.exists():
            self.stdout.write("Filling the empty database with the demonstration")
            call_command("seed_demo")
        if line := first_account_line():
            self.stdout.write(f"Nobody can log in yet. This makes the first account:\n{line}")
