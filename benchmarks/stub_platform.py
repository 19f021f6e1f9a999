"""A platform whose hooks take a fixed time and cost next to nothing: the floor of a rollout.

`python -m benchmarks.stub_platform --latency 0.2` prints its port; GET /_span tells when the first
change began and when the last answer of any kind was given, POST /_set changes how it behaves
(`latency`, `faults`: a first restore that fails, hangs, is cut off or takes 5 s, by tenant),
POST /_reset forgets all. GET /metrics has requests and errors of every tenant that was changed:
5 requests a second each, of which 5 % fail on the version of `bad`.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Sequence

from aiohttp import web

REQUESTS_PER_SECOND = 5
BAD_SHARE = 0.05
HANG_SECONDS = 3600.0
SLOW_SECONDS = 5.0


class Stub:
    """Versions per tenant, and the span from the first change to the last answer."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.faults = False
        self.bad = ""
        self.versions: dict[str, str] = {}
        self.tried: set[str] = set()
        self.counters: dict[str, list[int]] = {}
        self.counted_at = time.time()
        self.random = random.Random(7)
        self.first: float | None = None
        self.last = 0.0
        self.changes = 0

    async def change(self, request: web.Request) -> web.Response:
        """Take the version over after the latency."""
        if self.first is None:
            self.first = time.time()
        self.changes += 1
        body = await request.json()
        tenant = request.match_info["tenant"]
        if self.faults and request.path.endswith("/rollback") and tenant not in self.tried:
            self.tried.add(tenant)
            if (answer := await self._fault(request, int(tenant.lstrip("t")) % 100)) is not None:
                return answer
        await asyncio.sleep(self.latency)
        self.versions[tenant] = body["version"]
        self.last = time.time()
        return web.json_response({"ok": True})

    async def _fault(self, request: web.Request, place: int) -> web.Response | None:
        """2 % fail, 1 % hang, 1 % are cut off, 2 % take 5 s: each tenant's first restore only."""
        if place in {0, 1}:
            return web.json_response({"error": "out of order"}, status=500)
        if place == 2:
            await asyncio.sleep(HANG_SECONDS)
        if place == 3 and request.transport is not None:
            request.transport.abort()
        if place in {4, 5}:
            await asyncio.sleep(SLOW_SECONDS)
        return None

    async def show(self, request: web.Request) -> web.Response:
        """Tell a tenant's version."""
        self.last = time.time()
        version = self.versions.get(request.match_info["tenant"], "1.0.0")
        return web.json_response({"version": version})

    def _count(self) -> None:
        now = time.time()
        fresh = int((now - self.counted_at) * REQUESTS_PER_SECOND)
        if not fresh:
            return
        self.counted_at += fresh / REQUESTS_PER_SECOND
        for tenant, version in self.versions.items():
            counts = self.counters.setdefault(tenant, [0, 0])
            counts[0] += fresh
            if version == self.bad:
                counts[1] += sum(self.random.random() < BAD_SHARE for _request in range(fresh))

    async def metrics(self, _request: web.Request) -> web.Response:
        """Tell the counters."""
        self._count()
        lines: Sequence[str] = [
            f'requests_total{{tenant="{tenant}"}} {total}\n'
            f'errors_total{{tenant="{tenant}"}} {bad}\n'
            for tenant, (total, bad) in self.counters.items()
        ]
        return web.Response(text="".join(lines))

    async def set(self, request: web.Request) -> web.Response:
        """Behave in another way from now on."""
        wanted = await request.json()
        self.latency = wanted.get("latency", self.latency)
        self.faults = wanted.get("faults", self.faults)
        self.bad = wanted.get("bad", self.bad)
        for tenant in wanted.get("tenants", ()):
            self.versions.setdefault(tenant, "1.0.0")
        return web.json_response({})

    async def span(self, _request: web.Request) -> web.Response:
        """Tell the seconds from the first change to the last answer."""
        seconds = self.last - self.first if self.first is not None else 0.0
        return web.json_response({"seconds": seconds, "changes": self.changes})

    async def reset_span(self, _request: web.Request) -> web.Response:
        """Forget the span and keep the versions."""
        self.first, self.last, self.changes = None, 0.0, 0
        return web.json_response({})

    async def reset(self, _request: web.Request) -> web.Response:
        """Forget everything but the behaviour."""
        self.versions.clear()
        self.tried.clear()
        self.counters.clear()
        self.first, self.last, self.changes = None, 0.0, 0
        return web.json_response({})


async def serve(latency: float) -> None:
    """Serve until killed."""
    stub = Stub(latency)
    app = web.Application()
    app.add_routes(
        [
            web.post("/tenants/{tenant}/upgrade", stub.change),
            web.post("/tenants/{tenant}/rollback", stub.change),
            web.get("/tenants/{tenant}", stub.show),
            web.get("/metrics", stub.metrics),
            web.get("/_span", stub.span),
            web.post("/_set", stub.set),
            web.post("/_reset", stub.reset),
            web.post("/_reset_span", stub.reset_span),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.2)
    asyncio.run(serve(parser.parse_args().latency))
