"""The console's own signing keys: Ed25519, one per purpose, apart from SECRET_KEY.

Each key is a file of this installation's data folder that only its owner may read, made when it is
first needed. Its id is the SHA-256 of the public key, shortened.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from django.conf import settings

PURPOSES = ("grant",)


@dataclass(frozen=True, slots=True)
class ConsoleKey:
    """A key that signs; the private part stays inside `sign`."""

    kid: str
    sign: Callable[[bytes], bytes]


def signing_key(purpose: str) -> ConsoleKey:
    """Return the key that signs for the purpose now."""
    private = _private(purpose, _folder())
    return ConsoleKey(_kid(private.public_key()), private.sign)


def public_key(kid: str) -> Ed25519PublicKey | None:
    """Return the public key of that id, None when it is none of this console's."""
    for purpose in PURPOSES:
        public = _private(purpose, _folder()).public_key()
        if _kid(public) == kid:
            return public
    return None


def _folder() -> Path:
    return Path(settings.DATA_DIR) / "console-keys"


def _kid(public: Ed25519PublicKey) -> str:
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


@lru_cache(maxsize=8)
def _private(purpose: str, folder: Path) -> Ed25519PrivateKey:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / f"{purpose}.pem"
    if not file.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        fresh = folder / f"{purpose}.{os.getpid()}"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(pem)
        try:
            # Of two processes that make it at once, one key counts for both.
            os.link(fresh, file)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    private = load_pem_private_key(file.read_bytes(), password=None)
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError(f"{file} is no Ed25519 key.")
    return private
