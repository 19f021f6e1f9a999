"""Write another e-mail address of a person on the machine itself, where the trail tells of it."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from plans.account_changes import change_email
from plans.management.console_command import ConsoleCommand
from plans.refusal import Refused
from plans.second_factors import find_person


class Command(ConsoleCommand):
    """`manage.py change_email EMAIL NEW --reason WHY`."""

    help = (
        "Write another e-mail address of a person: by it they log in from now on. The trail and a"
        " mail to both addresses tell of it. Their roles stay as they are."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take whose, which, and why."""
        parser.add_argument("email")
        parser.add_argument("new")
        parser.add_argument(
            "--reason", required=True, help="How you know that it is really this person who asks."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Write it."""
        try:
            user = change_email(
                user_id=find_person(options["email"]).pk,
                email=options["new"],
                reason=options["reason"],
                by=None,
                now=timezone.now(),
                via="command",
            )
        except Refused as refusal:
            raise CommandError(refusal.sentence) from refusal
        self.stdout.write(f"{user.get_full_name()} logs in as {user.email} now.")
