"""Say who could do what for which tenants, now or on a day."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from plans.counted_words import counted
from plans.people.access_review import AccessReview, access_review, as_csv, asked_time
from plans.refusal import BadInput


class Command(BaseCommand):
    """`manage.py access_review [--at DAY] [--csv FILE]`."""

    help = "Say who could do what for which tenants, now or on a day."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the day, and where to write."""
        parser.add_argument("--at", default="", help="2026-01-31 or 2026-01-31T12:00:00Z; now.")
        parser.add_argument(
            "--csv", metavar="FILE", help="Write all columns as CSV to a new file; - = stdout."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print a table, or write the CSV."""
        try:
            review = access_review(asked_time(options["at"], now=timezone.now()))
        except BadInput as bad:
            raise CommandError("\n".join(bad.problems)) from bad
        if options["csv"] == "-":
            self.stdout.write(as_csv(review), ending="")
        elif options["csv"]:
            self._write_file(review, Path(options["csv"]))
        else:
            self._print(review)

    def _write_file(self, review: AccessReview, path: Path) -> None:
        try:
            # Never over a file that is there: an earlier review is evidence.
            with path.open("x", encoding="utf-8", newline="") as out:
                out.write(as_csv(review))
        except OSError as error:
            raise CommandError(f"{path} could not be written: {error.strerror}.") from error
        self.stdout.write(f"{counted(len(review.held), 'line')} in {path}.")

    def _print(self, review: AccessReview) -> None:
        self.stdout.write(
            f"On {review.at:%Y-%m-%d %H:%M} UTC, {counted(review.people, 'person', 'people')}:"
        )
        for line in review.held:
            self.stdout.write(
                f"{line.name} <{line.email}>: {line.kind_words.lower()} {line.held},"
                f" {line.tenants} ({line.tenants_today} today)"
            )
