"""Keys that seal secrets are replaced while all stays open; so may SECRET_KEY be."""

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from batches.break_glass import offline
from batches.break_glass.offline_file import NotOurs, append, read_lines
from plans.models import Event, User
from plans.sealed_secrets import keyring, open_sealed, seal
from reports.models import Endpoint
from upgradeconsole.key_rotation import KeysAreGiven, SealsAreBroken, rotate_sealing_keys
from upgradeconsole.sealing import SealBroken, is_sealed

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
SECRET = "hook-s3cret-hook-s3cret"


@pytest.fixture(autouse=True)
def own_keys(settings: Any, tmp_path: Path) -> Path:
    settings.SEALING_KEYS, settings.SEALING_KEYS_FILE = "", tmp_path / "sealing_keys"
    return settings.SEALING_KEYS_FILE


def endpoint(secret: str = SECRET) -> Endpoint:
    made = Endpoint(name="pager", url="https://example.com/hook")
    made.keep_secret(secret)
    made.save()
    return made


def stored(row: Endpoint) -> str:
    return Endpoint.objects.values_list("sealed_secret", flat=True).get(pk=row.pk)


def test_the_database_has_the_sealed_secret_alone() -> None:
    row = endpoint()
    assert is_sealed(stored(row))
    assert SECRET not in stored(row)
    assert Endpoint.objects.get(pk=row.pk).open_secret() == SECRET
    row.keep_secret("")
    assert (row.has_secret, row.open_secret()) == (False, "")


def test_seeds_of_one_time_passwords_are_sealed_and_older_ones_still_work() -> None:
    olga = User.objects.create_user("olga@example.org", name="Olga")
    factor = TOTP.activate(olga, "JBSWY3DPEHPK3PXP").instance
    assert is_sealed(factor.data["secret"])
    older = Authenticator.objects.create(
        user=User.objects.create_user("aram@example.org", name="Aram"),
        type="totp",
        data={"secret": "JBSWY3DPEHPK3PXP"},
    )
    done = rotate_sealing_keys(new_key=True, forget_old=True, now=NOW)
    assert (done.resealed, done.in_all, done.broken) == (2, 2, ())
    older = Authenticator.objects.get(pk=older.pk)
    assert is_sealed(older.data["secret"])
    assert open_sealed(older.data["secret"]) == "JBSWY3DPEHPK3PXP"


def test_a_rotation_seals_anew_and_says_so_in_the_trail() -> None:
    row = endpoint()
    before = stored(row)
    done = rotate_sealing_keys(new_key=True, forget_old=False, now=NOW)
    assert (done.resealed, done.in_all, done.forgotten) == (1, 1, 0)
    assert stored(row) != before
    assert len(keyring().keys()) == 2
    assert open_sealed(before) == SECRET, "a backup of before can still be opened"
    event = Event.objects.get(kind="sealing_keys_rotated")
    assert "1 of 1 was sealed by it now" in event.sentence
    again = rotate_sealing_keys(new_key=False, forget_old=True, now=NOW)
    assert (again.resealed, again.forgotten) == (0, 1)
    assert open_sealed(stored(row)) == SECRET
    with pytest.raises(SealBroken):
        open_sealed(before)


def test_a_rotation_that_died_after_its_new_key_is_finished_by_the_next() -> None:
    row = endpoint()
    keyring().add_newest()
    assert open_sealed(stored(row)) == SECRET
    done = rotate_sealing_keys(new_key=False, forget_old=True, now=NOW)
    assert (done.resealed, done.forgotten) == (1, 1)
    assert open_sealed(stored(row)) == SECRET


def test_while_something_cannot_be_opened_no_key_is_forgotten(own_keys: Path) -> None:
    row = endpoint()
    own_keys.unlink()
    other = endpoint("another-s3cret-another")
    with pytest.raises(SealsAreBroken, match="the secret of pager"):
        rotate_sealing_keys(new_key=True, forget_old=True, now=NOW)
    assert len(keyring().keys()) == 2
    assert open_sealed(stored(other)) == "another-s3cret-another"
    with pytest.raises(SealBroken):
        open_sealed(stored(row))


def test_given_keys_are_used_and_not_written(settings: Any) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.SEALING_KEYS = old
    row = endpoint()
    settings.SEALING_KEYS = f"{new}\n{old}"
    with pytest.raises(KeysAreGiven, match="--reseal-only"):
        rotate_sealing_keys(new_key=True, forget_old=False, now=NOW)
    rotate_sealing_keys(new_key=False, forget_old=False, now=NOW)
    settings.SEALING_KEYS = new
    assert open_sealed(stored(row)) == SECRET


def test_the_command_tells_what_it_did_and_fails_for_what_is_lost(own_keys: Path) -> None:
    endpoint()
    out = io.StringIO()
    call_command("rotate_keys", "--forget-old", stdout=out)
    assert "1 of 1 secret was sealed by the newest key.\n1 older key was" in out.getvalue()
    own_keys.unlink()
    with pytest.raises(CommandError, match="cannot be opened: the secret of pager"):
        call_command("rotate_keys", stdout=out)
    own_keys.chmod(0o644)
    with pytest.raises(CommandError, match="chmod 600"):
        call_command("rotate_keys", stdout=out)


def test_sealing_nothing_is_nothing() -> None:
    assert (seal(""), open_sealed("")) == ("", "")


def test_an_offline_file_of_before_a_new_secret_key_is_still_ours(
    settings: Any, tmp_path: Path
) -> None:
    settings.SECRET_KEY = "the-key-of-last-year"
    file = tmp_path / "plan.jsonl"
    append(file, [{"line": "plan"}], key=offline.key())
    settings.SECRET_KEY = "the-key-of-this-year"
    append(file, [{"line": "touched"}], key=offline.key())
    with pytest.raises(NotOurs):
        read_lines(file, key=offline.key(), older=offline.older_keys())
    settings.SECRET_KEY_FALLBACKS = ["the-key-of-last-year"]
    bodies, _cut_off = read_lines(file, key=offline.key(), older=offline.older_keys())
    assert [body["line"] for body in bodies] == ["plan", "touched"]
