"""Take a lost second factor away, for an installation whose only administrator has lost theirs."""

from typing import Any

from django.utils import timezone

from plans.log_in.second_factors import find_person, reset_factors
from plans.management.console_command import PersonCommand


class Command(PersonCommand):
    """`manage.py reset_mfa EMAIL --reason WHY`."""

    help = (
        "Take all second factors of a person away and end their sessions; they enrol anew at the"
        " next log-in. The trail and a mail to the person tell of it."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Reset, and say what was taken away."""
        user = find_person(options["email"])
        kinds = reset_factors(
            user=user, by=None, reason=options["reason"], now=timezone.now(), via="command"
        )
        self.stdout.write(f"Taken away from {user.get_full_name()}: {', '.join(kinds)}.")
