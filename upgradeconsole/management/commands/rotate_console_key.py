"""`manage.py rotate_console_key`: let a new key sign checkpoints or grants from now on."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from plans.console_keys import PURPOSES, rotate, signing_key
from plans.trail import events
from plans.trail.checkpoint_text import key_name, verifier_key


class Command(BaseCommand):
    """Make a new key; what the old one signed can still be checked."""

    help = "Let a new key sign from now on; the old public key is kept, its private key is gone."

    def add_arguments(self, parser: CommandParser) -> None:
        """Accept the purpose."""
        parser.add_argument("purpose", choices=PURPOSES)

    def handle(self, *args: Any, **options: Any) -> None:
        """Rotate, tell the trail, and print the public key to be given to auditors."""
        purpose = options["purpose"]
        try:
            old, new = rotate(purpose)
            key = signing_key(purpose)
        except OSError as error:
            raise CommandError(str(error)) from error
        with transaction.atomic():
            events.record(
                stream=None,
                kind="console_key_in_use",
                sentence=f"The console's key for {purpose}s was changed from {old} to {new}.",
                actor=None,
                via="command",
                now=timezone.now(),
                payload={
                    "kid": new,
                    "before": old,
                    "purpose": purpose,
                    "public_key": key.public.hex(),
                },
            )
        name = key_name(settings.INSTANCE_NAME)
        self.stdout.write(f"{purpose}: {old} signs no more, {new} does. Give this to auditors:")
        self.stdout.write(verifier_key(name, key.public))
