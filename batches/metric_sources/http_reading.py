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
from upgradeconsole.outbound import OutboundRefused, Outlet, Rules, read_capped

DEFAULT_TIMEOUT: Final = 5.0


class HttpReader:
    """One session for one source; its headers may carry a secret and never show up in a text."""

    def __init__(
        self,
        spec: SourceSpec,
        *,
        environ: Mapping[str, str],
        rules: Rules,
        byte_cap: int = BYTE_CAP,
    ) -> None:
        self.url = str(spec.options["url"])
        self.timeout = float(spec.options.get("timeout_seconds", DEFAULT_TIMEOUT))
        self._options = spec.options
        self._environ = environ
        self._byte_cap = byte_cap
        self._secrets: tuple[str, ...] = ()
        self._rules = rules
        self._outlet: Outlet | None = None

    async def get(self, url: str, *, timeout: float) -> bytes:
        """Return the body of a 200 answer. Raises MetricUnavailable."""
        return await self._fetch("GET", url, None, (200,), timeout)

    async def post_form(
        self, url: str, form: Mapping[str, str], *, accepted: tuple[int, ...], timeout: float
    ) -> bytes:
        """Send a form; return the body of an accepted status. Raises MetricUnavailable."""
        return await self._fetch("POST", url, form, accepted, timeout)

    async def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        outlet, self._outlet = self._outlet, None
        if outlet is not None:
            await outlet.close()

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
        try:
            outlet = self._open()
            async with (
                asyncio.timeout(seconds),
                outlet.request(method, url, data=form) as response,
            ):
                return await self._body(response, accepted)
        except TimeoutError as late:
            raise MetricUnavailable("timeout", f"no answer within {seconds:g} s") from late
        except aiohttp.ClientPayloadError as broken:
            raise MetricUnavailable("bad_answer", "the answer broke off in the middle") from broken
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
            raise MetricUnavailable("unauthorized", self.show(_distrust(error))) from error
        except OutboundRefused as refused:
            raise MetricUnavailable("source_down", refused.sentence) from refused
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
        content = await read_capped(response, self._byte_cap)
        if content is None:
            raise MetricUnavailable(
                "bad_answer", f"the answer is larger than {self._byte_cap} bytes"
            )
        return content

    def _open(self) -> Outlet:
        if self._outlet is None:
            access: Access = read_access(self._options, self._environ)
            self._secrets = access.secrets
            secure = self.url.lower().startswith("https:")
            # asyncio.timeout around each call is the only clock.
            self._outlet = Outlet(
                self._rules,
                "metrics",
                # The classic text form: OpenMetrics writes its timestamps in another unit.
                headers={
                    "Accept": "text/plain;version=0.0.4, application/json;q=0.9",
                    **access.headers,
                },
                trust=tls_context(self._options, self._rules().ca_file) if secure else None,
            )
        return self._outlet


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
