"""Release a person's account at the company's log-in, on the machine itself."""

from typing import Any

from django.utils import timezone

from plans.log_in.second_factors import find_person
from plans.management.console_command import PersonCommand
from plans.sso.binding import release_log_in


class Command(PersonCommand):
    """`manage.py release_log_in EMAIL --reason WHY`."""

    help = (
        "Release the account at the company's log-in that is bound to a person: the next one with"
        " their e-mail address is bound in its place. The trail and a mail tell of it. Their roles"
        " stay as they are."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Release it."""
        user = release_log_in(
            user_id=find_person(options["email"]).pk,
            reason=options["reason"],
            by=None,
            now=timezone.now(),
            via="command",
        )
        self.stdout.write(f"The next log-in at the company with {user.email} is bound.")
