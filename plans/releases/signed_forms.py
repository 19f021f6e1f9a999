"""The forms in which a signed release is handed in: a DSSE envelope, or what cosign signed.

DSSE signs the payload's type and length with it. `cosign sign-blob` and `cosign sign` sign the
payload's bytes alone and write the signature beside it; the two are kept here as one text:
`{"cosign": {"payload": <base64>, "signature": <base64 of DER>}}`. Nothing of a payload is parsed
here: its signature comes first.
"""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

DSSE = "dsse"
COSIGN = "cosign"
FORMS = {DSSE: "DSSE", COSIGN: "cosign"}
PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_BYTES = 256 * 1024
_MAX_SIGNATURES = 16


class SignatureRefused(Exception):
    """Raised when a release may not be used; `reason` says why and what to do."""

    def __init__(self, reason: str, *, code: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


@dataclass(frozen=True, slots=True)
class Signed:
    """A text that claims to be signed: `message` is what its signatures are over."""

    form: str
    payload: bytes
    message: bytes
    signatures: tuple[tuple[str, bytes], ...]
    """Key id (may be empty) and signature."""


def read_signed(text: str) -> Signed:
    """Return the parts of a signed release; raises SignatureRefused when it has no known form."""
    if len(text) > MAX_BYTES:
        raise malformed(f"it is longer than {MAX_BYTES} characters")
    outer = read_json(text, "envelope")
    return _read_cosign(outer[COSIGN]) if COSIGN in outer else _read_dsse(outer)


def dsse_text(payload: bytes, signatures: list[tuple[str, bytes]]) -> str:
    """Return a DSSE envelope."""
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [
            {"keyid": key_id, "sig": base64.b64encode(signature).decode()}
            for key_id, signature in signatures
        ],
    }
    return json.dumps(envelope, indent=2) + "\n"


def cosign_text(payload: str | bytes, signature: str) -> str:
    """Return as one text what cosign signed and the signature file that it wrote beside it."""
    signed = payload.encode() if isinstance(payload, str) else payload
    body = {"payload": base64.b64encode(signed).decode(), "signature": signature.strip()}
    return json.dumps({COSIGN: body}, indent=2) + "\n"


def dsse_message(payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding of a payload with our payload type."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def malformed(what: str) -> SignatureRefused:
    """Return the refusal of a text that is no signed release."""
    return SignatureRefused(
        f"This is not a signed release: {what}. Hand in the file release.json.dsse that "
        "'./console manage sign_release' wrote, or release.json with the signature that cosign"
        " made of it.",
        code="malformed",
    )


def read_json(text: str | bytes, what: str) -> dict[str, Any]:
    """Return a JSON object in which no key stands twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        read = dict(pairs)
        if len(read) != len(pairs):
            raise ValueError("a key stands twice")
        return read

    try:
        value = json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise malformed(f"the {what} is not JSON") from error
    if not isinstance(value, dict):
        raise malformed(f"the {what} is not a JSON object")
    return value


def _read_dsse(envelope: dict[str, Any]) -> Signed:
    if envelope.get("payloadType") != PAYLOAD_TYPE:
        raise malformed(f"its payloadType is not {PAYLOAD_TYPE}")
    payload = _read_base64(envelope.get("payload"), "payload")
    listed = envelope.get("signatures")
    if not isinstance(listed, list) or not 0 < len(listed) <= _MAX_SIGNATURES:
        raise malformed(f"it needs 1 to {_MAX_SIGNATURES} signatures")
    signatures = []
    for entry in listed:
        if not isinstance(entry, dict) or not isinstance(entry.get("keyid", ""), str):
            raise malformed("a signature is not an object with keyid and sig")
        signatures.append((entry.get("keyid", ""), _read_base64(entry.get("sig"), "sig")))
    return Signed(DSSE, payload, dsse_message(payload), tuple(signatures))


def _read_cosign(parts: object) -> Signed:
    if not isinstance(parts, dict) or set(parts) != {"payload", "signature"}:
        raise malformed("its cosign part is not an object with payload and signature alone")
    payload = _read_base64(parts["payload"], "payload")
    # cosign's signature file names no key: every trusted one of its kind is tried.
    signature = _read_base64(parts["signature"], "signature")
    return Signed(COSIGN, payload, payload, (("", signature),))


def _read_base64(value: object, what: str) -> bytes:
    """Return the bytes of standard or URL-safe base64 in its one canonical spelling.

    Other spellings of the same bytes are refused: a changed envelope shall never verify.
    """
    if not isinstance(value, str):
        raise malformed(f"its {what} is missing")
    standard = value.replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(standard, validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed(f"its {what} is not base64") from error
    if base64.b64encode(data).decode() != standard:
        raise malformed(f"its {what} is not canonical base64")
    return data
