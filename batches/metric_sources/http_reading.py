"""Fetch one answer over HTTP for a metric source: bounded in time and bytes, no redirects."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Mapping
from typing import Final

import aiohttp

from batches.deployers.answer_text import presentable
from batches.metric_sources.base import BYTE_CAP, MetricUnavailable, SourceSpec
from batches.metric_sources.http_access import Access, read_access, tls_context

DEFAULT_TIMEOUT: Final = 5.0


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
        self.timeout = float(spec.options.get("timeout_seconds", DEFAULT_TIMEOUT))
        self._options = spec.options
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
        seconds = min(timeout, self.timeout)
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
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            raise MetricUnavailable("unauthorized", self.show(_distrust(error))) from error
        except (aiohttp.ClientError, OSError) as error:
            said = self.show(_reason(error))
            raise MetricUnavailable("source_down", said) from error

    async def _body(self, response: aiohttp.ClientResponse, accepted: tuple[int, ...]) -> bytes:
        if response.status in (401, 403):
            raise MetricUnavailable(
                "unauthorized", f"HTTP {response.status}; check auth or headers of this source"
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
            access: Access = read_access(self._options, self._environ)
            self._secrets = access.secrets
            secure = self.url.lower().startswith("https:")
            trust = tls_context(self._options, self._environ) if secure else True
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=trust),
                # The classic text form: OpenMetrics writes its timestamps in another unit.
                headers={
                    "Accept": "text/plain;version=0.0.4, application/json;q=0.9",
                    **access.headers,
                },
                cookie_jar=aiohttp.DummyCookieJar(),
                # asyncio.timeout around each call is the only clock.
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._session


def _distrust(error: aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError) -> str:
    """Say why the two ends do not trust each other, and what to write."""
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
    said = getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or str(inner)
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({said}); name its authority as tls.ca"
    return f"no TLS connection ({said})"


def _reason(error: Exception) -> str:
    # aiohttp and asyncio wrap the operating system's own words in longer texts with addresses.
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(inner, OSError) and inner.errno is not None and inner.errno > 0:
        return os.strerror(inner.errno).lower()
    return str(error) or type(error).__name__
