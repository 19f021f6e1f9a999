"""Secrets at rest: sealed before they go into the database, by keys that are never in it.

Fernet keys, the newest first: it seals, all of them open. On the ground floor: imports nothing of
the product beside it and no Django.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from upgradeconsole.known_secrets import remember
from upgradeconsole.secret_files import (
    SecretFileRefused,
    replace_secret_file,
    secret_file,
)

MARK: Final = "sealed:1:"
"""Before every sealed text, so that it can be told from one that was written plainly."""
_HEADER: Final = (
    b"# Seals secrets in the database; the first seals, all open. Keep apart from it.\n"
)
Stamp = tuple[int, int, int]


class SealBroken(Exception):
    """The text cannot be opened; the sentence says what is missing."""


class KeysUnusable(Exception):
    """There are no keys to seal with; the sentence says why and what to do."""


class Keyring:
    """The keys of this installation, from a setting or from the file, read anew when it changes."""

    def __init__(self, path: Path, given: str = "") -> None:
        """Take the file, or the `given` keys of the environment, which then are the only ones."""
        self.path = path
        self._given = given
        self._stamp: Stamp | None = None
        self._keys: tuple[str, ...] = ()

    @property
    def is_given(self) -> bool:
        """Tell whether the keys come from the environment, which no command can write."""
        return bool(self._given)

    def keys(self) -> tuple[str, ...]:
        """Return all keys, the newest first; the first use makes them. Raises KeysUnusable."""
        if self._given:
            return self._taken(self._given, "the environment")
        stamp = self._stamp_now()
        if stamp is None or stamp != self._stamp:
            try:
                text = secret_file(self.path, _first_key).decode()
            except (SecretFileRefused, UnicodeDecodeError) as refused:
                raise KeysUnusable(str(refused)) from refused
            self._keys = self._taken(text, str(self.path))
            # Of before the reading: what was written meanwhile is read the next time.
            self._stamp = stamp
        return self._keys

    def seal(self, text: str) -> str:
        """Return the text sealed by the newest key. Raises KeysUnusable."""
        remember(text)
        return MARK + Fernet(self.keys()[0]).encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """Return the text that was sealed. Raises SealBroken or KeysUnusable."""
        if not sealed.startswith(MARK):
            raise SealBroken("this was not sealed; type: ./console manage rotate_keys")
        ring = MultiFernet([Fernet(key) for key in self.keys()])
        try:
            text = ring.decrypt(sealed.removeprefix(MARK).encode()).decode()
        except InvalidToken:
            raise SealBroken(
                f"none of the keys in {'the environment' if self._given else self.path} opens this;"
                " bring back the key file that belongs to the database, or enter the secret anew"
            ) from None
        remember(text)
        return text

    def is_newest(self, sealed: str) -> bool:
        """Tell whether the newest key sealed this. Raises KeysUnusable."""
        try:
            Fernet(self.keys()[0]).decrypt(sealed.removeprefix(MARK).encode())
        except InvalidToken:
            return False
        return sealed.startswith(MARK)

    def add_newest(self) -> None:
        """Make a key and put it first; all others stay, to open what they sealed."""
        new = Fernet.generate_key().decode()
        self._write((new, *self.keys()))

    def keep_newest(self) -> int:
        """Forget every key but the newest; return how many went."""
        newest, *others = self.keys()
        self._write((newest,))
        return len(others)

    def _write(self, keys: tuple[str, ...]) -> None:
        replace_secret_file(self.path, _HEADER + "".join(f"{key}\n" for key in keys).encode())

    def _stamp_now(self) -> Stamp | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        # Rights that were changed count too, so not only when it was written.
        return (status.st_ctime_ns, status.st_size, status.st_ino)

    def _taken(self, text: str, where: str) -> tuple[str, ...]:
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        keys = tuple(key for line in lines for key in line.replace(",", " ").split())
        if not keys:
            raise KeysUnusable(f"{where} holds no key")
        for number, key in enumerate(keys, start=1):
            try:
                Fernet(key)
            except ValueError:
                raise KeysUnusable(
                    f"{where}: key {number} is none: 32 bytes as URL-safe base64, 44 characters"
                ) from None
        remember(*keys)
        return keys


def is_sealed(text: str) -> bool:
    """Tell whether a stored text carries the mark of a seal."""
    return text.startswith(MARK)


def _first_key() -> bytes:
    return _HEADER + Fernet.generate_key() + b"\n"
