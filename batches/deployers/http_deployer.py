"""Reach a platform over HTTP, by the templates of deployers.yaml."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from yarl import URL

from batches.deployers.answer_text import presentable
from batches.deployers.base import (
    Answer,
    InstallOrder,
    Observed,
    ObserveFailed,
    Order,
    Outcome,
    RestoreOrder,
)
from batches.deployers.json_path import MISSING, look_up, parse_json
from batches.deployers.observed_answer import read_observed
from batches.deployers.order_template import (
    UnusableValue,
    fill_json,
    fill_path,
    header_value,
    values_of,
)
from upgradeconsole.outbound import Outlet, Rules

BYTE_CAP: Final = 1_000_000
READ_AT_ONCE: Final = 65_536
FIRST_POLL: Final = 0.1
SLOWEST_POLL: Final = 1.0
_UNAUTHORIZED: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class CallTemplate:
    """How an install or a restore is said to the platform; json None sends no body."""

    method: str
    path: str
    json: object | None = None


@dataclass(frozen=True, slots=True)
class ObserveTemplate:
    """Where the platform tells what a tenant runs, and the JSON paths of it."""

    path: str
    version: str
    digest: str | None = None
    config: str | None = None
    method: str = "GET"


@dataclass(frozen=True, slots=True)
class Accepted:
    """Statuses that mean "begun", and how to see the end: JSON path to the URL, values to meet."""

    statuses: frozenset[int]
    url_path: str
    done: Mapping[str, object]
    failed: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """One `kind: http` entry of deployers.yaml."""

    base_url: str
    install: CallTemplate
    restore: CallTemplate
    observe: ObserveTemplate
    # Never in a repr: a log line or a traceback must not carry a token.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)
    accepted: Accepted | None = None
    permanent: frozenset[int] = frozenset({400, 401, 403, 404, 422})


@dataclass(slots=True)
class _Progress:
    """How far a call came, for the sentence about the one that did not end."""

    on_the_wire: bool = False
    accepted: Answer | None = None


_under_way: ContextVar[_Progress | None] = ContextVar("order_under_way", default=None)


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    body: bytes
    over_cap: bool
    url: URL
    location: str
    retry_after: float | None

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class HttpDeployer:
    """Calls with one kept-alive session; a status decides, a broken line is unknown."""

    def __init__(
        self,
        name: str,
        options: HttpOptions,
        *,
        parallelism: int,
        expected_seconds: float,
        rules: Rules,
    ) -> None:
        self.name = name
        self.parallelism = parallelism
        self.expected_seconds = expected_seconds
        self._options = options
        self._base = options.base_url.rstrip("/")
        self._rules = rules
        self._outlet: Outlet | None = None

    async def install(self, order: InstallOrder, *, timeout: float) -> Answer:
        """Send the install template."""
        return await self._send(self._options.install, order, timeout)

    async def restore(self, order: RestoreOrder, *, timeout: float) -> Answer:
        """Send the restore template."""
        return await self._send(self._options.restore, order, timeout)

    async def observe(self, tenant: str, plugin: str, *, timeout: float) -> Observed:
        """Read the tenant by the observe template. Raises ObserveFailed."""
        template = self._options.observe
        try:
            url = self._url(fill_path(template.path, {"tenant": tenant, "plugin": plugin}))
        except UnusableValue as unusable:
            raise ObserveFailed(str(unusable), True) from unusable
        try:
            async with asyncio.timeout(timeout):
                reply = await self._call(template.method, url, {}, None)
        except TimeoutError as late:
            raise ObserveFailed(f"no answer within {timeout:g} s") from late
        except (aiohttp.ClientError, OSError) as error:
            raise ObserveFailed(self._broken(error)) from error
        if not 200 <= reply.status < 300:
            raise ObserveFailed(
                self._not_ok(reply),
                reply.status in self._options.permanent,
                unauthorized=reply.status in _UNAUTHORIZED,
                retry_after=reply.retry_after,
            )
        if reply.over_cap:
            raise ObserveFailed(f"the answer is larger than {BYTE_CAP} bytes")
        return read_observed(
            parse_json(reply.body),
            version=template.version,
            digest=template.digest,
            config=template.config,
        )

    async def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        outlet, self._outlet = self._outlet, None
        if outlet is not None:
            await outlet.close()

    async def _send(self, template: CallTemplate, order: Order, timeout: float) -> Answer:
        try:
            values = values_of(order)
            url = self._url(fill_path(template.path, values))
            body = None if template.json is None else fill_json(template.json, values)
            headers = {
                "Idempotency-Key": header_value("Idempotency-Key", order.key),
                "X-Upgrade-Fence": str(order.fence),
                **_digest_header(order),
            }
        except UnusableValue as unusable:
            return Answer("refused", self._show(str(unusable)), permanent=True)
        progress = _Progress()
        order_before = _under_way.set(progress)
        try:
            async with asyncio.timeout(timeout):
                reply = await self._call(template.method, url, headers, body)
                accepted = self._options.accepted
                if accepted is not None and reply.status in accepted.statuses:
                    return await self._follow(accepted, reply, headers, progress)
                return self._judge(reply)
        except TimeoutError:
            return self._out_of_time(progress, timeout)
        except (aiohttp.ClientError, OSError) as error:
            if progress.on_the_wire:
                return Answer("unknown", f"{self._broken(error)}; it may have taken effect")
            return Answer("failed", f"not sent: {self._broken(error)}")
        finally:
            _under_way.reset(order_before)

    def _judge(self, reply: _Reply) -> Answer:
        if 200 <= reply.status < 300:
            return Answer("ok", self._show(reply.text or f"HTTP {reply.status}"), reply.status)
        permanent = reply.status in self._options.permanent
        return Answer(
            "refused" if permanent else "failed",
            self._not_ok(reply),
            reply.status,
            permanent=permanent,
            unauthorized=reply.status in _UNAUTHORIZED,
            retry_after=reply.retry_after,
        )

    async def _follow(
        self, accepted: Accepted, first: _Reply, headers: Mapping[str, str], progress: _Progress
    ) -> Answer:
        """Ask the status URL until it says done or failed; the caller's timeout ends it."""
        progress.accepted = self._unfinished(first)
        where = self._status_url(accepted, first)
        if isinstance(where, str):
            return Answer("unknown", self._show(f"accepted, but {where}"), first.status)
        pause = FIRST_POLL
        while True:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, SLOWEST_POLL)
            try:
                reply = await self._call("GET", where, headers, None)
            except (aiohttp.ClientError, ConnectionError):
                # The order is with the platform; a broken status line says nothing about it.
                continue
            if reply.status in self._options.permanent:
                refused = f"accepted, but its status cannot be read: {self._not_ok(reply)}"
                return Answer(
                    "unknown",
                    self._show(refused),
                    reply.status,
                    unauthorized=reply.status in _UNAUTHORIZED,
                )
            if not 200 <= reply.status < 300:
                continue
            progress.accepted = self._unfinished(reply)
            outcome = _finished(accepted, parse_json(reply.body))
            if outcome is not None:
                return Answer(outcome, self._show(reply.text), reply.status)

    def _status_url(self, accepted: Accepted, reply: _Reply) -> URL | str:
        """Return the URL to ask, or the clause that says why there is none."""
        found = look_up(parse_json(reply.body), accepted.url_path)
        if not isinstance(found, str) or not found:
            return f"the answer had no {accepted.url_path}"
        try:
            url = reply.url.join(URL(found))
            same = url.origin() == URL(self._base).origin() and url.user is None
        except ValueError:
            return f"its status URL {found!r} is not a URL"
        # The configured headers go along: they must not be sent to whom an answer names.
        return url if same else f"its status URL {found!r} is on another server"

    async def _call(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: object | None,
    ) -> _Reply:
        async with self._open().request(method, url, headers=headers, json=body) as response:
            content = bytearray()
            over_cap = False
            # Most answers are there in one piece, which needs one reading.
            while not response.content.at_eof():
                content += await response.content.read(READ_AT_ONCE)
                if len(content) > BYTE_CAP:
                    over_cap = True
                    response.close()
                    break
            return _Reply(
                status=response.status,
                body=bytes(content[:BYTE_CAP]),
                over_cap=over_cap,
                url=response.url,
                location=response.headers.get("Location", ""),
                retry_after=_seconds(response.headers.get("Retry-After")),
            )

    def _open(self) -> Outlet:
        if self._outlet is None:
            # asyncio.timeout around each whole call is the only clock.
            self._outlet = Outlet(
                self._rules,
                "deployers",
                headers=dict(self._options.headers),
                # Observes run beside the orders and must not wait behind hung ones.
                connections=self.parallelism + max(4, self.parallelism // 4),
                before_sending=_mark_on_the_wire,
            )
        return self._outlet

    def _url(self, path: str) -> URL:
        # Already quoted: yarl must not undo %2F in a tenant's key.
        return URL(self._base + path, encoded=True)

    def _out_of_time(self, progress: _Progress, timeout: float) -> Answer:
        if progress.accepted is not None:
            return progress.accepted
        if progress.on_the_wire:
            return Answer("unknown", f"no answer within {timeout:g} s; it may have taken effect")
        return Answer("failed", f"not sent: no connection within {timeout:g} s")

    def _unfinished(self, reply: _Reply) -> Answer:
        said = self._show(reply.text)
        return Answer("unknown", self._show(f"accepted, not finished: {said}"), reply.status)

    def _not_ok(self, reply: _Reply) -> str:
        if 300 <= reply.status < 400:
            return self._show(
                f"HTTP {reply.status} to {reply.location}; redirects are not followed"
            )
        # Masked by itself first: as JSON it can be masked by its keys.
        body = self._show(reply.text)
        return self._show(f"HTTP {reply.status}: {body}" if body else f"HTTP {reply.status}")

    def _broken(self, error: Exception) -> str:
        return self._show(str(error) or type(error).__name__)

    def _show(self, text: str) -> str:
        return presentable(text, self._options.secrets)


def _digest_header(order: Order) -> dict[str, str]:
    """Return the artifact's digest for platforms whose template does not carry it."""
    if not order.digest:
        return {}
    digest = order.digest.removeprefix("sha256:")
    return {"X-Upgrade-Digest": header_value("X-Upgrade-Digest", f"sha256:{digest}")}


def _finished(accepted: Accepted, document: object) -> Outcome | None:
    if all(_equal(look_up(document, path), value) for path, value in accepted.done.items()):
        return "ok"
    if all(_equal(look_up(document, path), value) for path, value in accepted.failed.items()):
        return "failed"
    return None


def _equal(found: object, wanted: object) -> bool:
    # JSON's true is not 1, Python's is.
    return found is not MISSING and type(found) is type(wanted) and found == wanted


def _seconds(retry_after: str | None) -> float | None:
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def _mark_on_the_wire() -> None:
    # Said just before the first byte goes out, so the doubt is on the safe side.
    progress = _under_way.get()
    if progress is not None:
        progress.on_the_wire = True
