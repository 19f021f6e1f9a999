"""Sign a release: write release.json and its envelope release.json.dsse.

With --statement-only only release.json is written, for whoever signs it with cosign or a key in
hardware.
"""

import hashlib
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from plans.releases.signature import sign_release, statement_of


class Command(BaseCommand):
    """`manage.py sign_release --plugin P --version V --artifact FILE --key FILE`."""

    help = "Sign a plugin's version and the digest of its artifact with a private key."
    requires_system_checks = ()

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        """Let --version name the release's version, not Django's."""
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what is signed, with which key, and where to."""
        parser.add_argument("--plugin", required=True)
        parser.add_argument("--version", required=True, dest="release_version")
        artifact = parser.add_mutually_exclusive_group(required=True)
        artifact.add_argument("--artifact", type=Path, help="The file that is rolled out.")
        artifact.add_argument("--digest", help="Its SHA-256, where the file is elsewhere.")
        how = parser.add_mutually_exclusive_group(required=True)
        how.add_argument("--key", type=Path, help="Private key, PEM: Ed25519 or ECDSA P-256.")
        how.add_argument(
            "--statement-only",
            action="store_true",
            help="Write release.json alone; cosign sign-blob signs it.",
        )
        parser.add_argument(
            "--out", type=Path, default=Path("release.json"), help="release.json; .dsse beside it."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Write both files, or say what is wrong and write none."""
        out: Path = options["out"]
        try:
            digest = options["digest"] or _sha256(options["artifact"])
            if options["statement_only"]:
                statement = statement_of(options["plugin"], options["release_version"], digest)
                out.write_text(statement, encoding="utf-8")
                self.stdout.write(f"{out}: to be signed with cosign sign-blob")
                return
            private_key = options["key"].read_text(encoding="utf-8")
            release, envelope = sign_release(
                options["plugin"], options["release_version"], digest, private_key
            )
            out.write_text(release, encoding="utf-8")
            signed = out.with_name(f"{out.name}.dsse")
            signed.write_text(envelope, encoding="utf-8")
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{signed}: {options['plugin']} {options['release_version']}, {digest}")


def _sha256(artifact: Path) -> str:
    with artifact.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
