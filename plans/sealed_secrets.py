"""Seal secrets for the database and open them for use, with this installation's keys."""

from functools import lru_cache
from pathlib import Path

from django.conf import settings

from upgradeconsole.sealing import Keyring


@lru_cache(maxsize=4)
def _keyring(path: str, given: str) -> Keyring:
    return Keyring(Path(path), given)


def keyring() -> Keyring:
    """Return the keys of this installation."""
    return _keyring(str(settings.SEALING_KEYS_FILE), settings.SEALING_KEYS)


def seal(secret: str) -> str:
    """Return what may be stored of a secret; nothing stays nothing. Raises KeysUnusable."""
    return keyring().seal(secret) if secret else ""


def open_sealed(sealed: str) -> str:
    """Return a stored secret for use. Raises SealBroken or KeysUnusable."""
    return keyring().open(sealed) if sealed else ""
