"""Bind a second factor to what it was given for: one act, on one exact content, by one grant. Pure.

A security key signs a challenge. It is made of the id of the grant to come and of all that the
grant will be bound to, so the key's answer is evidence of what was approved: whoever has the grant
computes the challenge from its payload and finds it in the answer that is kept beside it.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import rfc8785

from plans.approvals.grant_claims import Bound, GrantClaims


def content_digest(bound: Bound) -> str:
    """Return the digest by which a proof is found again: of the act and all of its content."""
    return hashlib.sha256(rfc8785.dumps(asdict(bound))).hexdigest()


def challenge(jti: str, bound: Bound) -> bytes:
    """Return what a key has to sign: SHA-256 of the RFC 8785 JSON of grant id and content."""
    return hashlib.sha256(rfc8785.dumps({"jti": jti, **asdict(bound)})).digest()


def challenge_in(answer: Mapping[str, Any]) -> bytes:
    """Return the challenge that a key has answered; ValueError when it is no such answer."""
    try:
        told = json.loads(_unpacked(answer["response"]["clientDataJSON"]))
        return _unpacked(told["challenge"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no answer of a key: {error}") from error


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def answers_for(claims: GrantClaims, answer: Mapping[str, Any]) -> bool:
    """Tell whether the key's answer was given for exactly this grant."""
    content = Bound(**{member.name: getattr(claims, member.name) for member in fields(Bound)})
    try:
        return challenge_in(answer) == challenge(claims.jti, content)
    except ValueError:
        return False
