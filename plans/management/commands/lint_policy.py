"""Say everything that is wrong with a policy file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from plans.policies.kpi_advice import advice
from plans.policies.policy_yaml import PolicyRejected, parse_policy_file


class Command(BaseCommand):
    """`manage.py lint_policy FILE`: exit 1 with every problem and its line."""

    help = "Check a policy file; nothing is saved."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the file."""
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        """Name the file's policies, or fail with FILE:LINE for each problem."""
        file: Path = options["file"]
        try:
            text = file.read_text(encoding="utf-8")
            policy_file = parse_policy_file(text)
        except PolicyRejected as rejected:
            raise CommandError(
                "\n".join(
                    f"{file}:{p.line}: {p.path + ': ' if p.path else ''}{p.message}"
                    for p in rejected.problems
                )
            ) from rejected
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{file}: {error}") from error
        for one in advice(text, policy_file):
            self.stderr.write(f"{file}:{one.line}: warning: {one.path}: {one.message}")
        self.stdout.write(f"{file}: nothing wrong with {', '.join(policy_file.policies)}")
