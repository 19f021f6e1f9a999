"""`manage.py rotate_keys`: a new key for secrets at rest."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from plans.counted_words import counted
from plans.management.console_command import ConsoleCommand
from upgradeconsole.key_rotation import rotate_sealing_keys
from upgradeconsole.sealing import KeysUnusable


class Command(ConsoleCommand):
    """Make a key, seal every stored secret by it, and forget the old keys when told to."""

    help = (
        "Make a new key for secrets in the database and seal them all by it. The console may run"
        " meanwhile. Old keys stay until --forget-old, so that a backup of before can be opened."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what is to be done beside sealing."""
        parser.add_argument(
            "--reseal-only", action="store_true", help="make no new key: finish, or use a given one"
        )
        parser.add_argument(
            "--forget-old", action="store_true", help="keep the newest key alone afterwards"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate and say what was done; fail when a secret cannot be opened."""
        try:
            done = rotate_sealing_keys(
                new_key=not options["reseal_only"],
                forget_old=options["forget_old"],
                now=timezone.now(),
            )
        except KeysUnusable as unusable:
            raise CommandError(str(unusable)) from unusable
        self.stdout.write(
            f"{done.resealed} of {counted(done.in_all, 'secret was', 'secrets were')} sealed by the"
            " newest key."
        )
        if done.forgotten:
            self.stdout.write(
                f"{counted(done.forgotten, 'older key was', 'older keys were')} forgotten."
            )
        if done.broken:
            raise CommandError("These cannot be opened: " + "; ".join(done.broken))
