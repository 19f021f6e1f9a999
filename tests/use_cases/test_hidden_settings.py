"""Settings that are secret come from NAME or NAME_FILE, and never show up in an error."""

import os
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from upgradeconsole.env import env_database, env_hidden, env_hidden_list, env_secret
from upgradeconsole.known_secrets import MASK, masked

SECRET = "s3cret-of-the-environment"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "mounted"
    made.write_text(f"{SECRET}\n")
    return made


def test_a_secret_is_read_from_its_variable_or_its_file(monkeypatch, file):
    monkeypatch.delenv("PW", raising=False)
    assert env_hidden("PW") == ""
    monkeypatch.setenv("PW_FILE", str(file))
    assert env_hidden("PW") == SECRET
    assert masked(f"x {SECRET}") == f"x {MASK}"
    monkeypatch.setenv("PW", "given-directly")
    assert env_hidden("PW") == "given-directly"


def test_a_file_that_is_not_there_stops_the_start(monkeypatch):
    monkeypatch.setenv("PW_FILE", "/no/such/file")
    with pytest.raises(ImproperlyConfigured, match="PW_FILE='/no/such/file': No such file"):
        env_hidden("PW")


def test_several_are_listed_by_commas_or_lines(monkeypatch, file):
    monkeypatch.setenv("KEYS", "key-of-2026, key-of-2025,")
    assert env_hidden_list("KEYS") == ["key-of-2026", "key-of-2025"]
    monkeypatch.delenv("KEYS")
    file.write_text("key-of-2024\nkey-of-2023\n")
    monkeypatch.setenv("KEYS_FILE", str(file))
    assert env_hidden_list("KEYS") == ["key-of-2024", "key-of-2023"]
    assert masked("key-of-2023") == MASK


def test_the_databases_address_may_be_a_file_and_its_password_is_masked(monkeypatch, file):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    file.write_text(f"postgres://console:{SECRET}@db.example/console\n")
    monkeypatch.setenv("DATABASE_URL_FILE", str(file))
    address = env_database("DATABASE_URL")
    assert address is not None
    assert (address.host, address.password) == ("db.example", SECRET)
    assert masked(SECRET) == MASK
    file.write_text(f"mysql://console:{SECRET}@db.example/console")
    with pytest.raises(ImproperlyConfigured) as refused:
        env_database("DATABASE_URL")
    assert SECRET not in str(refused.value)


def test_the_secret_key_is_made_once_and_refused_when_others_may_read_it(monkeypatch, tmp_path):
    monkeypatch.delenv("SECRET_KEY", raising=False)
    monkeypatch.delenv("SECRET_KEY_FILE", raising=False)
    path = tmp_path / "secret_key"
    made = env_secret("SECRET_KEY", made_at=path)
    assert len(made) >= 50
    assert env_secret("SECRET_KEY", made_at=path) == made
    assert masked(made) == MASK
    os.chmod(path, 0o644)
    with pytest.raises(ImproperlyConfigured, match="may be read by others"):
        env_secret("SECRET_KEY", made_at=path)
