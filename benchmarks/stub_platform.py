"""A platform whose hooks take a fixed time and cost next to nothing: the floor of a rollout.

`python -m benchmarks.stub_platform --latency 0.2` prints its port; GET /_span tells when the first
change began and when the last answer of any kind was given, POST /_reset forgets all.
"""

import argparse
import asyncio
import time

from aiohttp import web


class Stub:
    """Versions per tenant, and the span from the first change to the last answer."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.versions: dict[str, str] = {}
        self.first: float | None = None
        self.last = 0.0
        self.changes = 0

    async def change(self, request: web.Request) -> web.Response:
        """Take the version over after the latency."""
        if self.first is None:
            self.first = time.time()
        self.changes += 1
        body = await request.json()
        await asyncio.sleep(self.latency)
        self.versions[request.match_info["tenant"]] = body["version"]
        self.last = time.time()
        return web.json_response({"ok": True})

    async def show(self, request: web.Request) -> web.Response:
        """Tell a tenant's version."""
        self.last = time.time()
        version = self.versions.get(request.match_info["tenant"], "1.0.0")
        return web.json_response({"version": version})

    async def span(self, _request: web.Request) -> web.Response:
        """Tell the seconds from the first change to the last answer."""
        seconds = self.last - self.first if self.first is not None else 0.0
        return web.json_response({"seconds": seconds, "changes": self.changes})

    async def reset_span(self, _request: web.Request) -> web.Response:
        """Forget the span and keep the versions."""
        self.first, self.last, self.changes = None, 0.0, 0
        return web.json_response({})

    async def reset(self, _request: web.Request) -> web.Response:
        """Forget everything."""
        self.versions.clear()
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
            web.get("/_span", stub.span),
            web.post("/_reset", stub.reset),
            web.post("/_reset_span", stub.reset_span),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.2)
    asyncio.run(serve(parser.parse_args().latency))
