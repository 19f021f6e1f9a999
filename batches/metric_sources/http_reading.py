"""Fetch one answer over HTTP for a metric source: bounded in time and bytes, no redirects."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from typing import Final

import aiohttp

from batches.deployers.answer_text import presentable
from batches.metric_sources.base import BYTE_CAP, MetricUnavailable, SourceSpec

DEFAULT_TIMEOUT: Final = 5.0
VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_SHORTEST_SECRET: Final = 4


class HttpReader:
    """One session for one source; its headers may carry a secret and never show up in a text."""

    def __init__(
        self,
        spec: SourceSpec,
        *,
        environ: Mapping[str, str],
        byte_cap: int = BYTE_CAP,
    ) -> None:
        self.url = str(spec.options["url"])
        self._timeout = float(spec.options.get("timeout_seconds", DEFAULT_TIMEOUT))
        self._templates: Mapping[str, str] = spec.options.get("headers", {})
        self._environ = environ
        self._byte_cap = byte_cap
        self._secrets: tuple[str, ...] = ()
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str, *, timeout: float) -> bytes:
        """Return the body of a 200 answer. Raises MetricUnavailable."""
        return await self._fetch("GET", url, None, (200,), timeout)

    async def post_form(
        self, url: str, form: Mapping[str, str], *, accepted: tuple[int, ...], timeout: float
    ) -> bytes:
        """Send a form; return the body of an accepted status. Raises MetricUnavailable."""
        return await self._fetch("POST", url, form, accepted, timeout)

    async def close(self) -> None:
        """Close the session; the next call opens a new one."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def show(self, text: str) -> str:
        """Return the text masked and clipped."""
        return presentable(text, self._secrets)

    async def _fetch(
        self,
        method: str,
        url: str,
        form: Mapping[str, str] | None,
        accepted: tuple[int, ...],
        timeout: float,
    ) -> bytes:
        seconds = min(timeout, self._timeout)
        session = self._open_session()
        try:
            async with (
                asyncio.timeout(seconds),
                session.request(method, url, data=form, allow_redirects=False) as response,
            ):
                return await self._body(response, accepted)
        except TimeoutError as late:
            raise MetricUnavailable("timeout", f"no answer within {seconds:g} s") from late
        except aiohttp.ClientPayloadError as broken:
            raise MetricUnavailable("bad_answer", "the answer broke off in the middle") from broken
        except (aiohttp.ClientError, OSError) as error:
            said = self.show(_reason(error))
            raise MetricUnavailable("source_down", said) from error

    async def _body(self, response: aiohttp.ClientResponse, accepted: tuple[int, ...]) -> bytes:
        if response.status in (401, 403):
            raise MetricUnavailable(
                "unauthorized", f"HTTP {response.status}; check the headers of this source"
            )
        if 300 <= response.status < 400:
            target = response.headers.get("Location", "")
            raise MetricUnavailable(
                "bad_answer",
                self.show(f"HTTP {response.status} to {target}; redirects are not followed"),
            )
        if response.status not in accepted:
            raise MetricUnavailable(
                "source_down" if response.status >= 500 else "bad_answer",
                f"HTTP {response.status}",
            )
        content = bytearray()
        async for chunk in response.content.iter_chunked(262_144):
            content += chunk
            if len(content) > self._byte_cap:
                response.close()
                raise MetricUnavailable(
                    "bad_answer", f"the answer is larger than {self._byte_cap} bytes"
                )
        return bytes(content)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = self._headers()
            self._session = aiohttp.ClientSession(
                # The classic text form: OpenMetrics writes its timestamps in another unit.
                headers={"Accept": "text/plain;version=0.0.4, application/json;q=0.9", **headers},
                cookie_jar=aiohttp.DummyCookieJar(),
                # asyncio.timeout around each call is the only clock.
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._session

    def _headers(self) -> dict[str, str]:
        missing = sorted(
            name
            for template in self._templates.values()
            for name in VARIABLE.findall(template)
            if not self._environ.get(name)
        )
        if missing:
            raise MetricUnavailable(
                "unauthorized", f"the environment has no {', '.join(missing)} for the headers"
            )
        filled = {
            header: VARIABLE.sub(lambda match: self._environ[match.group(1)], template)
            for header, template in self._templates.items()
        }
        secrets = [
            self._environ[name]
            for template in self._templates.values()
            for name in VARIABLE.findall(template)
        ]
        self._secrets = tuple(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET)
        return filled


def _reason(error: Exception) -> str:
    # aiohttp and asyncio wrap the operating system's own words in longer texts with addresses.
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(inner, OSError) and inner.errno is not None and inner.errno > 0:
        return os.strerror(inner.errno).lower()
    return str(error) or type(error).__name__
