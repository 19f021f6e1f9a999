"""Set somebody's password on the machine itself, where the trail tells of it."""

from getpass import getpass
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.utils import timezone

from plans.log_in.second_factors import find_person
from plans.management.console_command import PersonCommand
from plans.people.account_changes import set_password


class Command(PersonCommand):
    """`manage.py set_password EMAIL --reason WHY`."""

    help = (
        "Set a person's password; it is asked for twice. Their sessions end, and the trail and a"
        " mail to the person tell of it. Their roles stay as they are."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask for it twice, and set it."""
        try:
            user = find_person(options["email"])
            password = getpass(f"New password for {user.get_full_name()}: ")
            if password != getpass("The same once more: "):
                raise CommandError("These are two different passwords; nothing was changed.")
            validate_password(password, user)
            set_password(
                user_id=user.pk,
                password=password,
                reason=options["reason"],
                by=None,
                now=timezone.now(),
                via="command",
            )
        except ValidationError as error:
            raise CommandError("\n".join(error.messages)) from error
        self.stdout.write(f"{user.get_full_name()} has another password now.")
