"""The simple JSON paths of deployers.yaml: $.a.b[0], nothing cleverer."""

from __future__ import annotations

import json
import re
from typing import Final

_PATH = re.compile(r"\$(?:\.[A-Za-z0-9_\-]+|\[\d+\])*")
_STEP = re.compile(r"\.([A-Za-z0-9_\-]+)|\[(\d+)\]")


class Missing:
    """The answer has nothing at this path; differs from a null that is there."""


MISSING: Final = Missing()


def is_path(text: str) -> bool:
    """Return whether the text has the form $.a.b[0]."""
    return _PATH.fullmatch(text) is not None


def look_up(document: object, path: str) -> object:
    """Return the value at the path, or MISSING."""
    value = document
    for name, index in _STEP.findall(path):
        if name and isinstance(value, dict) and name in value:
            value = value[name]
        elif index and isinstance(value, list) and int(index) < len(value):
            value = value[int(index)]
        else:
            return MISSING
    return value


def parse_json(text: str | bytes) -> object:
    """Return the JSON document, or MISSING when the text is none (NaN is none either)."""
    try:
        if isinstance(text, bytes):
            text = text.decode(json.detect_encoding(text), "surrogatepass")
        return _STRICT.decode(text)
    except (ValueError, RecursionError):
        return MISSING


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


# Made once: `json.loads` would make one for each answer.
_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)
