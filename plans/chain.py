"""How the trail is chained: SHA-256 over 0x00, the previous hash and the canonical JSON."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import rfc8785

VERSION = 2
"""Of the body of new events. Version 1 knew neither address, trace, token, reason nor grant; what
was written then keeps its hash."""


def timestamp(at: datetime) -> str:
    """Return the one text form of a time that goes into hashes: UTC, microseconds, Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def event_body(
    *,
    stream: str,
    seq: int,
    kind: str,
    at: datetime,
    actor: str | None,
    actor_name: str,
    via: str,
    sentence: str,
    payload: Mapping[str, Any],
    v: int = 1,
    on_behalf: str = "",
    token: str = "",
    ip: str = "",
    trace_id: str = "",
    reason: str = "",
    grant: str = "",
) -> dict[str, Any]:
    """Return what of an event is hashed."""
    body = {
        "stream": stream,
        "seq": seq,
        "kind": kind,
        "at": timestamp(at),
        "actor": actor,
        "actor_name": actor_name,
        "via": via,
        "sentence": sentence,
        "payload": dict(payload),
    }
    circumstances = {
        "on_behalf": on_behalf,
        "token": token,
        "ip": ip,
        "trace_id": trace_id,
        "reason": reason,
        "grant": grant,
    }
    # An old event into whose new columns somebody wrote does not keep its hash.
    if v > 1 or any(circumstances.values()):
        body |= {"v": v, **circumstances}
    return body


def link(prev_hash: str, body: Mapping[str, Any]) -> str:
    """Return the hash of the body chained to `prev_hash` (64 hex digits)."""
    return hashlib.sha256(
        b"\x00" + bytes.fromhex(prev_hash) + rfc8785.dumps(dict(body))
    ).hexdigest()


def address_digest(salt: str, address: str) -> str:
    """Return what the chain holds of an address: SHA-256 over the salt's bytes and its text.

    The salt is the event's own and goes with the address when that is erased: what is left tells
    nobody anything, also not that two events came from one place.
    """
    return hashlib.sha256(bytes.fromhex(salt) + address.encode()).hexdigest()
