"""Give a role from the machine itself: the way back in when nobody administers any more."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from plans.management.console_command import ConsoleCommand
from plans.models import RoleBinding, User
from plans.people.role_giving import give_role


class Command(ConsoleCommand):
    """`manage.py give_role EMAIL ROLE [--approval] [--label NAME=VALUE]`."""

    help = "Give a person a console role, or an approval role with --approval."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take who, what and for which tenants."""
        parser.add_argument("email")
        parser.add_argument("role")
        parser.add_argument("--approval", action="store_true", help="It is an approval role.")
        parser.add_argument("--label", action="append", default=[], metavar="NAME=VALUE")
        parser.add_argument("--why", default="given on the machine itself")

    def handle(self, *args: Any, **options: Any) -> None:
        """Give it."""
        user = User.objects.filter(email__iexact=options["email"]).first()
        if user is None:
            raise CommandError(f"There is no person with the e-mail {options['email']}.")
        pairs = [label.partition("=") for label in options["label"]]
        give_role(
            user=user,
            kind=RoleBinding.APPROVAL if options["approval"] else RoleBinding.CONSOLE,
            role=options["role"],
            selector={name.strip(): value.strip() for name, _equals, value in pairs},
            why=options["why"],
            by=None,
            now=timezone.now(),
            via="command",
        )
        self.stdout.write(f"{user.get_full_name()} holds the role {options['role']} now.")
