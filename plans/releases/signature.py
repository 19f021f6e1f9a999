"""Sign and verify releases: an in-toto Statement v1 in a DSSE envelope, or signed by cosign.

Nothing is parsed before its signature holds: a DSSE signature covers the payload's bytes and its
type, a cosign signature the payload's bytes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from plans.releases.claims import (
    STATEMENT_TYPE,
    is_digest,
    is_plugin,
    is_version,
    read_claim,
)
from plans.releases.signed_forms import (
    COSIGN,
    PAYLOAD_TYPE,
    SignatureRefused,
    Signed,
    dsse_message,
    dsse_text,
    read_signed,
)
from plans.releases.signing_keys import (
    ECDSA_P256,
    NewKey,
    PublicKey,
    SigningKey,
    key_id_of,
    new_key,
    read_public_key,
)

__all__ = [
    "PAYLOAD_TYPE",
    "STATEMENT_TYPE",
    "NewKey",
    "SignatureRefused",
    "TrustedKey",
    "VerifiedRelease",
    "key_id_of",
    "new_key",
    "sign_release",
    "statement_of",
    "verify_release",
]
PREDICATE_TYPE = "https://in-toto.io/attestation/release/v0.1"

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
    form: str = "dsse"


def statement_of(plugin: str, version: str, digest: str) -> str:
    """Return the text of release.json; ValueError says what is wrong."""
    if not is_plugin(plugin):
        raise ValueError(f"'{plugin}' is no plugin key: write letters, digits, '.', '_', '/', '-'")
    if not is_version(version):
        raise ValueError(f"'{version}' is no version: write it like 2.4.0 (no spaces, no '@')")
    digest = digest.removeprefix("sha256:").lower()
    if not is_digest(digest):
        raise ValueError("the digest is no SHA-256: write the 64 hex digits of the artifact")
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": f"{plugin}@{version}", "digest": {"sha256": digest}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"purl": f"pkg:generic/{quote(plugin)}@{quote(version)}"},
    }
    return json.dumps(statement, indent=2) + "\n"


def sign_release(plugin: str, version: str, digest: str, private_key_pem: str) -> tuple[str, str]:
    """Return the texts of release.json and of its DSSE envelope; ValueError says what is wrong."""
    release = statement_of(plugin, version, digest)
    private = SigningKey(private_key_pem)
    payload = release.encode()
    signature = private.sign(dsse_message(payload))
    return release, dsse_text(payload, [(private.public.key_id, signature)])


def verify_release(
    envelope_json: str, keys: Sequence[TrustedKey], *, at: datetime
) -> VerifiedRelease:
    """Return what the text says if one of its signatures is by a key trusted at the moment.

    Raises SignatureRefused; its code is one of bad_signature, unknown_key, expired_key,
    not_yet_valid, revoked_key, wrong_plugin, malformed.
    """
    signed = read_signed(envelope_json)
    refusals: list[SignatureRefused] = []
    for key_id, signature in signed.signatures:
        try:
            key = _signer(key_id, signature, signed, keys)
            _check_validity(key, at)
            claim = read_claim(signed)
            if key.plugins and claim.plugin not in key.plugins:
                raise SignatureRefused(
                    f"Key {key.key_id} may sign {', '.join(key.plugins)}, not {claim.plugin}; have"
                    " the release signed by a key that is trusted for this plugin.",
                    code="wrong_plugin",
                )
        except SignatureRefused as refused:
            refusals.append(refused)
        else:
            return VerifiedRelease(
                claim.plugin, claim.version, claim.digest, key.key_id, signed.form
            )
    raise max(refusals, key=lambda refused: _PROGRESS.index(refused.code))


def _signer(
    key_id: str, signature: bytes, signed: Signed, keys: Sequence[TrustedKey]
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
    read = [(key, found) for key in asked if (found := _readable(key)) is not None]
    if not read:
        raise SignatureRefused(
            f"The trust store's key {asked[0].key_id} is neither an Ed25519 nor an ECDSA P-256"
            " public key; an administrator adds it anew with './console manage trust_key'.",
            code="unknown_key",
        )
    for key, public in read:
        # What cosign signs is bare bytes: only keys that serve for that may be meant.
        fits = signed.form != COSIGN or public.kind == ECDSA_P256
        if fits and public.signed(signed.message, signature):
            return key
    raise SignatureRefused(
        "The signature does not belong to this content: the release or its signature was changed "
        "after signing. Fetch both again from the one who signed, or have it signed anew.",
        code="bad_signature",
    )


def _readable(key: TrustedKey) -> PublicKey | None:
    try:
        return read_public_key(key.public_key)
    except ValueError:
        return None


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
