"""`manage.py erase_addresses`: forget from which addresses events came; the trail still holds."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from plans.counted_words import counted
from plans.management.console_command import ConsoleCommand
from plans.trail.addresses import erase_addresses


class Command(ConsoleCommand):
    """Erase addresses, and write into the trail that it was done."""

    help = "Erase the addresses of all events before a day; the chain keeps salted digests."

    def add_arguments(self, parser: CommandParser) -> None:
        """Accept the day and the reason."""
        parser.add_argument("--before", required=True, metavar="YYYY-MM-DD")
        parser.add_argument("--reason", required=True)

    def handle(self, *args: Any, **options: Any) -> None:
        """Erase them."""
        try:
            before = datetime.strptime(options["before"], "%Y-%m-%d").replace(tzinfo=UTC)
            erased = erase_addresses(
                before=before,
                reason=options["reason"],
                by=None,
                now=timezone.now(),
                via="command",
            )
        except ValueError as error:
            raise CommandError(f"--before: {error}") from error
        self.stdout.write(f"The addresses of {counted(erased, 'event')} are erased.")
