"""The console's own signing keys: Ed25519, in files apart from database and SECRET_KEY.

One private key per purpose ("checkpoint", "grant"), made at first use, 0600, in `CONSOLE_KEYS_DIR`.
The public key of every key that ever signed stays beside it, so that what it signed can be checked
after a rotation. Machines that share a database share this folder, or copies of it.
"""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from django.conf import settings

from upgradeconsole.secret_files import SecretFileRefused, replace_secret_file, secret_file

PURPOSES = ("checkpoint", "grant")
_KID = re.compile(r"[0-9a-f]{16}", re.ASCII)


class KeyUnusable(OSError):
    """Raised where a key is not there to be used; it says why and what to do."""


@dataclass(frozen=True, slots=True)
class ConsoleKey:
    """A private key that can sign and cannot be read."""

    kid: str
    purpose: str
    public: bytes
    sign: Callable[[bytes], bytes]


def kid_of(public: bytes) -> str:
    """Return a key's id: the first 16 hex digits of the SHA-256 of its 32 raw bytes."""
    return hashlib.sha256(public).hexdigest()[:16]


def raw(key: Ed25519PublicKey) -> bytes:
    """Return the 32 raw bytes of a public key."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def signing_key(purpose: str) -> ConsoleKey:
    """Return the key that signs for the purpose; made at first use. Raises KeyUnusable."""
    if purpose not in PURPOSES:
        raise ValueError(f"{purpose!r} is none of {', '.join(PURPOSES)}")
    path = _private(purpose)
    try:
        key = _loaded(secret_file(path, _new_pem), path)
        public = raw(key.public_key())
        _keep_public(purpose, public)
    except SecretFileRefused as refused:
        raise KeyUnusable(f"{refused}") from refused
    except OSError as error:
        raise KeyUnusable(f"{path} can be neither read nor made: {error}") from error
    return ConsoleKey(kid_of(public), purpose, public, key.sign)


def public_key(kid: str) -> Ed25519PublicKey | None:
    """Return the public key of that id, also of one that signs no more; None where unknown."""
    if not _KID.fullmatch(kid):
        return None
    for purpose in PURPOSES:
        try:
            key = load_pem_public_key(_public(purpose, kid).read_bytes())
        except FileNotFoundError:
            continue
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyUnusable(f"{_public(purpose, kid)} holds no public key: {error}") from error
        # The name of a file proves nothing.
        if isinstance(key, Ed25519PublicKey) and kid_of(raw(key)) == kid:
            return key
    return None


def public_keys(purpose: str) -> dict[str, bytes]:
    """Return every public key that ever signed for the purpose, raw, by its id."""
    found = {}
    for path in sorted(_folder().glob(f"{purpose}-*.pem")):
        key = public_key(path.stem.removeprefix(f"{purpose}-"))
        if key is not None:
            found[kid_of(raw(key))] = raw(key)
    return found


def rotate(purpose: str) -> tuple[str, str]:
    """Let a new key sign from now on; return the ids of the old and of the new one."""
    old = signing_key(purpose).kid
    replace_secret_file(_private(purpose), _new_pem())
    return old, signing_key(purpose).kid


def _folder() -> Path:
    return Path(settings.CONSOLE_KEYS_DIR)


def _private(purpose: str) -> Path:
    return _folder() / f"{purpose}.key"


def _public(purpose: str, kid: str) -> Path:
    return _folder() / f"{purpose}-{kid}.pem"


def _new_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


def _loaded(pem: bytes, path: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(f"{path} holds no private key: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"{path} holds no Ed25519 key; move it away and a new one is made")
    return key


def _keep_public(purpose: str, public: bytes) -> None:
    path = _public(purpose, kid_of(public))
    if path.exists():
        return
    pem = Ed25519PublicKey.from_public_bytes(public).public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    draft = path.with_suffix(f".{os.getpid()}.new")
    draft.write_bytes(pem)
    draft.replace(path)
