"""From a commit to the browser: events through a real daphne to many WebSocket clients.

`./console bench push [--clients 1,50,200] [--rate 100] [--seconds 8] [--json FILE]`. A writer in a
process of its own records events of one plan; each client notes when it got them.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from benchmarks import scene
from benchmarks.memory import console
from benchmarks.results import Found, percentile

GOAL_MS = 200
WRITER = """
import os, sys, time
from pathlib import Path
import django
django.setup()
from django.db import transaction
from django.utils import timezone
from plans.trail import events
from plans.models import Plan
plan = Plan.objects.get(pk=sys.argv[1])
rate, seconds = float(sys.argv[2]), float(sys.argv[3])
began = time.time()
for number in range(int(rate * seconds)):
    time.sleep(max(0.0, began + number / rate - time.time()))
    with transaction.atomic():
        event = events.record(stream=plan, kind="bench", sentence="Something happened.",
                              actor=None, via="command", now=timezone.now())
    print(event.seq, time.time(), flush=True)
"""


def session_cookie() -> str:
    """Return the cookie of somebody who may see the plan."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    from plans.models import User

    user = User.objects.get(name="Author")
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return f"sessionid={session.session_key}"


async def listen(
    session: aiohttp.ClientSession,
    url: str,
    cookie: str,
    got: dict[int, float],
    ready: asyncio.Event,
) -> None:
    """Note when each event came, until cancelled."""
    headers = {"Cookie": cookie, "Origin": url.replace("ws", "http", 1).partition("/ws/")[0]}
    async with session.ws_connect(url, headers=headers, max_msg_size=0) as socket:
        async for message in socket:
            at = time.time()
            ready.set()
            for one in json.loads(message.data):
                if one["type"] == "event":
                    got.setdefault(one["seq"], at)


async def one(url: str, cookie: str, plan: str, clients: int, rate: float, seconds: float):
    """Return the milliseconds from each commit to each client, and how many never came."""
    got: list[dict[int, float]] = [{} for _client in range(clients)]
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        ready = [asyncio.Event() for _client in range(clients)]
        address = f"{url.replace('http', 'ws', 1)}/ws/plans/{plan}/"
        listeners = [
            asyncio.create_task(listen(session, address, cookie, mine, heard))
            for mine, heard in zip(got, ready, strict=True)
        ]
        await asyncio.wait_for(asyncio.gather(*(heard.wait() for heard in ready)), 120)
        writer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WRITER, plan, str(rate), str(seconds)),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": "."},
        )
        told, _errors = await writer.communicate()
        await asyncio.sleep(3)
        for task in listeners:
            task.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
    committed = {int(seq): float(at) for seq, at in (line.split() for line in told.splitlines())}
    # The writer notes the time after the commit; a client may be told in between.
    late = [
        max(0.0, 1000 * (mine[seq] - at))
        for mine in got
        for seq, at in committed.items()
        if seq in mine
    ]
    return late, len(committed) * clients - len(late)


def main() -> None:
    """Measure each number of clients."""
    parser = argparse.ArgumentParser(prog="bench push")
    parser.add_argument("--clients", default="1,50,200")
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--json", default="")
    options = parser.parse_args()
    found = Found("push")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene.prepare(folder, base="http://127.0.0.1:9", tenants=25, policies=scene.QUIET)
        plan = str(scene.soaking("pushed", policy="quiet").pk)
        cookie = session_cookie()
        with console(folder, demo=False) as (url, _process):
            for clients in map(int, options.clients.split(",")):
                late, lost = asyncio.run(
                    one(url, cookie, plan, clients, options.rate, options.seconds)
                )
                label = f"commit to browser, {clients} client{'s'[: clients != 1]}"
                told = f"p50 {percentile(late, 0.5):.0f} ms, {len(late)} events, {lost} not seen"
                found.add(f"{label}, p99", "ms", [percentile(late, 0.99)], GOAL_MS, told)
    found.write(options.json)


if __name__ == "__main__":
    main()
