"""Sign and verify releases: an in-toto Statement v1 in a DSSE envelope, signed with Ed25519.

The signature covers the payload's bytes and its type (DSSE's pre-authentication encoding), so
nothing is parsed before its signature holds.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/release/v0.1"
MAX_BYTES = 256 * 1024
_MAX_SIGNATURES = 16
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PLUGIN = re.compile(r"[A-Za-z0-9@][A-Za-z0-9._/@-]{0,127}", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}", re.ASCII)

# How far a signature got: of several, the refusal of the one that got furthest is told.
_PROGRESS = (
    "malformed",
    "unknown_key",
    "bad_signature",
    "revoked_key",
    "expired_key",
    "not_yet_valid",
    "wrong_plugin",
)


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key (PEM, or the 32 raw bytes as base64) and when and for what it is trusted.

    No limit is None; no `plugins` means every plugin.
    """

    key_id: str
    public_key: str
    not_before: datetime | None = None
    not_after: datetime | None = None
    revoked_at: datetime | None = None
    plugins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VerifiedRelease:
    """What a valid signature says; `digest` is the artifact's SHA-256 in hex."""

    plugin: str
    version: str
    digest: str
    key_id: str


class NewKey(NamedTuple):
    """A fresh key pair: the private key and the public key as PEM, and the key's id."""

    private_pem: str
    public_pem: str
    key_id: str


class SignatureRefused(Exception):
    """Raised when a release may not be used; `reason` says why and what to do."""

    def __init__(self, reason: str, *, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


def new_key() -> NewKey:
    """Return a fresh key pair and its id."""
    private = Ed25519PrivateKey.generate()
    private_pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = private.public_key()
    public_pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return NewKey(private_pem.decode(), public_pem.decode(), _id_of(public))


def key_id_of(public_key: str) -> str:
    """Return the id of a public key; ValueError when the text is no Ed25519 public key."""
    return _id_of(_read_public_key(public_key))


def sign_release(plugin: str, version: str, digest: str, private_key_pem: str) -> tuple[str, str]:
    """Return the texts of release.json and of its DSSE envelope; ValueError says what is wrong."""
    if not _PLUGIN.fullmatch(plugin):
        raise ValueError(f"'{plugin}' is no plugin key: write letters, digits, '.', '_', '/', '-'")
    if not _VERSION.fullmatch(version):
        raise ValueError(f"'{version}' is no version: write it like 2.4.0 (no spaces, no '@')")
    digest = digest.removeprefix("sha256:").lower()
    if not _SHA256.fullmatch(digest):
        raise ValueError("the digest is no SHA-256: write the 64 hex digits of the artifact")
    private = load_pem_private_key(private_key_pem.encode(), password=None)
    if not isinstance(private, Ed25519PrivateKey):
        raise ValueError("the private key is no Ed25519 key: make one with trust_key")
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": f"{plugin}@{version}", "digest": {"sha256": digest}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"purl": f"pkg:generic/{quote(plugin)}@{quote(version)}"},
    }
    release = json.dumps(statement, indent=2) + "\n"
    payload = release.encode()
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {
                "keyid": _id_of(private.public_key()),
                "sig": base64.b64encode(private.sign(_signed_bytes(payload))).decode(),
            }
        ],
    }
    return release, json.dumps(envelope, indent=2) + "\n"


def verify_release(
    envelope_json: str, keys: Sequence[TrustedKey], *, at: datetime
) -> VerifiedRelease:
    """Return what the envelope says if one of its signatures is by a key trusted at the moment.

    Raises SignatureRefused; its code is one of bad_signature, unknown_key, expired_key,
    not_yet_valid, revoked_key, wrong_plugin, malformed.
    """
    payload, signatures = _read_envelope(envelope_json)
    refusals: list[SignatureRefused] = []
    for key_id, signature in signatures:
        try:
            key = _signer(key_id, signature, payload, keys)
            _check_validity(key, at)
            plugin, version, digest = _read_statement(payload)
            if key.plugins and plugin not in key.plugins:
                raise SignatureRefused(
                    f"Key {key.key_id} may sign {', '.join(key.plugins)}, not {plugin}; have the "
                    "release signed by a key that is trusted for this plugin.",
                    code="wrong_plugin",
                )
        except SignatureRefused as refused:
            refusals.append(refused)
        else:
            return VerifiedRelease(plugin, version, digest, key.key_id)
    raise max(refusals, key=lambda refused: _PROGRESS.index(refused.code))


def _signer(
    key_id: str, signature: bytes, payload: bytes, keys: Sequence[TrustedKey]
) -> TrustedKey:
    """Return the trusted key that made the signature; an empty key id means any of them."""
    asked = [key for key in keys if key_id in ("", key.key_id)]
    if not asked:
        signer = f"the key {key_id}" if key_id else "a key"
        raise SignatureRefused(
            f"The release is signed by {signer} that is not in the trust store; an administrator "
            "adds it with './console manage trust_key', or a trusted key signs the release.",
            code="unknown_key",
        )
    unreadable = 0
    for key in asked:
        try:
            _read_public_key(key.public_key).verify(signature, _signed_bytes(payload))
        except InvalidSignature:
            continue
        except ValueError:
            unreadable += 1
            continue
        return key
    if unreadable == len(asked):
        raise SignatureRefused(
            f"The trust store's key {asked[0].key_id} is no Ed25519 public key; an administrator "
            "adds it anew with './console manage trust_key'.",
            code="unknown_key",
        )
    raise SignatureRefused(
        "The signature does not belong to this content: the release or its signature was changed "
        "after signing. Fetch both again from the one who signed, or have it signed anew.",
        code="bad_signature",
    )


def _check_validity(key: TrustedKey, at: datetime) -> None:
    if key.revoked_at is not None and at >= key.revoked_at:
        raise SignatureRefused(
            f"Key {key.key_id} was revoked at {_moment(key.revoked_at)}; have the release signed "
            "anew by a key that is trusted now.",
            code="revoked_key",
        )
    if key.not_after is not None and at > key.not_after:
        raise SignatureRefused(
            f"Key {key.key_id} was trusted until {_moment(key.not_after)}; have the release signed "
            "anew by a key that is trusted now.",
            code="expired_key",
        )
    if key.not_before is not None and at < key.not_before:
        raise SignatureRefused(
            f"Key {key.key_id} is trusted from {_moment(key.not_before)} on; wait until then or "
            "have the release signed by a key that is trusted now.",
            code="not_yet_valid",
        )


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M %Z").strip()


def _signed_bytes(payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding of the payload with our payload type."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _id_of(public: Ed25519PublicKey) -> str:
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def _read_public_key(text: str) -> Ed25519PublicKey:
    """Return the key of PEM or base64 text; ValueError when it is neither."""
    text = text.strip()
    try:
        if "-----BEGIN" not in text:
            return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
        public = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ValueError("this is no public key in PEM and not 32 bytes in base64") from error
    if not isinstance(public, Ed25519PublicKey):
        raise ValueError("this public key is not an Ed25519 key")
    return public


def _malformed(what: str) -> SignatureRefused:
    return SignatureRefused(
        f"This is not a signed release: {what}. Hand in the file release.json.dsse that "
        "'./console manage sign_release' wrote.",
        code="malformed",
    )


def _read_json(text: str | bytes, what: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        read = dict(pairs)
        if len(read) != len(pairs):
            raise ValueError("a key stands twice")
        return read

    try:
        value = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"the {what} is not JSON") from error
    if not isinstance(value, dict):
        raise _malformed(f"the {what} is not a JSON object")
    return value


def _read_envelope(text: str) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Return the payload and the (key id, signature) pairs of an envelope."""
    if len(text) > MAX_BYTES:
        raise _malformed(f"it is longer than {MAX_BYTES} characters")
    envelope = _read_json(text, "envelope")
    if envelope.get("payloadType") != PAYLOAD_TYPE:
        raise _malformed(f"its payloadType is not {PAYLOAD_TYPE}")
    payload = _read_base64(envelope.get("payload"), "payload")
    listed = envelope.get("signatures")
    if not isinstance(listed, list) or not 0 < len(listed) <= _MAX_SIGNATURES:
        raise _malformed(f"it needs 1 to {_MAX_SIGNATURES} signatures")
    signatures = []
    for entry in listed:
        if not isinstance(entry, dict) or not isinstance(entry.get("keyid", ""), str):
            raise _malformed("a signature is not an object with keyid and sig")
        signatures.append((entry.get("keyid", ""), _read_base64(entry.get("sig"), "sig")))
    return payload, signatures


def _read_base64(value: object, what: str) -> bytes:
    """Return the bytes of standard or URL-safe base64 in its one canonical spelling.

    Other spellings of the same bytes are refused: a changed envelope shall never verify.
    """
    if not isinstance(value, str):
        raise _malformed(f"its {what} is missing")
    standard = value.replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(standard, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed(f"its {what} is not base64") from error
    if base64.b64encode(data).decode() != standard:
        raise _malformed(f"its {what} is not canonical base64")
    return data


def _read_statement(payload: bytes) -> tuple[str, str, str]:
    """Return plugin, version and digest of a statement whose signature holds."""
    statement = _read_json(payload, "payload")
    if statement.get("_type") != STATEMENT_TYPE:
        raise _malformed(f"its statement is not of the type {STATEMENT_TYPE}")
    if not isinstance(statement.get("predicateType"), str):
        raise _malformed("its statement has no predicateType")
    subjects = statement.get("subject")
    subject = subjects[0] if isinstance(subjects, list) and len(subjects) == 1 else None
    if not isinstance(subject, dict):
        raise _malformed("its statement needs exactly one subject")
    name = subject.get("name")
    plugin, _at, version = name.rpartition("@") if isinstance(name, str) else ("", "", "")
    if not _PLUGIN.fullmatch(plugin) or not _VERSION.fullmatch(version):
        raise _malformed("its subject is not called plugin@version")
    digests = subject.get("digest")
    digest = digests.get("sha256") if isinstance(digests, dict) else None
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise _malformed("its subject has no sha256 digest of 64 lower-case hex digits")
    return plugin, version, digest
