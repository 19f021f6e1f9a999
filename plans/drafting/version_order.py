"""Which of two versions is the older one, where that can be told at all.

Numbers with dots are compared as numbers, and a pre-release comes before its release, as Semantic
Versioning 2.0 has it; a leading v and build metadata (+...) say nothing. Of anything else nobody
can tell, and None is the answer.
"""

import re
from itertools import zip_longest

_FORM = re.compile(
    r"[vV]?(\d{1,18}(?:\.\d{1,18}){0,7})(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII
)
Identifier = tuple[int, int, str]


def is_older(version: str, than: str) -> bool | None:
    """Tell whether the version is older than the other one; None when nobody can tell."""
    first, second = _read(version), _read(than)
    if first is None or second is None:
        return None
    return first < second


def _read(version: str) -> tuple[list[int], list[Identifier]] | None:
    found = _FORM.fullmatch(version)
    if found is None:
        return None
    numbers = [int(part) for part in found[1].split(".")]
    # 1.5 and 1.5.0 are the same version.
    padded = [number for number, _place in zip_longest(numbers, range(8), fillvalue=0)]
    return padded, [_identifier(part) for part in found[2].split(".")] if found[2] else [_RELEASED]


_RELEASED: Identifier = (2, 0, "")
"""Sorts behind every pre-release."""


def _identifier(part: str) -> Identifier:
    """Numbers come before words, and are compared as numbers."""
    return (0, int(part), "") if part.isdecimal() else (1, 0, part)
