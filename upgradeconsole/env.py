"""Typed readers of environment variables; a value that cannot be read stops the start."""

import os
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from upgradeconsole.database_url import BadDatabaseUrl, DatabaseAddress, parse_database_url
from upgradeconsole.known_secrets import remember
from upgradeconsole.secret_environ import SecretFileUnreadable, from_file
from upgradeconsole.secret_files import SecretFileRefused, secret_file
from upgradeconsole.served_at import BadAddress, ServedAt, host_name, served_at

TRUE = {"1", "true", "yes", "on"}
FALSE = {"0", "false", "no", "off", ""}


def env_str(name: str, default: str = "") -> str:
    """Return the variable's text, or the default where it is not set."""
    return os.environ.get(name, default)


def env_bool(name: str, *, default: bool) -> bool:
    """Return a switch; raise ImproperlyConfigured for a word that is neither yes nor no."""
    raw = os.environ.get(name)
    if raw is None:
        return default
    word = raw.strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise ImproperlyConfigured(f"{name}={raw!r} is neither true nor false; write 1 or 0.")


def env_int(name: str, default: int, *, least: int = 0) -> int:
    """Return a whole number; raise ImproperlyConfigured for anything else, or less than `least`."""
    raw = os.environ.get(name)
    if raw is None:
        return default
    try:
        number = int(raw)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}={raw!r} is not a whole number.") from error
    if number < least:
        raise ImproperlyConfigured(f"{name}={raw!r} is too small; write {least} or more.")
    return number


def env_list(name: str, default: str = "") -> list[str]:
    """Return the comma-separated entries without blanks."""
    return [entry.strip() for entry in env_str(name, default).split(",") if entry.strip()]


def env_address(name: str, default: str) -> ServedAt:
    """Return the console's own address; raise ImproperlyConfigured for one that cannot be it."""
    try:
        return served_at(env_str(name, default))
    except BadAddress as error:
        raise ImproperlyConfigured(f"{name}: {error}.") from error


def env_hosts(name: str) -> list[str]:
    """Return the names of hosts, by commas; raise ImproperlyConfigured for what is none."""
    try:
        return [host_name(entry) for entry in env_list(name)]
    except BadAddress as error:
        raise ImproperlyConfigured(f"{name}: {error}.") from error


def env_database(name: str) -> DatabaseAddress | None:
    """Return the database that NAME or the file NAME_FILE names, None where neither is set."""
    raw = env_hidden(name)
    if not raw:
        return None
    try:
        address = parse_database_url(raw)
    except BadDatabaseUrl as error:
        # Never the value itself: it holds a password.
        raise ImproperlyConfigured(f"{name}: {error}.") from None
    remember(address.password)
    return address


def env_hidden(name: str) -> str:
    """Return a secret from NAME or from the file NAME_FILE, '' where neither is set.

    It is never written down from then on.
    """
    value = os.environ.get(name, "").strip()
    if not value:
        try:
            value = from_file(name) or ""
        except SecretFileUnreadable as error:
            raise ImproperlyConfigured(f"{error}.") from error
    remember(value)
    return value


def env_hidden_list(name: str) -> list[str]:
    """Return the secrets that NAME or the file NAME_FILE lists, by commas or line by line."""
    entries = [entry.strip() for entry in env_hidden(name).replace("\n", ",").split(",")]
    remember(*entries)
    return [entry for entry in entries if entry]


def env_secret(name: str, *, made_at: Path) -> str:
    """Return a secret from NAME, from the file NAME_FILE, or from a file made at first start.

    The made file is readable by its owner alone, so that a copy of the database is not enough
    to forge a session.
    """
    named = env_hidden(name)
    if named:
        return named
    try:
        made = secret_file(made_at, lambda: secrets.token_urlsafe(48).encode())
    except SecretFileRefused as refused:
        raise ImproperlyConfigured(f"{refused}.") from refused
    value = made.decode().strip()
    remember(value)
    return value
