"""Write another e-mail address of a person on the machine itself, where the trail tells of it."""

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from plans.log_in.second_factors import find_person
from plans.management.console_command import PersonCommand
from plans.people.account_changes import change_email


class Command(PersonCommand):
    """`manage.py change_email EMAIL NEW --reason WHY`."""

    help = (
        "Write another e-mail address of a person: by it they log in from now on. The trail and a"
        " mail to both addresses tell of it. Their roles stay as they are."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take whose, which, and why."""
        super().add_arguments(parser)
        parser.add_argument("new")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write it."""
        user = change_email(
            user_id=find_person(options["email"]).pk,
            email=options["new"],
            reason=options["reason"],
            by=None,
            now=timezone.now(),
            via="command",
        )
        self.stdout.write(f"{user.get_full_name()} logs in as {user.email} now.")
