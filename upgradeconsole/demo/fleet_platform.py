"""The demo fleet's platform: upgrades, rollbacks, reads, metrics, knobs and log over HTTP."""

from __future__ import annotations

import asyncio
import hmac
import random
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, cast

from aiohttp import web

from upgradeconsole.demo.call_log import CallLog
from upgradeconsole.demo.fleet_state import Change, FleetState, FleetTenant, KeyReused
from upgradeconsole.demo.knobs import Knobs, KnobsRejected, entries_for, turn
from upgradeconsole.demo.traffic import MetricsMode, Traffic

_SAVE_EVERY: Final = 0.5
_LONGEST_HANG: Final = 600.0


@dataclass(slots=True)
class _Job:
    """An accepted call that is worked on after its 202."""

    state: str
    text: str = ""


class Fleet:
    """The platform: tenants, traffic, knobs, log, and the handlers of its HTTP interface."""

    def __init__(
        self,
        *,
        tenants: int,
        state: Path | None = None,
        log: Path | None = None,
        token: str = "",
        seed: str = "demo",
        knobs: Knobs | None = None,
    ) -> None:
        self.knobs = knobs or Knobs()
        self.state = FleetState(tenants, state)
        self.log = CallLog(log)
        self.traffic = Traffic(seed=seed, now=time.monotonic())
        for key, tenant in self.state.tenants.items():
            self.traffic.add(key, tenant.version)
        self._token = token
        self._random = random.Random(seed)  # noqa: S311
        self._failed_times: dict[str, int] = {}
        self._jobs: dict[str, _Job] = {}
        self._job_of_key: dict[str, str] = {}
        self._saving: asyncio.Task[None] | None = None
        self._turn_traffic()

    def app(self) -> web.Application:
        """Return the fleet's HTTP interface."""
        app = web.Application()
        app.add_routes(
            [
                web.post("/tenants/{tenant}/upgrade", self._upgrade),
                web.post("/tenants/{tenant}/rollback", self._rollback),
                web.get("/tenants/{tenant}", self._observe),
                web.get("/jobs/{job}", self._job),
                web.get("/metrics", self._metrics),
                web.get("/_knobs", self._read_knobs),
                web.post("/_knobs", self._turn_knobs),
                web.get("/_log", self._read_log),
                web.get("/_state", self._read_state),
            ]
        )
        app.on_startup.append(self._start_saving)
        app.on_cleanup.append(self._stop)
        return app

    # ------------------------------------------------------------ the platform
    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        return await self._change(request, "install")

    async def _rollback(self, request: web.Request) -> web.StreamResponse:
        return await self._change(request, "restore")

    async def _change(self, request: web.Request, direction: str) -> web.StreamResponse:
        started = datetime.now(UTC)
        change, wrong = await self._asked(request, direction)
        latency = self.knobs.latency_seconds + self._random.uniform(-1, 1) * (
            self.knobs.jitter_seconds
        )
        await asyncio.sleep(max(0.0, latency))
        refusal = wrong or self._refusal(request, change.tenant, direction)
        if refusal is not None:
            self._note(started, change, refusal.status, applied=False)
            return refusal
        try:
            repeated = self.state.was_done(change)
        except KeyReused as reused:
            self._note(started, change, 422, applied=False, note="key reused")
            return _json({"error": str(reused)}, 422)
        if repeated:
            self._note(started, change, 200, applied=False, note="repeated")
            return _json({"version": change.version, "state": "done", "repeated": True})
        return await self._misbehave(request, started, change) or self._do(started, change)

    def _do(self, started: datetime, change: Change) -> web.Response:
        """Work on the change as a platform in good health, at once or after a 202."""
        if self.knobs.accept_then_poll:
            job = self._begin_job(change)
            self._note(started, change, 202, applied=False, note=job)
            return _json({"state": "running", "status_url": f"/jobs/{job}"}, 202)
        if self._late_by(change.tenant) is not None:
            self._apply_late(change)
            self._note(started, change, 200, applied=False, note="late")
            return _json({"version": change.version, "state": "done"})
        if self.knobs.names("wrong_version", change.tenant, change.direction):
            self._note(started, change, 200, applied=False, note="wrong_version")
            return _json({"version": change.version, "state": "done"})
        self._apply(change)
        self._note(started, change, 200, applied=True)
        return _json({"version": change.version, "state": "done"})

    async def _misbehave(
        self, request: web.Request, started: datetime, change: Change
    ) -> web.StreamResponse | None:
        """Return the bad answer that a knob wants for this call, or None."""
        knobs, tenant, direction = self.knobs, change.tenant, change.direction
        if knobs.names("hang", tenant, direction):
            self._apply_late(change)
            await _until_the_caller_leaves(request)
            self._note(started, change, None, applied=False, note="hang")
            return _reset(request)
        if knobs.names("reset", tenant, direction):
            self._note(started, change, None, applied=False, note="reset")
            return _reset(request)
        if knobs.names("reset_after_apply", tenant, direction):
            self._apply(change)
            self._note(started, change, None, applied=True, note="reset")
            return _reset(request)
        if knobs.names("applied_though_failed", tenant, direction):
            self._apply(change)
            self._note(started, change, 500, applied=True)
            return _json({"error": "the upgrade hook ended with an error"}, 500)
        # In 202 mode the job fails, not the call that begins it.
        if not knobs.accept_then_poll and self._fails(tenant, direction):
            self._apply_late(change)
            self._note(started, change, 500, applied=False)
            return _json({"error": "the upgrade hook failed"}, 500)
        return None

    async def _observe(self, request: web.Request) -> web.StreamResponse:
        started = datetime.now(UTC)
        key = request.match_info["tenant"]
        seen = Change(key, "observe", "", "", None)
        if self.knobs.observe_latency_seconds:
            await asyncio.sleep(self.knobs.observe_latency_seconds)
        refusal = self._refusal(request, key, "observe") or (
            None if key in self.state.tenants else _unknown(key)
        )
        if refusal is not None:
            self._note(started, seen, refusal.status, applied=False)
            return refusal
        if self.knobs.names("hang", key, "observe"):
            await _until_the_caller_leaves(request)
            self._note(started, seen, None, applied=False, note="hang")
            return _reset(request)
        if self.knobs.names("reset", key, "observe"):
            self._note(started, seen, None, applied=False, note="reset")
            return _reset(request)
        if self.knobs.names("fail", key, "observe"):
            self._note(started, seen, 500, applied=False)
            return _json({"error": "cannot read the tenant"}, 500)
        tenant = self.state.tenants[key]
        self._note(started, Change(key, "observe", tenant.version, "", None), 200, applied=False)
        return _json(self._shown(key, tenant))

    async def _job(self, request: web.Request) -> web.Response:
        job = self._jobs.get(request.match_info["job"])
        if job is None:
            return _json({"error": "no such job"}, 404)
        return _json({"state": job.state, "text": job.text})

    async def _metrics(self, _request: web.Request) -> web.Response:
        if self.knobs.metrics == "unavailable":
            return web.Response(status=503, text="metrics are unavailable\n")
        mode = cast(MetricsMode, self.knobs.metrics)
        text = self.traffic.metrics(time.monotonic(), mode)
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4"})

    # --------------------------------------------------------------- its insides
    async def _read_knobs(self, _request: web.Request) -> web.Response:
        return _json(self.knobs.as_json())

    async def _turn_knobs(self, request: web.Request) -> web.Response:
        try:
            self.turn(await request.json())
        except ValueError:
            return _json({"problems": ["the body must be JSON"]}, 422)
        except KnobsRejected as rejected:
            return _json({"problems": rejected.problems}, 422)
        return _json(self.knobs.as_json())

    def turn(self, patch: object) -> None:
        """Change the knobs that the patch names. Raises KnobsRejected."""
        before, self.knobs = self.knobs, turn(self.knobs, patch)
        if before.fail_times != self.knobs.fail_times:
            self._failed_times.clear()
        self._turn_traffic()

    async def _read_log(self, request: web.Request) -> web.Response:
        since = request.query.get("since", "0")
        if not since.isdecimal():
            return _json({"error": "since must be the number of an entry"}, 422)
        return _json({"last": self.log.last_number, "calls": self.log.since(int(since))})

    async def _read_state(self, _request: web.Request) -> web.Response:
        tenants = self.state.tenants.items()
        return _json({"tenants": {key: self._shown(key, tenant) for key, tenant in tenants}})

    # ------------------------------------------------------------------- helpers
    async def _asked(
        self, request: web.Request, direction: str
    ) -> tuple[Change, web.Response | None]:
        tenant = request.match_info["tenant"]
        fence = request.headers.get("X-Upgrade-Fence", "")
        try:
            body = await request.json()
        except ValueError:
            body = None
        fields = body if isinstance(body, dict) else {}
        change = Change(
            tenant=tenant,
            direction=direction,
            version=str(fields.get("version") or ""),
            key=str(fields.get("idempotency_key") or ""),
            fence=int(fence) if fence.isdecimal() else None,
            digest=str(fields.get("digest") or _digest_header(request)),
            config=fields.get("config"),
        )
        if tenant not in self.state.tenants:
            return change, _unknown(tenant)
        if not change.version:
            return change, _json({"error": "version is missing"}, 400)
        return change, None

    def _refusal(self, request: web.Request, tenant: str, direction: str) -> web.Response | None:
        given = request.headers.get("Authorization", "").encode()
        known = not self._token or hmac.compare_digest(given, f"Bearer {self._token}".encode())
        if not known or self.knobs.names("unauthorized", tenant, direction):
            return _json({"error": "not authorised"}, 401)
        if self.knobs.names("throttled", tenant, direction):
            after = str(self.knobs.retry_after_seconds)
            return _json({"error": "too many requests"}, 429, {"Retry-After": after})
        if self.knobs.names("refuse", tenant, direction):
            return _json({"error": "this tenant does not take this version"}, 422)
        return None

    def _fails(self, tenant: str, direction: str) -> bool:
        for entry in entries_for(tenant, direction):
            wanted = self.knobs.fail_times.get(entry, 0)
            counted = f"{entry} {tenant}"
            if self._failed_times.get(counted, 0) < wanted:
                self._failed_times[counted] = self._failed_times.get(counted, 0) + 1
                return True
        if self.knobs.names("fail", tenant, direction):
            return True
        return self._random.random() < self.knobs.failure_rate

    def _apply(self, change: Change) -> None:
        self.state.apply(change)
        self.traffic.switch(change.tenant, change.version, time.monotonic())

    def _late_by(self, tenant: str) -> float | None:
        return self.knobs.late.get(tenant, self.knobs.late.get("*"))

    def _apply_late(self, change: Change) -> None:
        """Let the change take effect later, where a knob says so, whatever was answered."""
        seconds = self._late_by(change.tenant)
        if seconds is not None:
            self._later(seconds, self._take_effect, change, "late")

    def _begin_job(self, change: Change) -> str:
        """Return the job of the change: the one of its key while that runs, else a new one."""
        running = self._job_of_key.get(change.key)
        if running is not None and self._jobs[running].state == "running":
            return running
        job = f"job-{len(self._jobs) + 1}"
        self._jobs[job] = _Job("running")
        if change.key:
            self._job_of_key[change.key] = job
        self._later(self.knobs.accepted_seconds, self._finish_job, job, change)
        return job

    def _finish_job(self, job: str, change: Change) -> None:
        if self._fails(change.tenant, change.direction):
            self._jobs[job] = _Job("failed", "the upgrade hook failed")
            return
        self._take_effect(change, job)
        self._jobs[job] = _Job("done", change.version)

    def _take_effect(self, change: Change, note: str) -> None:
        if self.state.was_done(change):
            return
        self._apply(change)
        self._note(datetime.now(UTC), change, None, applied=True, note=note)

    def _later(self, seconds: float, act: Callable[..., None], *given: object) -> None:
        asyncio.get_running_loop().call_later(seconds, act, *given)

    def _turn_traffic(self) -> None:
        self.traffic.behave(self.knobs.behaviours(), scale=self.knobs.traffic, now=time.monotonic())

    def _shown(self, key: str, tenant: FleetTenant) -> dict[str, object]:
        wrong = self.knobs.names("wrong_digest", key, "install")
        return {
            "tenant": key,
            "version": tenant.version,
            "digest": "0" * 64 if wrong else tenant.digest,
            "config": tenant.config,
            "changed_at": tenant.changed_at,
        }

    def _note(
        self,
        started: datetime,
        change: Change,
        status: int | None,
        *,
        applied: bool,
        note: str = "",
    ) -> None:
        self.log.add(
            started=started,
            tenant=change.tenant,
            direction=change.direction,
            version=change.version,
            key=change.key,
            fence=change.fence,
            status=status,
            applied=applied,
            note=note,
        )

    async def _start_saving(self, _app: web.Application) -> None:
        self._saving = asyncio.create_task(self._save_now_and_then())

    async def _save_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_SAVE_EVERY)
            self.state.save()

    async def _stop(self, _app: web.Application) -> None:
        if self._saving is not None:
            self._saving.cancel()
            with suppress(asyncio.CancelledError):
                await self._saving
        self.state.save()
        self.log.close()


async def _until_the_caller_leaves(request: web.Request) -> None:
    ends = time.monotonic() + _LONGEST_HANG
    while request.transport is not None and time.monotonic() < ends:
        await asyncio.sleep(0.1)


def _reset(request: web.Request) -> web.StreamResponse:
    """Break the connection hard (RST), as a crashing proxy does."""
    transport = request.transport
    if transport is not None:
        taken: socket.socket = transport.get_extra_info("socket")
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response(status=500)


def _digest_header(request: web.Request) -> str:
    """Return the artifact that the console means, where the body does not say it."""
    return request.headers.get("X-Upgrade-Digest", "").removeprefix("sha256:")


def _unknown(tenant: str) -> web.Response:
    return _json({"error": f"no tenant {tenant}"}, 404)


def _json(
    document: object, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    return web.json_response(document, status=status, headers=headers)
