"""Typed readers of environment variables; a value that cannot be read stops the start."""

import os
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from upgradeconsole.database_url import BadDatabaseUrl, DatabaseAddress, parse_database_url

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


def env_int(name: str, default: int) -> int:
    """Return a whole number; raise ImproperlyConfigured for anything else."""
    raw = os.environ.get(name)
    if raw is None:
        return default
    try:
        return int(raw)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}={raw!r} is not a whole number.") from error


def env_list(name: str, default: str = "") -> list[str]:
    """Return the comma-separated entries without blanks."""
    return [entry.strip() for entry in env_str(name, default).split(",") if entry.strip()]


def env_database(name: str) -> DatabaseAddress | None:
    """Return the database that the variable names, None where it is not set."""
    raw = os.environ.get(name, "").strip()
    if not raw:
        return None
    try:
        return parse_database_url(raw)
    except BadDatabaseUrl as error:
        # Never the value itself: it holds a password.
        raise ImproperlyConfigured(f"{name}: {error}.") from None


def env_secret_given(name: str) -> str:
    """Return a secret from NAME or from the file NAME_FILE, '' where neither is set."""
    direct = os.environ.get(name)
    if direct:
        return direct
    named_file = os.environ.get(f"{name}_FILE")
    if not named_file:
        return ""
    try:
        return Path(named_file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ImproperlyConfigured(f"{name}_FILE={named_file!r}: {error}.") from error


def env_secret(name: str, *, made_at: Path) -> str:
    """Return a secret from NAME, from the file NAME_FILE, or from a file made at first start.

    The made file is readable by its owner alone, so that a copy of the database is not enough
    to forge a session.
    """
    given = env_secret_given(name)
    if given:
        return given
    if not made_at.exists():
        made_at.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(made_at, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            # Another process of the same start got there first.
            return made_at.read_text(encoding="utf-8").strip()
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(secrets.token_urlsafe(48))
    return made_at.read_text(encoding="utf-8").strip()
