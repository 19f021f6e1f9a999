"""Sign approval grants and read them back: Ed25519 over RFC 8785 JSON. Pure.

The algorithm is fixed by the key; a grant cannot choose one. Whoever has the public key verifies a
grant without the console: `{"payload": <base64 of the JSON>, "sig": <base64>, "kid": <key id>}`.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from plans.approvals.grant_claims import GrantClaims, GrantRefused, read_claims

Sign = Callable[[bytes], bytes]
KeyOf = Callable[[str], Ed25519PublicKey | None]
LONGEST = 16_384


@dataclass(frozen=True, slots=True)
class SealedGrant:
    """A grant as it is kept and handed on: all three members are texts."""

    payload: str
    sig: str
    kid: str

    def to_json(self) -> dict[str, str]:
        """Return the three members."""
        return {"payload": self.payload, "sig": self.sig, "kid": self.kid}

    @classmethod
    def from_json(cls, value: object) -> "SealedGrant":
        """Return the grant of a JSON value; GrantRefused when it is none."""
        if not isinstance(value, Mapping) or set(value) != {"payload", "sig", "kid"}:
            raise _malformed("it needs exactly payload, sig and kid")
        if not all(isinstance(member, str) for member in value.values()):
            raise _malformed("payload, sig and kid are texts")
        return cls(**value)


def seal(claims: GrantClaims, sign: Sign) -> SealedGrant:
    """Return the claims with a signature over their canonical JSON."""
    payload = rfc8785.dumps(claims.to_json())
    return SealedGrant(_encoded(payload), _encoded(sign(payload)), claims.kid)


def opened(sealed: SealedGrant, key_of: KeyOf) -> GrantClaims:
    """Return what the grant says; GrantRefused unless its signature holds for every bit of it."""
    payload, signature = _decoded(sealed.payload, "payload"), _decoded(sealed.sig, "sig")
    key = key_of(sealed.kid)
    if key is None:
        raise GrantRefused(
            f"The approval is signed by the key {sealed.kid[:64]}, which is none of this console's"
            " keys for grants.",
            code="grant_unknown_key",
        )
    try:
        key.verify(signature, payload)
    except InvalidSignature as error:
        raise GrantRefused(
            "The approval's signature does not belong to its content: one of them was changed.",
            code="grant_bad_signature",
        ) from error
    claims = read_claims(_read(payload))
    if claims.kid != sealed.kid:
        raise GrantRefused(
            "The approval names another key than the one that signed it.", code="grant_unknown_key"
        )
    return claims


def _read(payload: bytes) -> Any:
    try:
        body = json.loads(payload)
        canonical = rfc8785.dumps(body)
    except (ValueError, RecursionError) as error:
        raise _malformed("its payload is not JSON") from error
    # Signed or not: two spellings of one grant would be two tokens.
    if canonical != payload:
        raise _malformed("its payload is not canonical JSON")
    return body


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decoded(text: str, what: str) -> bytes:
    """Return the bytes of base64 in its one canonical spelling."""
    if len(text) > LONGEST:
        raise _malformed(f"its {what} is longer than {LONGEST} characters")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed(f"its {what} is not base64") from error
    if _encoded(data) != text:
        raise _malformed(f"its {what} is not canonical base64")
    return data


def _malformed(what: str) -> GrantRefused:
    return GrantRefused(f"This is no approval grant: {what}.", code="grant_malformed")
