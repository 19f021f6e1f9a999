"""Copies of a console: whole or not there, of one moment, with the keys elsewhere."""

import json
import shutil
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from upgradeconsole import backup
from upgradeconsole.backup import (
    BackupRefused,
    Contents,
    check_backup,
    connection_string,
    take_backup,
)
from upgradeconsole.database_url import DatabaseAddress

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a data folder as a console leaves it, its database in WAL mode."""
    folder = tmp_path / "data"
    for name, text in {
        "anchors/2026-11-20.txt": "checkpoint 1",
        "config/deployers.yaml": "deployers: {}",
        "reports/one.pdf": "%PDF-1.7",
        "console-keys/checkpoints.pem": "private",
        "secret_key": "s3cret",
        "logs/web.log": "not copied",
    }.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    with closing(sqlite3.connect(folder / "console.sqlite3")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE account (name TEXT, amount INTEGER)")
        database.execute("INSERT INTO account VALUES ('a', 500), ('b', 500)")
        database.execute("CREATE TABLE filler (text TEXT)")
        database.executemany("INSERT INTO filler VALUES (?)", [("x" * 4000,)] * 2000)
        database.commit()
    return folder


def contents(data: Path) -> Contents:
    return Contents(
        database=data / "console.sqlite3",
        before={"anchors": data / "anchors"},
        after={"config": data / "config", "reports": data / "reports", "offline": data / "offline"},
        keys={"secret_key": data / "secret_key", "console-keys": data / "console-keys"},
    )


def take(data: Path, target: Path, keys: Path | None = None) -> backup.Manifest:
    return take_backup(contents(data), target, keys_target=keys, version="1.0", now=NOW)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_copy_holds_the_files_and_the_keys_are_elsewhere(data: Path, tmp_path: Path) -> None:
    manifest = take(data, tmp_path / "copy", tmp_path / "keys")

    copied = {
        "anchors/2026-11-20.txt",
        "config/deployers.yaml",
        "console.sqlite3",
        "reports/one.pdf",
    }
    assert files(tmp_path / "copy") == copied | {"backup.json"}
    assert {file.path for file in manifest.files} == copied
    assert files(tmp_path / "keys") == {"secret_key", "console-keys/checkpoints.pem"}
    assert check_backup(tmp_path / "copy") == []
    both = [tmp_path / "copy", tmp_path / "keys"]
    assert {oct(folder.stat().st_mode & 0o777) for folder in both} == {"0o700"}
    every = [path for folder in both for path in folder.rglob("*") if path.is_file()]
    assert {oct(path.stat().st_mode & 0o777) for path in every} == {"0o600"}


def test_the_database_is_copied_as_of_one_moment_while_others_write(
    data: Path, tmp_path: Path
) -> None:
    ended, moved = threading.Event(), threading.Event()

    def move_about() -> None:
        with closing(sqlite3.connect(data / "console.sqlite3", timeout=30)) as database:
            while not ended.is_set():
                with database:
                    database.execute("UPDATE account SET amount = amount - 1 WHERE name = 'a'")
                    database.execute("UPDATE account SET amount = amount + 1 WHERE name = 'b'")
                moved.set()

    mover = threading.Thread(target=move_about)
    mover.start()
    try:
        assert moved.wait(20)
        for number in range(5):
            take(data, tmp_path / f"copy-{number}")
    finally:
        ended.set()
        mover.join()

    for number in range(5):
        with closing(sqlite3.connect(tmp_path / f"copy-{number}" / "console.sqlite3")) as copy:
            (total,) = copy.execute("SELECT SUM(amount) FROM account").fetchone()
        assert total == 1000


def test_a_copy_lands_in_an_empty_folder_and_never_over_another_one(
    data: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    take(data, tmp_path / "empty")
    before = files(tmp_path / "empty")

    with pytest.raises(BackupRefused, match="holds something already"):
        take(data, tmp_path / "empty")

    assert files(tmp_path / "empty") == before


@pytest.mark.parametrize(("copy", "keys"), [("copy", "copy/keys"), ("keys/copy", "keys")])
def test_keys_are_not_put_beside_what_they_open(
    data: Path, tmp_path: Path, copy: str, keys: str
) -> None:
    with pytest.raises(BackupRefused, match="kept apart"):
        take(data, tmp_path / copy, tmp_path / keys)


def test_a_copy_is_not_put_into_what_is_copied(data: Path, tmp_path: Path) -> None:
    with pytest.raises(BackupRefused, match=r"reports, which is copied itself"):
        take(data, data / "reports" / "copy")


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%20b", "a b"])
def test_a_folder_may_have_any_name(data: Path, tmp_path: Path, name: str) -> None:
    data = data.rename(tmp_path / name)

    take(data, tmp_path / f"copy of {name}")

    with closing(sqlite3.connect(tmp_path / f"copy of {name}" / "console.sqlite3")) as copy:
        assert copy.execute("SELECT COUNT(*) FROM account").fetchone() == (2,)


def test_what_links_lead_to_is_copied_once(data: Path, tmp_path: Path) -> None:
    (tmp_path / "other disk").mkdir()
    (tmp_path / "other disk" / "old.pdf").write_text("%PDF-1.7 old")
    (data / "reports" / "2025").symlink_to(tmp_path / "other disk")
    (data / "reports" / "round").symlink_to(data / "reports")

    take(data, tmp_path / "copy")

    copied = {path for path in files(tmp_path / "copy") if path.startswith("reports/")}
    assert copied == {"reports/one.pdf", "reports/2025/old.pdf"}


def test_a_file_that_goes_meanwhile_is_no_part_of_the_copy(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / "reports" / "draft.part").write_text("%PDF-1.7")
    copyfile = shutil.copyfile

    def copy(source: Path, to: Path) -> Path:
        if source.suffix == ".part":
            source.rename(source.with_name("two.pdf"))
        return copyfile(source, to)

    monkeypatch.setattr(shutil, "copyfile", copy)

    take(data, tmp_path / "copy")

    assert check_backup(tmp_path / "copy") == []


def test_where_the_keys_cannot_be_placed_there_is_no_copy_either(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def refuse(path: Path, to: Path) -> Path:
        if to.name == "keys":
            raise OSError(16, "Device or resource busy", str(to))
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", refuse)
    (tmp_path / "there").mkdir()

    with pytest.raises(BackupRefused, match="no backup was made"):
        take(data, tmp_path / "there" / "copy", tmp_path / "there" / "keys")

    assert list((tmp_path / "there").iterdir()) == []


def test_a_disk_of_its_own_is_asked_for_a_folder_on_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stick").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "stick")

    with pytest.raises(BackupRefused, match="name a folder on it"):
        take(data, tmp_path / "copy", tmp_path / "stick")

    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        ("no room", "0 MB left, and the copy needs"),
        ("no database", "cannot be copied"),
        ("no permission", "no backup was made"),
        ("damaged", "The copy is damaged: "),
    ],
)
def test_where_it_fails_nothing_is_left_behind(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, says: str
) -> None:
    if trouble == "no room":
        monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=0))
    elif trouble == "no database":
        (data / "console.sqlite3").unlink()
    elif trouble == "no permission":

        def refuse(source: Path, _to: Path) -> None:
            raise PermissionError(13, "Permission denied", str(source))

        monkeypatch.setattr(shutil, "copyfile", refuse)
    else:
        with (data / "console.sqlite3").open("r+b") as file:
            file.seek(8192)
            file.write(b"\xff" * 4096)
    (tmp_path / "there").mkdir()

    with pytest.raises(BackupRefused, match=says):
        take(data, tmp_path / "there" / "copy", tmp_path / "there" / "keys")

    assert list((tmp_path / "there").iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("changed", "reports/one.pdf is not what was copied."),
        ("missing", "reports/one.pdf is missing."),
        ("no manifest", "this is no backup"),
        ("newer format", "format 2, and this console reads 1"),
    ],
)
def test_a_check_names_what_is_wrong(data: Path, tmp_path: Path, damage: str, says: str) -> None:
    copy = tmp_path / "copy"
    take(data, copy)
    if damage == "changed":
        (copy / "reports/one.pdf").write_text("%PDF-1.7 forged")
    elif damage == "missing":
        (copy / "reports/one.pdf").unlink()
    elif damage == "no manifest":
        (copy / "backup.json").unlink()
    else:
        told = json.loads((copy / "backup.json").read_text())
        (copy / "backup.json").write_text(json.dumps({**told, "format": 2}))

    (found,) = check_backup(copy)

    assert says in found


def test_the_password_is_not_in_the_connection_string() -> None:
    address = DatabaseAddress(
        "console", "o'neil", "hidden", "db.example.org", "5432", {"sslmode": "verify-full"}
    )

    told = connection_string(address)

    assert told == (
        "dbname='console' user='o\\'neil' host='db.example.org' port='5432' sslmode='verify-full'"
    )
