"""Harbor: a pretended plugin platform, shaped differently from the fleet of CONTRACTS.

``HARBOR_TOKEN=... python tests/second_fleet/harbor.py --port N --tenants 40 --log FILE`` keeps one
plugin for each customer, changes releases in the background (202 and a progress URL to poll),
restores a snapshot of the settings and shows Prometheus text. It shares no code with the console.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import dataclasses
import hashlib
import hmac
import json
import os
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
FIRST_RELEASE = "2.0.0"


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """What a customer's users meet under a release; each field is a gauge of its own."""

    failure_ratio: float
    response_seconds: float
    bookings_kept: float


CATALOGUE: dict[str, Behaviour] = {
    "2.0.0": Behaviour(0.004, 0.120, 0.995),
    "2.1.0": Behaviour(0.003, 0.110, 0.997),
    "2.2.0": Behaviour(0.09, 0.180, 0.910),
}


class RefusedError(Exception):
    """A call that Harbor turns down with a status and a reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclasses.dataclass
class Berth:
    """The plugin of one customer as it stands now."""

    customer: str
    release: str
    sha: str
    settings: dict[str, Any]
    fence: int = -1
    newest: str = ""
    shas: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Operation:
    """A change of a berth that was asked for under one operation key."""

    ident: str
    key: str
    what: str
    customer: str
    release: str
    fence: int
    body: dict[str, Any]
    started: float
    phase: str = "QUEUED"
    reason: str = ""


def default_sha(plugin: str, release: str) -> str:
    """Return the sha256 that Harbor itself gives to a release that came without one."""
    return hashlib.sha256(f"{plugin}@{release}".encode()).hexdigest()


def new_berth(number: int, plugin: str) -> Berth:
    """Return customer ``number`` with the first release and settings of its own."""
    sha = default_sha(plugin, FIRST_RELEASE)
    settings = {
        "schema": FIRST_RELEASE,
        "moorings": {"limit": 10 + number, "overbook": number % 2 == 0},
        "notices": ["arrival", "departure"],
        "greeting": f"Moin, Kai {number}: „{{version}}“ ä",
    }
    return Berth(f"pier-{number:03d}", FIRST_RELEASE, sha, settings, shas={FIRST_RELEASE: sha})


def text_field(body: dict[str, Any], name: str) -> str:
    """Return a text of the body; refuse what is missing, empty or an unfilled placeholder."""
    value = body.get(name)
    if not isinstance(value, str) or not value or "{" in value:
        raise RefusedError(422, f"{name} must be a filled text")
    return value


class Harbor:
    """The whole platform: its berths, its operations and its log."""

    def __init__(self, options: argparse.Namespace, token: str, log: TextIO) -> None:
        self.plugin: str = options.plugin
        self.seconds: float = options.operation_seconds
        self.relative: bool = options.relative_links
        self.broken = {name for name in options.broken.split(",") if name}
        self.jams = {what for what in options.jam_once.split(",") if what}
        self.jammed: set[tuple[str, str]] = set()
        self.token = token
        self.log = log
        numbers = range(1, options.tenants + 1)
        self.berths = {b.customer: b for b in (new_berth(n, self.plugin) for n in numbers)}
        self.by_key: dict[str, Operation] = {}
        self.by_ident: dict[str, Operation] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    def write(self, **line: Any) -> None:
        """Append one JSON line to the log; the file is line-buffered."""
        self.log.write(json.dumps(line, ensure_ascii=False) + "\n")

    @web.middleware
    async def around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check the token, answer refusals as JSON and log the call, whatever comes of it."""
        start = time.time()
        note: dict[str, Any] = dict.fromkeys(("customer", "what", "version", "operation"))
        note["customer"] = request.match_info.get("customer")
        note["what"] = request.match_info.route.name
        request["note"] = note
        status = 500
        try:
            if request.path.startswith("/api/"):
                self.check_token(request)
            response = await handler(request)
            status = response.status
        except RefusedError as refused:
            status = refused.status
            problem = {"fault": {"code": status, "why": refused.reason}}
            response = web.json_response(problem, status=status)
        except web.HTTPException as error:
            status = error.status
            raise
        finally:
            self.write(
                start=start,
                end=time.time(),
                **note,
                fence=request.headers.get("X-Upgrade-Fence"),
                idempotency_key=request.headers.get("Idempotency-Key"),
                status=status,
                applied=False,
            )
        return response

    def check_token(self, request: web.Request) -> None:
        """Refuse a call that does not carry the token of the environment."""
        given = request.headers.get("X-Harbor-Token", "")
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            raise RefusedError(401, "X-Harbor-Token is missing or wrong")

    def berth_of(self, request: web.Request, plugin: str) -> Berth:
        """Return the berth that a call names, or refuse with 404."""
        berth = self.berths.get(request.match_info["customer"])
        if berth is None or plugin != self.plugin:
            raise RefusedError(404, "no such customer or no such plugin")
        return berth

    async def put_release(self, request: web.Request) -> web.Response:
        """Install a release: {targetRelease, operation, sha}."""
        return await self.change(request, "install", "targetRelease", "sha")

    async def patch_baseline(self, request: web.Request) -> web.Response:
        """Restore an earlier release: {release, operation, sha, snapshot: {settings: {...}}}."""
        return await self.change(request, "restore", "release", "snapshot")

    async def change(
        self, request: web.Request, what: str, release_field: str, extra_field: str
    ) -> web.Response:
        """Take a change on, or find the operation that its key already started."""
        note = request["note"]
        body = await self.read_body(request, {release_field, "operation", extra_field, "sha"})
        note["operation"] = key = text_field(body, "operation")
        note["version"] = release = text_field(body, release_field)
        berth = self.berth_of(request, request.match_info["plugin"])
        self.check_extra(what, body.get(extra_field))
        self.check_sha(body.get("sha"))

        known = self.by_key.get(key)
        if known is None:
            fence = self.check_fence(request, berth)
            ident, now = uuid.uuid4().hex, time.time()
            known = Operation(ident, key, what, berth.customer, release, fence, body, now)
            self.by_key[key] = self.by_ident[known.ident] = known
            berth.fence, berth.newest = fence, known.ident
            task = asyncio.create_task(self.carry_out(known, berth))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        elif (known.what, known.customer, known.body) != (what, berth.customer, body):
            raise RefusedError(422, "this operation key was used for something else")
        origin = "" if self.relative else str(request.url.origin())
        links = {"progress": f"{origin}/api/operations/{known.ident}"}
        return web.json_response({"receipt": {"links": links, "operation": key}}, status=202)

    async def read_body(self, request: web.Request, allowed: set[str]) -> dict[str, Any]:
        """Return the JSON object of a call; refuse anything else and unknown fields."""
        try:
            body: dict[str, Any] = dict(await request.json())
        except (ValueError, TypeError) as error:
            raise RefusedError(400, "the body is not a JSON object") from error
        if unknown := sorted(set(body) - allowed):
            raise RefusedError(422, f"unknown fields: {', '.join(unknown)}")
        return body

    def check_extra(self, what: str, extra: Any) -> None:
        """Refuse a snapshot whose settings are no object."""
        is_snapshot = isinstance(extra, dict) and isinstance(extra.get("settings"), dict)
        if what != "install" and not is_snapshot:
            raise RefusedError(422, "snapshot must be {settings: object}")

    def check_sha(self, sha: Any) -> None:
        """Refuse a sha that is no text."""
        if sha is not None and (not isinstance(sha, str) or "{" in sha):
            raise RefusedError(422, "sha must be a filled text or null")

    def check_fence(self, request: web.Request, berth: Berth) -> int:
        """Return the fence of a new change; refuse one lower than the highest seen."""
        try:
            fence = int(request.headers["X-Upgrade-Fence"])
        except (KeyError, ValueError) as error:
            raise RefusedError(400, "X-Upgrade-Fence must be an integer") from error
        if fence < berth.fence:
            raise RefusedError(409, f"fence {fence} is behind {berth.fence}")
        return fence

    async def carry_out(self, operation: Operation, berth: Berth) -> None:
        """Work on an operation in the background and log how it ended."""
        await asyncio.sleep(self.seconds / 2)
        operation.phase = "RUNNING"
        await asyncio.sleep(self.seconds / 2)
        if berth.newest != operation.ident:
            operation.reason = "overtaken by a newer operation"
        elif operation.release not in CATALOGUE:
            operation.reason = "no such release in the catalogue"
        elif operation.what in self.jams and (operation.what, berth.customer) not in self.jammed:
            self.jammed.add((operation.what, berth.customer))
            operation.reason = "the crane jammed, this once"
        elif operation.what == "install" and berth.customer in self.broken:
            operation.reason = "the crane is stuck"
        else:
            self.moor(operation, berth)
        operation.phase = "BROKEN" if operation.reason else "SUCCEEDED"
        self.write(
            start=operation.started,
            end=time.time(),
            customer=berth.customer,
            what=f"{operation.what}.finished",
            version=operation.release,
            operation=operation.key,
            fence=str(operation.fence),
            idempotency_key=None,
            status=operation.phase,
            applied=operation.phase == "SUCCEEDED",
        )

    def moor(self, operation: Operation, berth: Berth) -> None:
        """Put the release of an operation in place."""
        release = operation.release
        if operation.what == "install":
            berth.shas[release] = operation.body.get("sha") or default_sha(self.plugin, release)
            # an install migrates the settings, so that only a restored snapshot gets them back
            berth.settings = {**berth.settings, "schema": release, "migrated": True}
        else:
            berth.settings = copy.deepcopy(operation.body["snapshot"]["settings"])
        berth.release = release
        berth.sha = berth.shas.get(release) or default_sha(self.plugin, release)

    async def get_operation(self, request: web.Request) -> web.Response:
        """Tell how far an operation is."""
        note = request["note"]
        operation = self.by_ident.get(request.match_info["ident"])
        if operation is None:
            raise RefusedError(404, "no such operation")
        note |= {"customer": operation.customer, "version": operation.release}
        note["operation"] = operation.key
        job = {"phase": operation.phase, "reason": operation.reason, "customer": operation.customer}
        return web.json_response({"job": job})

    async def get_inventory(self, request: web.Request) -> web.Response:
        """Tell what is installed: the release, its sha and the settings, in a list."""
        berth = self.berth_of(request, request.query.get("plugin", ""))
        request["note"]["version"] = berth.release
        item = {
            "plugin": self.plugin,
            "running": {
                "release": {"number": berth.release},
                "artifacts": [{"kind": "bundle", "sha": berth.sha}],
            },
            "settings": berth.settings,
        }
        return web.json_response({"customer": {"id": berth.customer}, "inventory": [item]})

    async def get_telemetry(self, request: web.Request) -> web.Response:
        """Show the gauges of all customers as Prometheus text; no token is asked for."""
        lines: list[str] = []
        for field in dataclasses.fields(Behaviour):
            name = f"harbor_customer_{field.name}"
            lines.append(f"# TYPE {name} gauge")
            for berth in self.berths.values():
                value = getattr(CATALOGUE[berth.release], field.name)
                lines.append(f'{name}{{customer="{berth.customer}"}} {value}')
        headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=("\n".join(lines) + "\n").encode(), headers=headers)


def make_app(harbor: Harbor) -> web.Application:
    """Return the web application of a Harbor."""
    app = web.Application(middlewares=[harbor.around])
    put, patch, get = app.router.add_put, app.router.add_patch, app.router.add_get
    customer = "/api/customers/{customer}"
    put(customer + "/plugins/{plugin}/release", harbor.put_release, name="install")
    patch(customer + "/baselines/{plugin}", harbor.patch_baseline, name="restore")
    get(customer + "/inventory", harbor.get_inventory, name="observe")
    get("/api/operations/{ident}", harbor.get_operation, name="poll")
    get("/telemetry/gauges", harbor.get_telemetry, name="telemetry")
    return app


def main() -> None:
    """Read the options and serve until interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=9811)
    parser.add_argument("--tenants", type=int, default=40, help="customers pier-001 and on")
    parser.add_argument("--log", type=Path, required=True, help="JSON lines are appended here")
    parser.add_argument("--plugin", default="berth-planner")
    parser.add_argument("--operation-seconds", type=float, default=0.3)
    parser.add_argument("--broken", default="", help="customers whose installs end BROKEN: a,b")
    parser.add_argument("--jam-once", default="", help="first of each customer: install,restore")
    parser.add_argument("--relative-links", action="store_true", help="progress as a path only")
    options = parser.parse_args()
    token = os.environ.get("HARBOR_TOKEN", "")
    if not token:
        parser.error("HARBOR_TOKEN is not set in the environment")
    with options.log.open("a", encoding="utf-8", buffering=1) as log:
        app = make_app(Harbor(options, token, log))
        web.run_app(app, host="127.0.0.1", port=options.port, access_log=None)


if __name__ == "__main__":
    main()
