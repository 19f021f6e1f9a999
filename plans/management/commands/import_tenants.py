"""Import tenants from a CSV or YAML file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from plans.counted_words import counted
from plans.tenants.importing import import_tenants

FORM_OF_SUFFIX = {".csv": "csv", ".yaml": "yaml", ".yml": "yaml"}


class Command(BaseCommand):
    """`manage.py import_tenants FILE`: all rows or none."""

    help = "Import tenants; one wrong row keeps everything out."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the file, how it is written, and whose versions it tells."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--form", choices=("csv", "yaml"), help="Without: by the file's name.")
        parser.add_argument("--plugin", default="", help="Whose version the file tells.")
        parser.add_argument("--dry-run", action="store_true", help="Only say what would change.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the counts, or fail with FILE:LINE for each wrong row."""
        file: Path = options["file"]
        form = options["form"] or FORM_OF_SUFFIX.get(file.suffix.lower())
        if form is None:
            raise CommandError(f"{file}: say how it is written: --form csv or --form yaml")
        try:
            text = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{file}: {error}") from error
        result = import_tenants(
            text=text,
            form=form,
            plugin=options["plugin"],
            by=None,
            now=timezone.now(),
            via="command",
            dry_run=options["dry_run"],
        )
        if result.refused:
            wrong = [row for row in result.rows if row.status == "wrong"]
            raise CommandError(
                "\n".join(f"{file}:{row.line}: {row.key} {row.why}".strip() for row in wrong)
            )
        counts = ", ".join(f"{result.count(w)} {w}" for w in ("new", "changed", "same"))
        self.stdout.write(f"{'Would be' if options['dry_run'] else 'Imported'}: {counts}")
        if result.versions_left:
            self.stdout.write(
                f"The version of {counted(result.versions_left, 'row')}"
                f" {'would not be' if options['dry_run'] else 'was not'} kept: say with --plugin"
                " whose it is"
            )
