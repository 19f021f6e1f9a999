"""Make an API token and print it, this once."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from plans.management.console_command import ConsoleCommand
from plans.models import User
from plans.people.machine_access import make_token
from plans.people.token_scopes import SCOPES


class Command(ConsoleCommand):
    """`manage.py make_token EMAIL`: for `powerx` and other machines."""

    help = "Make an API token for a person and print it; it is not shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take whose token it is, what for, and for how long."""
        parser.add_argument("email")
        parser.add_argument("--name", default="powerx", help="What the token is for.")
        parser.add_argument("--days", type=int, default=30, help="How long it is good for.")
        parser.add_argument(
            "--scope",
            action="append",
            default=[],
            choices=sorted(SCOPES),
            help="Narrow it; may be repeated. Without: all that the person may do.",
        )

        parser.add_argument(
            "--label",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="Narrow it to tenants with this label; may be repeated.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the token alone on stdout, so that it can be piped into a secret store."""
        user = User.objects.filter(email__iexact=options["email"]).first()
        if user is None:
            raise CommandError(f"There is no person with the e-mail {options['email']}.")
        made = make_token(
            user=user,
            name=options["name"],
            days=options["days"],
            scopes=options["scope"],
            selector=_labels(options["label"]),
            by=None,
            now=timezone.now(),
            via="command",
        )
        self.stdout.write(made.secret)
        self.stderr.write(f"Good until {made.token.expires_at:%Y-%m-%d %H:%M} UTC; shown only now.")


def _labels(written: list[str]) -> dict[str, str]:
    pairs = [label.partition("=") for label in written]
    if wrong := [name for name, equals, _value in pairs if not equals]:
        raise CommandError(f"--label {wrong[0]}: write NAME=VALUE, such as region=eu.")
    return {name.strip(): value.strip() for name, _equals, value in pairs}
