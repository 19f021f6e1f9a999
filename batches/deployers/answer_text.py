"""Make what a platform says fit to be stored and shown: no secrets, no control codes, short."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from batches.deployers.json_path import parse_json
from upgradeconsole.known_secrets import MASK, is_secret_name, masked

CLIP = 500
# More than can ever be shown; keeps the patterns below off megabytes of HTML.
_LOOKED_AT = 8_000
_BEARER = re.compile(r"\b(bearer)\s+[\w\-.~+/]{4,}=*", re.IGNORECASE)
_URL_LOGIN = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
# The {0,60} keep this linear on long words such as base64.
_NAMED_VALUE = re.compile(
    r"""(?P<name>["']?[\w\-.]{0,60}(?:passw(?:or)?d|passphrase|token|secret|authori[sz]ation"""
    r"""|api[-_]?key|private[-_]?key|credential|cookie)[\w\-.]{0,60}["']?\s*[:=]\s*)"""
    r"""(?!["']?\*{3})(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?"""
    r"""|(?:(?:bearer|basic)\s+)?[^\s,;&"'}\]]+)""",
    re.IGNORECASE,
)


def presentable(text: str, secrets: Sequence[str] = ()) -> str:
    """Return the text masked, on printable characters only, and at most 500 characters long."""
    text = _without(text, secrets)
    parsed = parse_json(text) if len(text) <= _LOOKED_AT else None
    if isinstance(parsed, dict | list):
        text = json.dumps(_masked(parsed), ensure_ascii=False)
        # Once more: the JSON may have held a secret in escapes.
        text = _without(text, secrets)
    text = text[:_LOOKED_AT]
    text = _BEARER.sub(rf"\1 {MASK}", text)
    text = _URL_LOGIN.sub(MASK, text)
    text = _NAMED_VALUE.sub(rf"\g<name>{MASK}", text)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    text = " ".join(text.split())
    return text if len(text) <= CLIP else text[: CLIP - 1] + "…"


def storable(value: object) -> bool:
    """Return whether every database takes this JSON value: no NUL, no half of a character."""
    if isinstance(value, str):
        return "\x00" not in value and not any("\ud800" <= c <= "\udfff" for c in value)
    if isinstance(value, dict):
        return all(storable(key) and storable(item) for key, item in value.items())
    if isinstance(value, list):
        return all(storable(item) for item in value)
    return True


def _without(text: str, secrets: Sequence[str]) -> str:
    # Longest first, so that "Bearer abc" goes as a whole before its part "abc" does.
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return masked(text)


def _masked(value: object) -> object:
    if isinstance(value, dict):
        return {
            key: MASK if is_secret_name(str(key)) and item is not None else _masked(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return value
