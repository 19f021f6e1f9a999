"""RFC 8785 bytes of JSON values, fast where the standard library writes the very same.

A ruling's inputs may be the looks of 10,000 tenants: written value by value in Python they would
cost seconds at the moment of a breach.
"""

import json
import re
from typing import Any

import rfc8785

DIFFERENT = re.compile(r"\.0[,\]}]|\d[eE][-+]?\d|-0[,\]}]|0\.0000|Infinity|NaN|[^\x00-\x7f]|\x7f")
"""What may be written in another way: whole floats, exponents, tiny and special numbers, and keys
beyond ASCII, whose order differs. Text that looks like it only costs time."""


def canonical_json(value: Any) -> bytes:
    """Return the canonical bytes of a value that is a list or an object."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if DIFFERENT.search(text) is None:
        return text.encode()
    return bytes(rfc8785.dumps(value))
