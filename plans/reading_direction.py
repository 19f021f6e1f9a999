"""Characters that turn the reading direction of what follows: none in names or sentences.

With U+202E in a name "tenant <name> was taken back" reads as something else. Letters of scripts
that are written from right to left are no such characters, and stay.
"""

import re

_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")


def turning_problems(text: str, *, field: str = "name") -> list[str]:
    """Return what is wrong with a name that would turn the text around it, nothing otherwise."""
    found = sorted({f"U+{ord(one):04X}" for one in _TURNING.findall(text)})
    if not found:
        return []
    return [f"{field}: take out what turns the reading direction ({', '.join(found)})"]


def straight(text: str) -> str:
    """Return a sentence without such characters, whoever's words are part of it."""
    return _TURNING.sub("", text)
