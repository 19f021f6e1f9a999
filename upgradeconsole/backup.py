"""Copies of a console that runs: its database as of one moment, its files, its keys apart.

A copy is whole or it is not there: it is made beside its place and moved there at the end. It has
the layout of a data folder, so to restore is to start a console on it (docs/installing.md). No
Django.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from upgradeconsole.database_url import DatabaseAddress

MANIFEST = "backup.json"
SQLITE_FILE = "console.sqlite3"
POSTGRESQL_FILE = "console.pgdump"
FORMAT = 1
# What else is written while a backup is made, and what a file system keeps for itself.
ROOM = 1.1


class BackupRefused(Exception):
    """No backup is made, or none was left behind; the sentence says what to do."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What is copied, by where it comes from.

    `before` names what must not be newer than the database (anchors of its trail), `after` what the
    database refers to (reports), each under its name in the copy; `keys` is kept apart from both.
    """

    database: Path | DatabaseAddress
    before: Mapping[str, Path]
    after: Mapping[str, Path]
    keys: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Copied:
    """One file of a copy. `size` in bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a copy holds, as it stands in its `backup.json`."""

    format: int
    version: str
    made_at: str
    files: tuple[Copied, ...]

    @property
    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(file.size for file in self.files)


def take_backup(
    contents: Contents, target: Path, *, keys_target: Path | None, version: str, now: datetime
) -> Manifest:
    """Copy everything to `target`, and the keys to `keys_target` unless it is None.

    The console may run meanwhile. Both folders are made, for their owner alone; raises
    BackupRefused where they hold something already, where there is no room, or where the
    database cannot be copied, and leaves nothing behind then.
    """
    folders = [target] if keys_target is None else [target, keys_target]
    if keys_target is not None and (_within(keys_target, target) or _within(target, keys_target)):
        raise BackupRefused(
            f"{keys_target} and {target} are inside each other: keys are kept apart from what they"
            " open."
        )
    drafts = {folder: folder.with_name(f".{folder.name}.{os.getpid()}") for folder in folders}
    try:
        for folder in folders:
            _require_new(folder)
            _require_outside(folder, contents)
        _require_room(contents, target)
        for draft in drafts.values():
            draft.mkdir(mode=0o700, parents=True)
        _copy_named(contents.before, drafts[target])
        _copy_database(contents.database, drafts[target])
        _copy_named(contents.after, drafts[target])
        manifest = _write_manifest(drafts[target], version=version, now=now)
        if keys_target is not None:
            _copy_named(contents.keys, drafts[keys_target])
        found = check_backup(drafts[target])
        if found:
            raise BackupRefused("The copy is damaged: " + " ".join(found))
        _place(drafts)
    except OSError as error:
        raise BackupRefused(
            f"{error.filename or target}: {error.strerror}; no backup was made."
        ) from error
    finally:
        for draft in drafts.values():
            shutil.rmtree(draft, ignore_errors=True)
    return manifest


def _place(drafts: Mapping[Path, Path]) -> None:
    """Move every draft to its folder, or none; raise OSError."""
    placed: list[Path] = []
    try:
        for folder, draft in drafts.items():
            _reach_the_disk(draft)
            if folder.exists():
                folder.rmdir()
            draft.rename(folder)
            placed.append(folder)
            _reach_the_disk(folder.parent, below=False)
    except OSError:
        for folder in placed:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def check_backup(folder: Path) -> list[str]:
    """Return what is wrong with a copy, a sentence each; nothing where it is whole.

    Every file is read again and compared with what was written down, and the database is asked
    whether it holds together.
    """
    try:
        manifest = read_manifest(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{folder / MANIFEST} cannot be read ({error}); this is no backup."]
    found = []
    for file in manifest.files:
        path = folder / file.path
        if not path.is_file():
            found.append(f"{file.path} is missing.")
        elif _digest(path) != file.sha256:
            found.append(f"{file.path} is not what was copied.")
    if not found:
        found += _database_problems(folder)
    return found


def read_manifest(folder: Path) -> Manifest:
    """Return what the copy says of itself; raise OSError, ValueError, KeyError or TypeError."""
    told: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    if told["format"] != FORMAT:
        raise ValueError(f"format {told['format']}, and this console reads {FORMAT}")
    files = tuple(Copied(**file) for file in told["files"])
    return Manifest(told["format"], told["version"], told["made_at"], files)


def _require_new(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupRefused(f"{folder} holds something already; name a folder that is not there.")
    if folder.is_mount():
        # What is made beside it and moved there would be on another disk.
        raise BackupRefused(f"{folder} is a disk of its own; name a folder on it.")


def _require_outside(folder: Path, contents: Contents) -> None:
    for source in (*contents.before.values(), *contents.after.values(), *contents.keys.values()):
        if source.is_dir() and _within(folder, source):
            raise BackupRefused(
                f"{folder} is inside {source}, which is copied itself; name a folder elsewhere."
            )


def _require_room(contents: Contents, target: Path) -> None:
    files = [*contents.before.values(), *contents.after.values()]
    if isinstance(contents.database, Path):
        files.append(contents.database)
    wanted = int(ROOM * sum(_size(file) for source in files for file in _files_of(source)))
    there = next(folder for folder in target.resolve().parents if folder.exists())
    free = shutil.disk_usage(there).free
    if free < wanted:
        raise BackupRefused(
            f"{there} has {_megabytes(free)} MB left, and the copy needs {_megabytes(wanted)} MB."
        )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def _megabytes(size: int) -> int:
    return -(-size // 1_000_000)


def _within(folder: Path, outer: Path) -> bool:
    return folder.resolve().is_relative_to(outer.resolve())


def _files_of(source: Path) -> Iterator[Path]:
    """Yield the file, or each file below the folder, wherever links lead; raise OSError."""
    if source.is_file():
        yield source
    elif source.is_dir():
        seen: set[str] = set()
        for folder, folders, names in os.walk(source, followlinks=True, onerror=_rise):
            if (real := os.path.realpath(folder)) in seen:
                folders.clear()
                continue
            seen.add(real)
            folders.sort()
            yield from (path for name in sorted(names) if (path := Path(folder, name)).is_file())


def _rise(error: OSError) -> None:
    raise error


def _copy_named(sources: Mapping[str, Path], draft: Path) -> None:
    """Copy files and folders under their names; what is not there was never needed."""
    for name, source in sources.items():
        for path in _files_of(source):
            to = draft / name if path == source else draft / name / path.relative_to(source)
            to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                shutil.copyfile(path, to)
            except FileNotFoundError:
                # It went meanwhile, like the draft of a report that has its own name by now; what
                # the database refers to stays.
                continue
            to.chmod(0o600)


def _copy_database(database: Path | DatabaseAddress, draft: Path) -> None:
    if isinstance(database, Path):
        _copy_sqlite(database, draft / SQLITE_FILE)
    else:
        _dump_postgresql(database, draft / POSTGRESQL_FILE)


def _copy_sqlite(source: Path, to: Path) -> None:
    """Copy the database as of one moment; whoever writes meanwhile is not held up."""
    to.touch(mode=0o600)
    try:
        with (
            closing(sqlite3.connect(_uri(source, "mode=ro"), uri=True)) as reading,
            closing(sqlite3.connect(to)) as writing,
        ):
            # All pages in one step: in several, each commit meanwhile would begin it anew.
            reading.backup(writing, pages=-1)
            # One file that can be moved about; the console turns its own log on again.
            writing.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise BackupRefused(f"{source} cannot be copied: {error}.") from error


def _uri(database: Path, how: str) -> str:
    """Return the address by which SQLite opens this very file, whatever signs its name has."""
    return f"{database.resolve().as_uri()}?{how}"


def _dump_postgresql(address: DatabaseAddress, to: Path) -> None:
    """Let pg_dump write the database as of one moment, in its custom format."""
    command = ["pg_dump", "--format=custom", "--no-password", f"--file={to}"]
    _run_tool([*command, f"--dbname={connection_string(address)}"], password=address.password)
    to.chmod(0o600)


def connection_string(address: DatabaseAddress) -> str:
    """Return the address for libpq's own tools, without its password."""
    parts = {
        "dbname": address.name,
        "user": address.user,
        "host": address.host,
        "port": address.port,
        **address.parameters,
    }
    quoted = {
        name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in parts.items()
    }
    return " ".join(f"{name}='{value}'" for name, value in quoted.items() if value)


def _run_tool(command: Sequence[str], *, password: str = "") -> None:
    """Run one of PostgreSQL's tools; raise BackupRefused with what it says."""
    # On the command line everybody on the machine could read it.
    environ = {**os.environ, "PGPASSWORD": password} if password else None
    try:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise BackupRefused(
            f"{command[0]} is not there. Type:  sudo apt-get install postgresql-client"
        ) from error
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise BackupRefused(f"{command[0]} failed: {said}")


def _write_manifest(draft: Path, *, version: str, now: datetime) -> Manifest:
    files = tuple(
        Copied(str(path.relative_to(draft)), path.stat().st_size, _digest(path))
        for path in _files_of(draft)
    )
    manifest = Manifest(FORMAT, version, now.isoformat(timespec="seconds"), files)
    to = draft / MANIFEST
    to.write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")
    to.chmod(0o600)
    return manifest


def _reach_the_disk(folder: Path, *, below: bool = True) -> None:
    """Return when power may fail, or a stick be pulled out, and what is there is there."""
    for path in (folder, *(folder.rglob("*") if below else ())):
        opened = os.open(path, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _database_problems(folder: Path) -> list[str]:
    if (folder / POSTGRESQL_FILE).is_file():
        try:
            _run_tool(["pg_restore", "--list", str(folder / POSTGRESQL_FILE)])
        except BackupRefused as refused:
            return [str(refused)]
        return []
    path = folder / SQLITE_FILE
    if not path.is_file():
        return ["It holds no database."]
    try:
        # Immutable: a look must not leave files beside the copy.
        with closing(sqlite3.connect(_uri(path, "immutable=1"), uri=True)) as reading:
            rows = reading.execute("PRAGMA integrity_check").fetchall()
            rows += reading.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.Error as error:
        return [f"{SQLITE_FILE}: {error}."]
    return [f"{SQLITE_FILE}: {row}." for row in rows if row != ("ok",)]
