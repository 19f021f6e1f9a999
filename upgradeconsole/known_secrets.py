"""The secrets that this process has in its hands, so that none of them is ever written down.

On the ground floor: used by everything, imports nothing of the product and no Django. Values are
remembered where they are read (settings, ${NAME} of the files, sealed rows) and masked where text
leaves: log lines, error pages, answers of platforms, failures of tasks.
"""

from __future__ import annotations

import html
import json
import re
import threading
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

MASK: Final = "***"
SHORTEST: Final = 8
"""A shorter value is in half of all words; such a secret cannot be told from them."""
MOST: Final = 500
# Things whose names end like a secret's and that everybody may read.
_NAME: Final = re.compile(
    r"passw(or)?d|passphrase|token|secret|authori[sz]ation|api[-_]?key|private[-_]?key"
    r"|credential|cookie|signing[-_]?key|database[-_]?url|session[-_]?key",
    re.IGNORECASE,
)


def is_secret_name(name: str) -> bool:
    """Tell whether a variable, key or header of this name holds something to hide."""
    return _NAME.search(name) is not None


class _Known:
    """The values, longest first; written under a lock, read without one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, None] = {}
        self.longest_first: tuple[str, ...] = ()

    def add(self, values: Iterable[str]) -> None:
        new = [form for value in values for form in _forms(value) if form not in self._values]
        if not new:
            return
        with self._lock:
            self._values.update(dict.fromkeys(new))
            while len(self._values) > MOST:
                # The oldest were replaced long ago.
                del self._values[next(iter(self._values))]
            # "Bearer abc" goes as a whole before its part "abc" does.
            self.longest_first = tuple(sorted(self._values, key=len, reverse=True))

    def forget(self) -> None:
        with self._lock:
            self._values.clear()
            self.longest_first = ()


_known = _Known()


def remember(*values: str) -> None:
    """Never let these be written down from now on."""
    _known.add(values)


def masked(text: str) -> str:
    """Return the text without any secret that this process knows."""
    for value in _known.longest_first:
        if value in text:
            text = text.replace(value, MASK)
    return text


def holds_secret(text: str) -> bool:
    """Tell whether a known secret stands in the text."""
    return any(value in text for value in _known.longest_first)


def masked_json(value: object) -> object:
    """Return a JSON value with every text in it masked."""
    if not _known.longest_first:
        return value
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, dict):
        return {
            masked(key) if isinstance(key, str) else key: masked_json(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked_json(item) for item in value]
    return value


def forget_all() -> None:
    """Forget every value; for tests, whose secrets are not those of the next one."""
    _known.forget()


def _forms(value: str) -> list[str]:
    """Return the spellings in which a value shows up: in text, repr, JSON, HTML and URLs."""
    plain = value.strip()
    if len(plain) < SHORTEST:
        return []
    return list(
        dict.fromkeys(
            (
                plain,
                repr(plain)[1:-1],
                json.dumps(plain)[1:-1],
                json.dumps(plain, ensure_ascii=False)[1:-1],
                html.escape(plain),
                quote(plain, safe=""),
            )
        )
    )
