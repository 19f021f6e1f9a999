"""Keys that sign releases: Ed25519, and ECDSA on P-256 with SHA-256 as cosign makes them.

What a signature is checked with is the key's own kind, never a word of the signed text: nobody can
choose a weaker way by writing its name.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as new_curve_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

ED25519 = "ed25519"
ECDSA_P256 = "ecdsa-p256"
KINDS = {ED25519: "Ed25519", ECDSA_P256: "ECDSA P-256 (cosign)"}
_KEPT_OF_ID = 16


class NewKey(NamedTuple):
    """A fresh key pair: the private key and the public key as PEM, and the key's id."""

    private_pem: str
    public_pem: str
    key_id: str


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key that was read: its kind, its id, and whether a signature is by it."""

    kind: str
    key_id: str
    _key: Ed25519PublicKey | EllipticCurvePublicKey

    def signed(self, message: bytes, signature: bytes) -> bool:
        """Tell whether the signature over the message is by this key."""
        try:
            if isinstance(self._key, Ed25519PublicKey):
                self._key.verify(signature, message)
            else:
                self._key.verify(signature, message, ECDSA(SHA256()))
        except InvalidSignature:
            return False
        return True


class SigningKey:
    """A private key of either kind."""

    def __init__(self, private_key_pem: str) -> None:
        """Read PEM; ValueError says what is wrong with it."""
        if "ENCRYPTED COSIGN" in private_key_pem or "ENCRYPTED SIGSTORE" in private_key_pem:
            raise ValueError("this private key is encrypted by cosign: sign with cosign itself")
        try:
            private = load_pem_private_key(private_key_pem.encode(), password=None)
        except (TypeError, UnsupportedAlgorithm) as error:
            raise ValueError("the private key cannot be read: give it as PEM, unencrypted") from (
                error
            )
        except ValueError as error:
            raise ValueError("this is no private key in PEM") from error
        if isinstance(private, EllipticCurvePrivateKey) and _is_p256(private.curve.name):
            self._key: Ed25519PrivateKey | EllipticCurvePrivateKey = private
        elif isinstance(private, Ed25519PrivateKey):
            self._key = private
        else:
            raise ValueError(
                "the private key is neither an Ed25519 key nor an ECDSA P-256 key: make one with"
                " trust_key"
            )
        self.public = _read(self._key.public_key())

    def sign(self, message: bytes) -> bytes:
        """Return the signature over the message; for ECDSA it is DER, as cosign writes it."""
        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(message)
        return self._key.sign(message, ECDSA(SHA256()))


def new_key(kind: str = ED25519) -> NewKey:
    """Return a fresh key pair and its id."""
    private = Ed25519PrivateKey.generate() if kind == ED25519 else new_curve_key(SECP256R1())
    private_pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = private.public_key()
    public_pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return NewKey(private_pem.decode(), public_pem.decode(), _read(public).key_id)


def key_id_of(public_key: str) -> str:
    """Return the id of a public key; ValueError when the text is no key of a kind known here."""
    return read_public_key(public_key).key_id


def read_public_key(text: str) -> PublicKey:
    """Return the key of PEM, or of 32 bytes in base64; ValueError when it is neither."""
    text = text.strip()
    try:
        if "-----BEGIN" not in text:
            raw = base64.b64decode(text, validate=True)
            return _read(Ed25519PublicKey.from_public_bytes(raw))
        public = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("this is no public key in PEM and not 32 bytes in base64") from error
    if isinstance(public, EllipticCurvePublicKey) and _is_p256(public.curve.name):
        return _read(public)
    if isinstance(public, Ed25519PublicKey):
        return _read(public)
    raise ValueError("this public key is neither an Ed25519 key nor an ECDSA P-256 key")


def _is_p256(curve: str) -> bool:
    return curve == SECP256R1.name


def _read(public: Ed25519PublicKey | EllipticCurvePublicKey) -> PublicKey:
    """Return the key with its id: of Ed25519 by its 32 bytes, of ECDSA by its DER."""
    if isinstance(public, Ed25519PublicKey):
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        kind = ED25519
    else:
        raw = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        kind = ECDSA_P256
    return PublicKey(kind, hashlib.sha256(raw).hexdigest()[:_KEPT_OF_ID], public)
