"""Revoke a key of the trust store, where no page can be reached."""

from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from plans.management.console_command import ConsoleCommand
from plans.releases.registering import revoke_key


class Command(ConsoleCommand):
    """`manage.py revoke_key KEY --reason WHY`."""

    help = "Stop trusting a key from now on; what it alone signed is not installed any more."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the key and the reason."""
        parser.add_argument("key_id", help="Its id, as the page of the keys shows it.")
        parser.add_argument("--reason", required=True, help="Stands in the trail.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Revoke it and say so."""
        key = revoke_key(
            key_id=options["key_id"],
            reason=options["reason"],
            by=None,
            now=timezone.now(),
            via="command",
        )
        self.stdout.write(f"{key.key_id} ({key.name or 'no name'}) is revoked")
