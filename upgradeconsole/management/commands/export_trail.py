"""`manage.py export_trail`: write the trail to standard output, for verify_trail.py."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from plans.models import Stream
from plans.trail.export import Excerpt, csv_lines, json_lines


class Command(BaseCommand):
    """Export everything, one stream, or a period."""

    help = "Write the trail to standard output: JSON lines with checkpoints and keys, or CSV."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Accept which part, and whether addresses come along."""
        parser.add_argument("--stream", default="", help="system, or plan:<uuid>; all without it")
        parser.add_argument("--since", metavar="TIME", help="RFC 3339, with its zone")
        parser.add_argument("--until", metavar="TIME", help="RFC 3339; not part of it")
        parser.add_argument("--csv", action="store_true")
        parser.add_argument("--addresses", action="store_true", help="with what can be erased")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write it line by line."""
        stream = options["stream"]
        if stream and not Stream.objects.filter(key=stream).exists():
            raise CommandError(f"There is no stream {stream!r}: write system or plan:<uuid>.")
        excerpt = Excerpt(
            stream,
            self._moment("since", options["since"]),
            self._moment("until", options["until"]),
            addresses=options["addresses"],
        )
        if options["csv"]:
            lines = csv_lines(excerpt.events(), addresses=excerpt.addresses)
        else:
            lines = json_lines(excerpt, instance=settings.INSTANCE_NAME, now=timezone.now())
        for line in lines:
            self.stdout.write(line.decode(), ending="")

    def _moment(self, name: str, text: str | None) -> Any:
        if not text:
            return None
        try:
            moment = parse_datetime(text)
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None:
            raise CommandError(f"--{name} {text}: write it like 2026-01-31T12:00:00Z.")
        return moment
