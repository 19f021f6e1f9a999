"""Secrets: files that only their owner reads, seals that only the keys open, lines without them."""

import json
import logging
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

from upgradeconsole import known_secrets
from upgradeconsole.known_secrets import MASK, is_secret_name, masked, masked_json, remember
from upgradeconsole.log_lines import INDENT, SafeFormatter, without_secrets
from upgradeconsole.sealing import Keyring, KeysUnusable, SealBroken, is_sealed
from upgradeconsole.secret_environ import (
    SecretEnviron,
    SecretFileUnreadable,
    from_file,
    remember_environment,
)
from upgradeconsole.secret_files import (
    SecretFileRefused,
    read_secret_file,
    replace_secret_file,
    secret_file,
)

CANARY = "c4nary-" + "s3cret-" * 3


# Files.


def test_a_secret_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    old = os.umask(0o000)
    try:
        assert secret_file(path, lambda: b"first") == b"first"
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret_file(path, lambda: pytest.fail("made again")) == b"first"
    assert [file.name for file in path.parent.iterdir()] == ["key"]


def test_of_many_that_start_at_once_one_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with ThreadPoolExecutor(16) as pool:
        seen = set(pool.map(lambda n: secret_file(path, lambda: b"%d" % n), range(64)))
    assert seen == {path.read_bytes()}


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o601])
def test_a_file_that_others_may_use_is_refused_with_what_to_type(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    secret_file(path, lambda: b"x")
    path.chmod(mode)
    with pytest.raises(SecretFileRefused, match=f"chmod 600 {path}"):
        secret_file(path, lambda: b"y")
    assert path.read_bytes() == b"x"


def test_no_link_and_no_folder_and_no_empty_file_is_taken(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    secret_file(real, lambda: b"x")
    link.symlink_to(real)
    with pytest.raises(SecretFileRefused, match="no link"):
        secret_file(link, lambda: b"y")
    (tmp_path / "folder").mkdir(mode=0o700)
    with pytest.raises(SecretFileRefused, match="no plain file"):
        secret_file(tmp_path / "folder", lambda: b"y")
    real.write_bytes(b"\n")
    with pytest.raises(SecretFileRefused, match="is empty"):
        read_secret_file(real)


def test_where_no_file_can_be_made_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SecretFileRefused, match="cannot be"):
        secret_file(tmp_path / "file" / "key", lambda: b"x")


def test_a_replaced_file_is_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    secret_file(path, lambda: b"x")
    replace_secret_file(path, b"y")
    assert read_secret_file(path) == b"y"
    assert len(list(tmp_path.iterdir())) == 1


# Seals.


def test_what_is_sealed_is_opened_by_its_own_keys_alone(tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "keys")
    sealed = ring.seal(CANARY)
    assert is_sealed(sealed)
    assert CANARY not in sealed
    assert Keyring(tmp_path / "keys").open(sealed) == CANARY
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o600
    with pytest.raises(SealBroken, match="bring back the key file"):
        Keyring(tmp_path / "others").open(sealed)
    with pytest.raises(SealBroken):
        ring.open(sealed[:-4] + "AAA=")
    with pytest.raises(SealBroken, match="was not sealed"):
        ring.open("plain text")


def test_the_newest_key_seals_and_all_open_until_they_are_forgotten(tmp_path: Path) -> None:
    ring, other = Keyring(tmp_path / "keys"), Keyring(tmp_path / "keys")
    old = ring.seal(CANARY)
    assert other.open(old) == CANARY
    ring.add_newest()
    new = ring.seal(CANARY)
    assert (ring.is_newest(old), ring.is_newest(new)) == (False, True)
    # Another process, which has read the keys before, has both too.
    assert (other.open(new), other.open(old)) == (CANARY, CANARY)
    assert other.is_newest(other.seal("x"))
    assert ring.keep_newest() == 1
    assert other.open(new) == CANARY
    with pytest.raises(SealBroken):
        other.open(old)


def test_keys_of_the_environment_are_the_only_ones(tmp_path: Path) -> None:
    new, old = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    sealed = Keyring(tmp_path / "keys", old).seal(CANARY)
    assert Keyring(tmp_path / "keys", f"{new},{old}").open(sealed) == CANARY
    assert not (tmp_path / "keys").exists()
    with pytest.raises(KeysUnusable, match="key 2 is none"):
        Keyring(tmp_path / "keys", f"{new}\nnonsense").keys()


def test_a_key_file_that_others_may_read_seals_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    Keyring(path).keys()
    path.chmod(0o644)
    with pytest.raises(KeysUnusable, match="may be read by others"):
        Keyring(path).seal(CANARY)


# The environment.


def test_name_file_stands_for_name_and_is_masked_from_then_on(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{CANARY}\n")
    environ = SecretEnviron({"TOKEN_FILE": str(file), "OTHER": "plainly-given", "EMPTY": ""})
    assert environ["TOKEN"] == CANARY
    assert environ.get("OTHER") == "plainly-given"
    assert environ.get("MISSING") is None
    assert masked(f"Bearer {CANARY} of plainly-given") == f"Bearer {MASK} of {MASK}"


def test_a_file_that_cannot_be_read_is_named_and_its_content_is_not(tmp_path: Path) -> None:
    with pytest.raises(SecretFileUnreadable, match="PW_FILE='/no/such': No such file"):
        from_file("PW", {"PW_FILE": "/no/such"})
    large = tmp_path / "large"
    large.write_bytes(b"x" * 70_000)
    with pytest.raises(SecretFileUnreadable, match="more than 65536 bytes"):
        from_file("PW", {"PW_FILE": str(large)})
    assert SecretEnviron({"PW_FILE": "/no/such"}).get("PW") is None


def test_what_the_environment_calls_a_secret_is_known_at_the_start(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from-a-file-of-its-own")
    remember_environment(
        {
            "DATABASE_URL": "postgres://console:pass-of-the-db@db/x",
            "FLEET_TOKEN": CANARY,
            "SECRET_KEY_FILE": str(file),
            "GONE_SECRET_FILE": "/no/such",
            "HOME": "/home/somebody",
        }
    )
    for secret in ("pass-of-the-db", CANARY, "from-a-file-of-its-own"):
        assert masked(f"a {secret} b") == f"a {MASK} b"
    assert masked("/home/somebody") == "/home/somebody"


# Masking.


def test_what_is_short_is_not_masked_since_it_stands_in_half_of_all_words() -> None:
    remember("acorn", "      ", "")
    assert masked("acorn was upgraded") == "acorn was upgraded"


def test_the_longer_secret_goes_as_a_whole_before_its_part_does() -> None:
    remember("abcdefgh", "Bearer abcdefgh")
    assert masked("Authorization: Bearer abcdefgh!") == f"Authorization: {MASK}!"


def test_a_secret_is_found_as_json_and_repr_spell_it() -> None:
    secret = 'quo"ted\\and\nbroken-\u00e9'
    remember(secret)
    for told in (secret, repr(secret), json.dumps(secret, ensure_ascii=False), json.dumps(secret)):
        assert "ted" not in masked(f"x {told} y"), told


def test_json_is_masked_to_its_leaves_and_keys() -> None:
    remember(CANARY)
    value = {"a": [CANARY, 1, None, {"b": f"x{CANARY}"}], CANARY: (CANARY,)}
    assert masked_json(value) == {"a": [MASK, 1, None, {"b": f"x{MASK}"}], MASK: [MASK]}


def test_only_so_many_are_remembered_and_the_newest_stay() -> None:
    remember(*(f"secret-number-{n:05d}" for n in range(known_secrets.MOST + 50)))
    newest = f"secret-number-{known_secrets.MOST + 49:05d}"
    assert masked(newest) == MASK
    assert masked("secret-number-00000") == "secret-number-00000"


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="*\0"), min_size=8, max_size=40).filter(
        lambda text: len(text.strip()) >= 8
    ),
    st.text(),
    st.text(),
)
def test_no_text_around_a_secret_hides_it_from_the_mask(secret, before, after):
    known_secrets.forget_all()
    remember(secret)
    assert secret.strip() not in masked(before + secret + after).replace(MASK, "\0")


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *(("SECRET_KEY", True), ("DATABASE_URL", True), ("X-Api-Key", True), ("Cookie", True)),
        *(("password1", True), ("sealed_secret", True), ("Authorization", True)),
        *(("tenant", False), ("path", False), ("keys", False), ("author", False)),
    ],
)
def test_names_tell_what_is_secret(name, secret):
    assert is_secret_name(name) is secret


# Log lines.


def line_of(message: str, *args: object, exc_info: Any = None) -> str:
    record = logging.LogRecord("plans", logging.INFO, __file__, 1, message, args, exc_info)
    return SafeFormatter("%(levelname)s %(name)s: %(message)s").format(record)


def test_a_record_is_one_line_whatever_stands_in_it() -> None:
    forged = "x\n2026-01-01 INFO plans: approved\r\x1b[31m\u2028end"
    assert line_of("plan %s", forged) == (
        "INFO plans: plan x\\n2026-01-01 INFO plans: approved\\r\\x1b[31m\\u2028end"
    )


def test_a_traceback_is_kept_masked_and_no_line_of_it_can_pass_for_a_record() -> None:
    remember(CANARY)
    try:
        raise RuntimeError(f"refused {CANARY}\n2026-01-01 INFO plans: forged")
    except RuntimeError as error:
        info = (type(error), error, error.__traceback__)
    first, *rest = line_of("it failed", exc_info=info).split("\n")
    assert first == "INFO plans: it failed"
    assert rest
    assert all(line.startswith(INDENT) for line in rest)
    assert CANARY not in "\n".join(rest)
    assert "RuntimeError: refused ***" in "\n".join(rest)


@pytest.mark.parametrize(
    "told",
    [
        "Authorization: Bearer abcdef123456",
        "basic YWxhZGRpbjpvcGVuc2VzYW1l",
        "postgres://console:hunter2hunter2@db:5432/x",
        "password=hunter2hunter2 next",
        "{'api_key': 'hunter2hunter2'}",
        '{"client_secret": "hunter2 with \\" and blanks"}',
        "X-Api-Key: hunter2hunter2",
    ],
)
def test_what_looks_like_a_secret_is_masked_though_nobody_knows_it(told):
    shown = without_secrets(told)
    assert MASK in shown
    assert not [word for word in ("hunter2", "abcdef", "YWxh") if word in shown]


def test_ordinary_lines_stay_as_they_are():
    for told in (
        "Could not observe batch 12 of plan 3f",
        "the tokens of 3 people expired",
        "http://127.0.0.1:9700/tenants/acorn answered 500",
        "a bearer of bad news",
    ):
        assert without_secrets(told) == told


def test_arguments_that_do_not_fit_lose_no_record():
    assert "its arguments do not fit" in line_of("%d tenants", "many")


def test_a_program_that_dies_says_why_without_its_secrets() -> None:
    program = (
        "from upgradeconsole.log_lines import mask_tracebacks;"
        "from upgradeconsole.known_secrets import remember;"
        f"remember({CANARY!r}); mask_tracebacks();"
        "import threading;"
        f"t = threading.Thread(target=lambda: int('thread {CANARY}')); t.start(); t.join();"
        f"raise ValueError('main {CANARY}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "ValueError: main ***" in done.stderr
    assert "'thread ***'" in done.stderr
    assert CANARY not in done.stderr
