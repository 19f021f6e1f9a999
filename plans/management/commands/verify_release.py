"""Verify registered releases now, and an artifact against what was signed; for schedulers too."""

import hashlib
from argparse import ArgumentParser
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from plans.management.console_command import ConsoleCommand
from plans.models import Release
from plans.refusal import Refused
from plans.releases.standing import check_artifact, check_release


class Command(ConsoleCommand):
    """`manage.py verify_release [--plugin P --version V [--artifact FILE [--quarantine]]]`."""

    help = (
        "Verify the signatures of all releases, or of one with its artifact; exit 1 when one may"
        " not be used. What was tampered with in the console goes into quarantine; another artifact"
        " does so with --quarantine."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        """Let --version name the release's version, not Django's."""
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take which release, and the artifact."""
        parser.add_argument("--plugin", help="Only releases of this plugin.")
        parser.add_argument("--version", dest="release_version", help="Only this version.")
        parser.add_argument("--artifact", type=Path, help="The file that shall be it.")
        parser.add_argument(
            "--quarantine",
            action="store_true",
            help="Put the release into quarantine when --artifact is another one than was signed.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Say of each whether it may be used."""
        releases = Release.objects.select_related("plugin").order_by("plugin__key", "created_at")
        if options["plugin"]:
            releases = releases.filter(plugin__key=options["plugin"])
        if options["release_version"]:
            releases = releases.filter(version=options["release_version"])
        rows = list(releases)
        if not rows:
            raise CommandError("There is no such release.")
        if options["artifact"] and len(rows) != 1:
            raise CommandError("--artifact needs --plugin and --version: one release.")
        if options["quarantine"] and not options["artifact"]:
            raise CommandError("--quarantine needs --artifact.")
        digest = self._digest(options["artifact"]) if options["artifact"] else ""
        now = timezone.now()
        unusable = sum(
            not self._is_usable(release, digest, now, quarantine=options["quarantine"])
            for release in rows
        )
        if unusable:
            raise CommandError(f"{unusable} of {len(rows)} may not be used.")

    def _digest(self, artifact: Path) -> str:
        try:
            with artifact.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise CommandError(str(error)) from error

    def _is_usable(self, release: Release, digest: str, now: datetime, *, quarantine: bool) -> bool:
        try:
            if digest:
                check_artifact(
                    release_id=release.pk,
                    digest=digest,
                    quarantine=quarantine,
                    by=None,
                    now=now,
                    via="command",
                )
            else:
                check_release(release_id=release.pk, by=None, now=now, via="command")
        except Refused as refused:
            self.note(refused)
            self.stderr.write(f"{release.plugin.key}@{release.version}: {refused.sentence}")
            return False
        self.stdout.write(f"{release.plugin.key}@{release.version}: holds")
        return True
