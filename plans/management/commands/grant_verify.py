"""Verify signed approvals of a file, without the database."""

import base64
import json
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from django.core.management.base import BaseCommand, CommandError

from plans.approvals.grant_claims import GrantRefused
from plans.approvals.grant_signing import KeyOf, SealedGrant, opened
from plans.console_keys import public_key


class Command(BaseCommand):
    """`manage.py grant_verify FILE [--public-key FILE]`; exit 1 when one does not hold."""

    help = (
        "Verify the approval grants of a JSON file: one grant, a list of them, or a report.json."
        " Asks no database. Without --public-key the keys of this installation count."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the file and the key."""
        parser.add_argument("file", type=Path)
        parser.add_argument(
            "--public-key",
            type=Path,
            help="The key that has to have signed: PEM, or its 32 bytes as base64.",
        )
        parser.add_argument("--json", action="store_true", help="Say what each grant says.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Say of each grant whether it holds."""
        key_of = _only(options["public_key"]) if options["public_key"] else public_key
        try:
            body = json.loads(options["file"].read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CommandError(f"{options['file']} cannot be read as JSON: {error}") from error
        found, bad = list(_grants_in(body)), 0
        for value in found:
            try:
                claims = opened(SealedGrant.from_json(value), key_of)
            except GrantRefused as refused:
                bad += 1
                self.stdout.write(f"BAD  {refused.code}: {refused.sentence}")
                continue
            if options["json"]:
                self.stdout.write(json.dumps(claims.to_json(), sort_keys=True))
            else:
                self.stdout.write(
                    f"ok   {claims.jti} {claims.action} of plan {claims.plan_id} by"
                    f" {claims.approver} as {claims.role or 'nobody but themselves'}, key"
                    f" {claims.kid}, content {claims.plan_digest[:12]}"
                )
        if not found:
            raise CommandError(f"There is no approval grant in {options['file']}.")
        if bad:
            raise CommandError(f"{bad} of {len(found)} approval grants do not hold.")
        self.stdout.write(f"All {len(found)} hold.")


def _only(file: Path) -> KeyOf:
    """Return a look-up that knows the file's key alone, whatever id a grant names."""
    try:
        text = file.read_bytes()
        if b"-----BEGIN" in text:
            key = load_pem_public_key(text)
        else:
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (OSError, ValueError) as error:
        raise CommandError(f"{file} is no public key: {error}") from error
    if not isinstance(key, Ed25519PublicKey):
        raise CommandError(f"{file} is no Ed25519 public key.")
    return lambda _kid: key


def _grants_in(body: Any) -> Iterator[Any]:
    """Yield whatever in the JSON looks like a grant, wherever it stands."""
    if isinstance(body, dict):
        if {"payload", "sig", "kid"} <= body.keys():
            yield {name: body[name] for name in ("payload", "sig", "kid")}
            return
        body = list(body.values())
    if isinstance(body, list):
        for value in body:
            yield from _grants_in(value)
