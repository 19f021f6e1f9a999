"""How the trail is chained: SHA-256 over 0x00, the previous hash and the canonical JSON."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import rfc8785


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
) -> dict[str, Any]:
    """Return what of an event is hashed."""
    return {
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


def link(prev_hash: str, body: Mapping[str, Any]) -> str:
    """Return the hash of the body chained to `prev_hash` (64 hex digits)."""
    return hashlib.sha256(
        b"\x00" + bytes.fromhex(prev_hash) + rfc8785.dumps(dict(body))
    ).hexdigest()
