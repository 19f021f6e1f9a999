"""What the console's own commands have in common: a refusal that matters is an event, too."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from plans.models import User
from plans.refusal import BadInput, Refused
from plans.trail.refusals import is_serious, tell_refusal


class ConsoleCommand(BaseCommand):
    """A command that calls use cases; what they refuse for good reason stands in the trail.

    As at the other doors: who tried what they may not, and what could not be trusted. The person is
    the one that `--by` names, if the command takes one. On the terminal a refusal is the command's
    error, with all that is wrong.
    """

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run it; note a refusal, and fail with its words."""
        try:
            return super().execute(*args, **options)
        except Refused as refused:
            self.note(refused, **options)
            told = refused.problems if isinstance(refused, BadInput) else [refused.sentence]
            raise CommandError("\n".join(told)) from refused
        except CommandError as error:
            if isinstance(error.__cause__, Refused):
                self.note(error.__cause__, **options)
            raise

    def note(self, refused: Refused, **options: Any) -> None:
        """Write the refusal down, after its transaction is gone."""
        if not is_serious(refused):
            return
        by = options.get("by")
        tell_refusal(
            code=refused.code,
            sentence=refused.sentence,
            what=f"manage.py {type(self).__module__.rpartition('.')[2]}",
            user=User.objects.filter(email__iexact=by).first() if by else None,
            nobody="a command on the machine",
            via="command",
            now=timezone.now(),
        )


class PersonCommand(ConsoleCommand):
    """A command that opens a person's account: EMAIL --reason WHY."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take whose, and why."""
        parser.add_argument("email")
        parser.add_argument(
            "--reason", required=True, help="How you know that it is really this person who asks."
        )
