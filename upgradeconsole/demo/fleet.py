"""The demo fleet: a platform with many tenants, as its own process on its own port.

    python -m upgradeconsole.demo.fleet --port 9700 --tenants 120 --state FILE --log FILE

It knows nothing of the console. Its metrics follow the versions that its tenants run, its knobs
make it misbehave, and its log says what really reached it.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from upgradeconsole.demo.fleet_platform import Fleet
from upgradeconsole.demo.knobs import Knobs


@dataclass(frozen=True, slots=True)
class RunningFleet:
    """A fleet that listens; close() ends it."""

    fleet: Fleet
    base_url: str
    close: Callable[[], Awaitable[None]]


async def start_fleet(fleet: Fleet, *, host: str = "127.0.0.1", port: int = 0) -> RunningFleet:
    """Let the fleet listen in this event loop; port 0 takes a free one."""
    runner = web.AppRunner(fleet.app(), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, host, port, backlog=1024)
    await site.start()
    taken = runner.addresses[0][1]
    return RunningFleet(fleet, f"http://{host}:{taken}", runner.cleanup)


async def _serve(arguments: argparse.Namespace) -> None:
    fleet = Fleet(
        tenants=arguments.tenants,
        state=arguments.state,
        log=arguments.log,
        token=arguments.token,
        seed=arguments.seed,
        knobs=Knobs(latency_seconds=arguments.latency),
    )
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for wanted in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(wanted, ended.set)
    running = await start_fleet(fleet, host=arguments.host, port=arguments.port)
    sys.stdout.write(f"fleet of {arguments.tenants} tenants listening on {running.base_url}\n")
    sys.stdout.flush()
    await ended.wait()
    await running.close()


def main() -> None:
    """Run the fleet until it is told to end."""
    parser = argparse.ArgumentParser(prog="python -m upgradeconsole.demo.fleet")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9700, help="0 takes a free one")
    parser.add_argument("--tenants", type=int, default=120)
    parser.add_argument("--state", type=Path, help="file that keeps versions over restarts")
    parser.add_argument("--log", type=Path, help="JSON lines file of all calls")
    parser.add_argument("--token", default="", help="bearer token that calls must carry")
    parser.add_argument("--seed", default="demo")
    parser.add_argument("--latency", type=float, default=0.2, help="seconds per call")
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
