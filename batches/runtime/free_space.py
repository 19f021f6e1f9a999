"""Room on the disk: nothing new starts on a disk that fills up, and a rollback finds a reserve.

The watch keeps a file of some megabytes beside the database. When the disk is nearly full, or a
write failed because it is full, that file is removed: the journal of a rollback needs little room,
and from then on it has it. Starts and further batches wait until there is room again.
"""

import logging
import os
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import connection

from batches.alerting import alerts, local_alerts

logger = logging.getLogger(__name__)

MEGABYTE = 1_000_000
RESERVE_FILE = "disk-reserve"
KIND = "disk_low"
# What databases and the system say when a write finds no room.
_FULL = ("disk is full", "no space left", "could not extend file")


@dataclass(frozen=True, slots=True)
class Room:
    """What is free in the folder that has least, in bytes, and what has to be."""

    folder: Path
    free: int
    needed: int

    @property
    def problem(self) -> str:
        """Say what is wrong and what to do about it; empty when there is room enough."""
        if self.free >= self.needed:
            return ""
        return (
            f"the disk of {self.folder} has {self.free / MEGABYTE:.0f} MB left and an upgrade"
            f" starts with {self.needed / MEGABYTE:g} MB only; free some space there"
        )


def says_full(error: BaseException) -> bool:
    """Tell whether a failed write found no room."""
    return any(words in str(error).lower() for words in _FULL)


def room() -> Room:
    """Return how much room there is where it is scarcest."""
    free, folder = min((_free_in(folder), folder) for folder in _folders())
    return Room(folder, free, settings.MIN_FREE_MB * MEGABYTE)


def _folders() -> list[Path]:
    folders = [settings.DATA_DIR]
    if database := _database_folder():
        folders.insert(0, database)
    return folders


def _database_folder() -> Path | None:
    name = str(connection.settings_dict["NAME"])
    if connection.vendor != "sqlite" or name.startswith("file:"):
        return None
    return Path(name).parent


def _free_in(folder: Path) -> int:
    known = os.statvfs(folder)
    return known.f_bavail * known.f_frsize


def reserve_file() -> Path:
    """Return the file that keeps room free, beside the database where that is a file."""
    return (_database_folder() or settings.DATA_DIR) / RESERVE_FILE


def keep_reserve() -> bool:
    """Make the reserve unless it is there or would take the last room; tell whether it is there."""
    wanted, path = settings.DISK_RESERVE_MB * MEGABYTE, reserve_file()
    if path.exists():
        return True
    if _free_in(path.parent) - wanted < settings.MIN_FREE_MB * MEGABYTE:
        return False
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            if wanted:
                os.posix_fallocate(handle, 0, wanted)
        finally:
            os.close(handle)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        logger.warning("No reserve could be kept in %s: %s", path.parent, error)
        return False
    return True


def release_reserve(why: str) -> bool:
    """Remove the reserve, so that writes go on; tell whether there was one. Any process may."""
    path = reserve_file()
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    local_alerts.tell(KIND, f"{why}; the reserve {path} was removed so that rollbacks go on")
    return True


def release_when_full() -> None:
    """Remove the reserve as soon as hardly any room is left, before a write finds none."""
    free = _free_in(reserve_file().parent)
    if free < settings.DISK_RESERVE_MB * MEGABYTE // 4:
        release_reserve(f"the disk has {free / MEGABYTE:.1f} MB left")


def tell(now: datetime, told: Collection[str]) -> None:
    """Open the alert while the disk has too little room, close it when it has enough again.

    `told`: the keys of the alerts that are open.
    """
    found = room()
    is_open = alerts.alert_key(None, KIND) in told
    if found.problem:
        if not is_open:
            alerts.fire(
                plan=None,
                kind=KIND,
                sentence=f"nothing new starts: {found.problem}",
                now=now,
                payload={"folder": str(found.folder), "value": found.free, "unit": "bytes"},
            )
        return
    kept = keep_reserve()
    if is_open and kept:
        alerts.resolve(plan=None, kind=KIND, now=now)
