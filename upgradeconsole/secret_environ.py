"""The environment as files of secrets see it: NAME, or the content of the file in NAME_FILE.

On the ground floor: used by everything, imports nothing of the product beside it and no Django.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from upgradeconsole.known_secrets import is_secret_name, remember

MOST_BYTES = 65_536
_PASSWORD_IN_URL = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")


class SecretFileUnreadable(Exception):
    """NAME_FILE names a file that cannot be read; the sentence says which and why."""


def from_file(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return what the file in NAME_FILE holds, None where none is named.

    Raises SecretFileUnreadable.
    """
    named = environ.get(f"{name}_FILE")
    if not named:
        return None
    try:
        with Path(named).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise SecretFileUnreadable(f"{name}_FILE={named!r}: more than {MOST_BYTES} bytes")
        return content.decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SecretFileUnreadable(f"{name}_FILE={named!r}: {said}") from error


def remember_environment(environ: Mapping[str, str] = os.environ) -> None:
    """Remember every value of the environment whose name says that it is a secret.

    For programs that hand on what others write, before anything is known of their settings.
    """
    for name, value in environ.items():
        if not is_secret_name(name):
            continue
        if name.endswith("_FILE"):
            try:
                value = from_file(name.removesuffix("_FILE"), environ) or ""
            except SecretFileUnreadable:
                # The program that needs it says so.
                continue
        remember(value, *_PASSWORD_IN_URL.findall(value))


class SecretEnviron(Mapping[str, str]):
    """Every value that is asked for by name is a secret from then on: it is masked everywhere."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        value = self._environ.get(name)
        if not value:
            try:
                value = from_file(name, self._environ)
            except SecretFileUnreadable:
                # Whoever asks says that NAME is missing, which is what it is.
                value = None
        if value is None:
            raise KeyError(name)
        remember(value)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._environ)

    def __len__(self) -> int:
        return len(self._environ)
