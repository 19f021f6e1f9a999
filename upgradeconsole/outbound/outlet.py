"""The one way out: an HTTP session that reaches only what the administrator allows.

No redirects, no proxies of the environment, no cookies, certificates always checked.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from upgradeconsole.outbound.destination import check_destination
from upgradeconsole.outbound.lookup import CheckedResolver, Lookup, checked_socket
from upgradeconsole.outbound.openings import OutboundRefused, Purpose
from upgradeconsole.outbound.rules_file import Rules

KEEP_ALIVE_SECONDS: Final = 15.0
MOST_DESTINATIONS: Final = 1_000


class CaFileUnusable(OutboundRefused):
    """The file of the private authority cannot be read, so no certificate can be checked."""


class Outlet:
    """One session for one purpose; made inside the event loop that uses it.

    A time-out around each whole call is the caller's business, and so is how much of an answer
    is read (`read_capped`).
    """

    def __init__(
        self,
        rules: Rules,
        purpose: Purpose,
        *,
        headers: Mapping[str, str] | None = None,
        connections: int = 100,
        trust: ssl.SSLContext | None = None,
        seconds: float | None = None,
        before_sending: Callable[[], None] | None = None,
        lookup: Lookup | None = None,
    ) -> None:
        """Open the session. `connections` 0 = any number; `seconds` is the most per call.

        `before_sending` is called in the task of each request when its connection is there and its
        first byte is about to go out.
        """
        self._rules = rules
        self._purpose: Purpose = purpose
        self._known: set[tuple[str, str]] = set()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=connections,
                keepalive_timeout=KEEP_ALIVE_SECONDS,
                resolver=CheckedResolver(rules, purpose, lookup),
                socket_factory=checked_socket(rules, purpose),
                ssl=trust or _trust(rules),
            ),
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=seconds),
            request_class=_telling(before_sending) if before_sending else aiohttp.ClientRequest,
            trust_env=False,
        )

    def request(
        self,
        method: str,
        url: str | URL,
        *,
        headers: Mapping[str, str] | None = None,
        json: object | None = None,
        data: Any = None,
    ) -> Asking:
        """Return the request as an asynchronous context whose value is the response.

        Entering it raises OutboundRefused for what the rules forbid, else aiohttp's own errors.
        """
        return Asking(
            self._session.request(
                method,
                self._checked(url),
                headers=headers,
                json=json,
                data=data,
                allow_redirects=False,
            )
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def __aenter__(self) -> Outlet:
        return self

    async def __aexit__(self, *_about: object) -> None:
        await self.close()

    def _checked(self, url: str | URL) -> URL:
        if isinstance(url, URL) and self._is_known(url):
            return url
        check_destination(url, self._rules(), self._purpose)
        parsed = url if isinstance(url, URL) else URL(url)
        if len(self._known) < MOST_DESTINATIONS:
            self._known.add((parsed.scheme, parsed.raw_authority))
        return parsed

    def _is_known(self, url: URL) -> bool:
        """Tell whether a call went there before; whom it connects to is checked anyway.

        Asked for every call, so only of what the client works out too.
        """
        sent = url.raw_path_qs
        return (
            (url.scheme, url.raw_authority) in self._known
            and sent.isascii()
            and sent.isprintable()
            and " " not in sent
        )


def _telling(before_sending: Callable[[], None]) -> type[aiohttp.ClientRequest]:
    """Return requests that say when they are sent; the library's tracing costs ten times that."""

    class Telling(aiohttp.ClientRequest):
        async def send(self, conn: Connection) -> aiohttp.ClientResponse:
            before_sending()
            return await super().send(conn)

    return Telling


class Asking:
    """A request under way; what our own rules forbid rises as what it is."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aenter__(self) -> aiohttp.ClientResponse:
        try:
            response: aiohttp.ClientResponse = await self._inner.__aenter__()
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, OutboundRefused):
                raise error.os_error from error
            raise
        return response

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._inner.__aexit__(kind, error, traceback)


async def read_capped(response: aiohttp.ClientResponse, most: int) -> bytes | None:
    """Return the body, or None, with the line cut, where it is longer than `most` bytes."""
    content = bytearray()
    async for chunk in response.content.iter_chunked(262_144):
        content += chunk
        if len(content) > most:
            response.close()
            return None
    return bytes(content)


def trusted(ca_file: str = "") -> ssl.SSLContext:
    """Return how certificates are checked: the machine's authorities, and the private one.

    Raises CaFileUnusable.
    """
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except (OSError, ssl.SSLError) as error:
            said = getattr(error, "strerror", None) or str(error)
            raise CaFileUnusable(
                f"ca_file: {ca_file} cannot be used: {said}; name a PEM file of certificates"
            ) from error
    return context


def _trust(rules: Rules) -> ssl.SSLContext | bool:
    ca_file = rules().ca_file
    # aiohttp keeps one context of its own for the usual case: making one takes 20 ms.
    return trusted(ca_file) if ca_file else True
