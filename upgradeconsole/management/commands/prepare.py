"""Make the database ready for this version, in one process: a start of Django costs seconds."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandParser, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor


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
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            self.stdout.write("Bringing the database to this version")
            call_command("migrate", interactive=False, verbosity=0)
        call_command("createcachetable", verbosity=0)
        if not options["no_demo"] and not get_user_model().objects.exists():
            self.stdout.write("Filling the empty database with the demonstration")
            call_command("seed_demo")
