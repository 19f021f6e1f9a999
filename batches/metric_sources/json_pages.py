"""Where the next page of a JSON document is. A document that does not end is no answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from batches.deployers.json_path import MISSING, look_up
from batches.metric_sources.base import MetricUnavailable

MOST_PAGES: Final = 100
"""So many pages are read unless the dictionary says otherwise."""
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class PageWalk:
    """One walk from the first page to the last; half of a document is never taken for all of it.

    `pages` is what the dictionary says of them, None where there is one page. With `next` alone a
    page names the address of the next one; with `parameter` too it names what to ask for by it;
    with `parameter` alone pages are counted up until one is empty.
    """

    def __init__(self, url: str, pages: Mapping[str, Any] | None) -> None:
        self._url = url
        self._pages = pages
        options = pages or {}
        self._next: str | None = options.get("next")
        self._parameter: str | None = options.get("parameter")
        self._most = int(options.get("at_most", MOST_PAGES))
        self._number = int(options.get("first", 1))
        counted = self._parameter is not None and self._next is None
        self.first = self._with(str(self._number)) if counted else url
        self._asked = {self.first}
        self._bodies: set[bytes] = set()

    def after(self, url: str, document: object, body: bytes, *, rows: int) -> str | None:
        """Return where the page after this one is, None after the last. Raises MetricUnavailable.

        `rows`: how many this page had.
        """
        if self._pages is None:
            return None
        following = self._following(url, document, body, rows)
        if following is None:
            return None
        if following in self._asked:
            raise _bad(f"its pages go in a circle: after {len(self._asked)} comes one again")
        if len(self._asked) >= self._most:
            raise _bad(f"it has more than {self._most} pages; raise pages.at_most of this source")
        self._asked.add(following)
        return following

    def _following(self, url: str, document: object, body: bytes, rows: int) -> str | None:
        if self._next is None:
            digest = hashlib.sha256(body).digest()
            if rows == 0:
                return None
            if digest in self._bodies:
                raise _bad(
                    f"page {self._number} says what a page before it said; does it take"
                    f" '{self._parameter}', and does it end with an empty page?"
                )
            self._bodies.add(digest)
            self._number += 1
            return self._with(str(self._number))
        value = look_up(document, self._next)
        if value is MISSING or value is None or value is False or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise _bad(f"{self._next}: {value!r} does not name a page")
        if self._parameter is not None:
            return self._with(str(value))
        return self._link(url, str(value))

    def _link(self, url: str, link: str) -> str:
        try:
            target = urljoin(url, link)
            elsewhere = _origin(urlsplit(target)) != _origin(urlsplit(self._url))
        except ValueError as error:
            raise _bad(f"{self._next}: {link[:100]!r} is no address") from error
        if elsewhere:
            # Headers and log-in would go along.
            raise _bad(
                f"{self._next}: {link[:100]!r} is at another address than the first page; only"
                " pages of the same one are read"
            )
        return target

    def _with(self, value: str) -> str:
        parts = urlsplit(self._url)
        asked = [
            pair
            for pair in parse_qsl(parts.query, keep_blank_values=True)
            if pair[0] != self._parameter
        ]
        query = urlencode([*asked, (self._parameter or "", value)])
        return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    scheme = parts.scheme.lower()
    return scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(scheme)


def _bad(sentence: str) -> MetricUnavailable:
    return MetricUnavailable("bad_answer", sentence)
