"""Keep the policies of a file; the same text again changes nothing."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from plans.management.console_command import ConsoleCommand
from plans.policies.keeping import save_policy_text
from plans.policies.kpi_advice import advice
from plans.policies.policy_yaml import parse_policy_file
from plans.refusal import BadInput


class Command(ConsoleCommand):
    """`manage.py load_policies FILE`."""

    help = "Save every policy of a file that is new or changed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the file."""
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        """Save the policies, or fail with all problems and save none."""
        file: Path = options["file"]
        try:
            text = file.read_text(encoding="utf-8")
            rows = save_policy_text(
                text=text,
                source=file.name,
                by=None,
                now=timezone.now(),
                via="command",
            )
        except BadInput as bad:
            raise CommandError("\n".join(f"{file}: {p}" for p in bad.problems)) from bad
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{file}: {error}") from error
        for one in advice(text, parse_policy_file(text)):
            self.stderr.write(f"{file}:{one.line}: warning: {one.path}: {one.message}")
        for row in rows:
            self.stdout.write(f"{row.name} {row.digest[:12]}")
