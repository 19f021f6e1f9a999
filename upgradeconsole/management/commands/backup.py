"""`manage.py backup`: copy a console that runs, and look whether a copy is whole."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.utils import timezone

from batches.configured import is_example
from upgradeconsole.backup import (
    BackupRefused,
    Contents,
    Manifest,
    check_backup,
    read_manifest,
    take_backup,
)
from upgradeconsole.database_url import DatabaseAddress


class Command(BaseCommand):
    """Copy database, files and keys, or check a copy."""

    help = (
        "Copy the database, configuration, reports and anchors to a new folder, and the keys to"
        " another one. The console may run meanwhile. docs/installing.md says how to restore."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take where to, and where the keys go."""
        parser.add_argument("folder", type=Path, help="a folder that is not there yet")
        how = parser.add_mutually_exclusive_group(required=True)
        how.add_argument("--keys", metavar="DIR", type=Path, help="and the keys to this one")
        how.add_argument(
            "--without-keys", action="store_true", help="they are kept elsewhere already"
        )
        how.add_argument("--check", action="store_true", help="only check the copy that is there")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it and say what there is now; fail with what is wrong."""
        folder = options["folder"].resolve()
        if options["check"]:
            found = check_backup(folder)
            if found:
                raise CommandError("\n".join(found))
            self.stdout.write(f"The copy is whole: {_words(read_manifest(folder))}.")
            return
        keys = options["keys"].resolve() if options["keys"] else None
        try:
            manifest = take_backup(
                contents(), folder, keys_target=keys, version=settings.VERSION, now=timezone.now()
            )
        except BackupRefused as refused:
            raise CommandError(str(refused)) from refused
        self.stdout.write(f"{folder}: {_words(manifest)}.")
        if keys is not None:
            self.stdout.write(f"{keys}: the keys. Keep them apart from the copy.")


def contents() -> Contents:
    """Return what belongs to this installation, by its settings."""
    address: DatabaseAddress | None = settings.DATABASE_ADDRESS
    files = (
        settings.DEPLOYERS_FILE,
        settings.DICTIONARY_FILE,
        settings.OUTBOUND_FILE,
        settings.POLICIES_FILE,
    )
    return Contents(
        database=address or Path(connection.settings_dict["NAME"]),
        before={"anchors": settings.AUDIT_ANCHOR_DIR},
        after={
            "config": settings.DATA_DIR / "config",
            # Wherever the settings have them: in a data folder they are found here. There a shipped
            # example would be taken for what somebody wrote.
            **{f"config/{file.name}": file for file in map(Path, files) if not is_example(file)},
            "reports": settings.REPORTS_DIR,
            "offline": settings.DATA_DIR / "offline",
            settings.LOCAL_ALERTS_FILE.name: settings.LOCAL_ALERTS_FILE,
        },
        keys={
            "secret_key": settings.DATA_DIR / "secret_key",
            "sealing_keys": settings.SEALING_KEYS_FILE,
            "console-keys": settings.CONSOLE_KEYS_DIR,
        },
    )


def _words(manifest: Manifest) -> str:
    reports = sum(file.path.startswith("reports/") for file in manifest.files)
    size = -(-manifest.size // 1_000_000)
    return (
        f"{len(manifest.files)} files, {reports} of them reports, {size} MB,"
        f" made {manifest.made_at} by version {manifest.version}"
    )
