"""Take a lost second factor away, for an installation whose only administrator has lost theirs."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from plans.management.console_command import ConsoleCommand
from plans.refusal import Refused
from plans.second_factors import find_person, reset_factors


class Command(ConsoleCommand):
    """`manage.py reset_mfa EMAIL --reason WHY`."""

    help = (
        "Take all second factors of a person away and end their sessions; they enrol anew at the"
        " next log-in. The trail and a mail to the person tell of it."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take whose, and why."""
        parser.add_argument("email")
        parser.add_argument(
            "--reason", required=True, help="How you know that it is really this person who asks."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Reset, and say what was taken away."""
        try:
            user = find_person(options["email"])
            kinds = reset_factors(
                user=user, by=None, reason=options["reason"], now=timezone.now(), via="command"
            )
        except Refused as refusal:
            raise CommandError(refusal.sentence) from refusal
        self.stdout.write(f"Taken away from {user.get_full_name()}: {', '.join(kinds)}.")
