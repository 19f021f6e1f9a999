"""Make a signing key, or take somebody's public key, and trust it."""

import errno
import os
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from plans.management.console_command import ConsoleCommand
from plans.releases.registering import trust_key
from plans.releases.signing_keys import ED25519, KINDS, key_id_of, new_key

LONGEST_DAYS = 3650


class Command(ConsoleCommand):
    """`manage.py trust_key --new NAME`, or `--public FILE --name NAME`."""

    help = "Add a public key to the trust store; --new makes the pair first."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the key, its name, and for how long and for what it is trusted."""
        which = parser.add_mutually_exclusive_group(required=True)
        which.add_argument("--new", metavar="NAME", help="Make NAME.key and NAME.pub.")
        which.add_argument("--public", type=Path, help="A public key, PEM (also cosign.pub).")
        parser.add_argument(
            "--kind", choices=list(KINDS), default=ED25519, help="Of which kind --new makes it."
        )
        parser.add_argument("--name", help="What people call it; NAME of --new, else the file.")
        parser.add_argument("--days", type=int, default=365, help="How long it is trusted.")
        parser.add_argument(
            "--plugins", default="", help="Comma-separated plugins it may sign; all without."
        )
        parser.add_argument("--folder", type=Path, default=Path(), help="Where --new writes.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Trust the key and print its id; a private key is never printed nor kept."""
        if not 1 <= options["days"] <= LONGEST_DAYS:
            raise CommandError(f"--days is between 1 and {LONGEST_DAYS}.")
        try:
            public_key, name = self._new(options) if options["new"] else self._given(options)
            key_id = key_id_of(public_key)
            self._trust(key_id, public_key, name, options)
        except FileExistsError as error:
            raise CommandError(
                f"{error.filename} is there already; choose another name."
            ) from error
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(key_id)

    def _trust(self, key_id: str, public_key: str, name: str, options: dict[str, Any]) -> None:
        now = timezone.now()
        trust_key(
            key_id=key_id,
            public_key=public_key,
            name=name,
            not_before=now,
            not_after=now + timedelta(days=options["days"]),
            plugins=tuple(filter(None, (key.strip() for key in options["plugins"].split(",")))),
            by=None,
            now=now,
            via="command",
        )

    def _new(self, options: dict[str, Any]) -> tuple[str, str]:
        """Write a fresh pair; the private key is readable by its owner alone."""
        made = new_key(options["kind"])
        private_file = options["folder"] / f"{options['new']}.key"
        public_file = options["folder"] / f"{options['new']}.pub"
        if public_file.exists():
            raise FileExistsError(errno.EEXIST, "exists", str(public_file))
        handle = os.open(private_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(made.private_pem)
        public_file.write_text(made.public_pem, encoding="utf-8")
        self.stderr.write(f"{private_file}: keep it secret; {public_file}: give it away")
        return made.public_pem, options["name"] or Path(options["new"]).name

    def _given(self, options: dict[str, Any]) -> tuple[str, str]:
        public: Path = options["public"]
        return public.read_text(encoding="utf-8"), options["name"] or public.stem
