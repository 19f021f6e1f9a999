"""Which line of a JSON text holds which value: json itself forgets where it read what."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

_DEEPEST: Final = 50
"""Nothing that is meant lies deeper, and paths grow with the depth."""
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')


def lines_of(text: str) -> dict[str, int]:
    """Return the line of every key and entry by its path, such as `mappings[1].source`.

    A text that is no JSON gives what stands before the first mistake.
    """
    lines: dict[str, int] = {}
    # Per open object its path and the key that is read; per open list its path and the index.
    open_places: list[tuple[str, str | int]] = []
    line, position, expects_key = 1, 0, False
    for match in _TOKEN.finditer(text):
        line += text.count("\n", position, match.start())
        position = match.start()
        mark = match[0]
        if mark in "}],":
            if not open_places:
                break
            expects_key = _passed(open_places, mark)
        elif mark == ":":
            expects_key = False
        elif expects_key and mark.startswith('"'):
            open_places[-1] = (open_places[-1][0], _text(mark))
            lines.setdefault(_here(open_places), line)
        else:
            here = _here(open_places)
            lines.setdefault(here, line)
            if len(open_places) == _DEEPEST:
                break
            if mark in "{[":
                open_places.append((here, "" if mark == "{" else 0))
                expects_key = mark == "{"
    return lines


def _passed(open_places: list[tuple[str, str | int]], mark: str) -> bool:
    """Leave the innermost place, or go on to its next entry; tell whether a key comes now."""
    if mark != ",":
        open_places.pop()
        return False
    path, last = open_places[-1]
    if isinstance(last, int):
        open_places[-1] = (path, last + 1)
        return False
    return True


def line_at(lines: Mapping[str, int], path: str) -> int:
    """Return the line of the path, or of the nearest thing around it; 0 where there is none."""
    while path:
        if path in lines:
            return lines[path]
        # What is missing is told at the object in which it should stand.
        cut = max(path.rfind("."), path.rfind("["))
        path = path[:cut] if cut > 0 else ""
    return 0


def _here(open_places: list[tuple[str, str | int]]) -> str:
    if not open_places:
        return ""
    path, last = open_places[-1]
    if isinstance(last, int):
        return f"{path}[{last}]"
    return f"{path}.{last}" if path else last


def _text(mark: str) -> str:
    try:
        return str(json.loads(mark))
    except ValueError:
        return mark[1:-1]
