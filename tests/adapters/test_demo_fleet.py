"""The demo fleet: honest counters, an honest log, keys that work once, knobs that do as told."""

from __future__ import annotations

import asyncio
import json
import math
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from batches.deployers import load_deployers
from upgradeconsole.demo.config_files import render_demo_config
from upgradeconsole.demo.fleet import RunningFleet, start_fleet
from upgradeconsole.demo.fleet_platform import Fleet
from upgradeconsole.demo.knobs import Knobs
from upgradeconsole.demo.releases import VERSIONS, VersionBehaviour, digest_of
from upgradeconsole.demo.tenants import demo_tenants
from upgradeconsole.demo.traffic import Traffic, latency_shape

SAMPLE = re.compile(r'(\w+)\{tenant="([^"]+)",version="([^"]+)"(?:,le="([^"]+)")?\} (\S+)')
Samples = dict[tuple[str, str, str, str], float]


def samples(text: str) -> Samples:
    return {(m[1], m[2], m[3], m[4] or ""): float(m[5]) for m in SAMPLE.finditer(text)}


def total(found: Samples, name: str, version: str, le: str = "") -> float:
    return sum(v for key, v in found.items() if (key[0], key[2], key[3]) == (name, version, le))


def traffic_of(version: str, tenants: int = 50) -> Traffic:
    traffic = Traffic(seed="test", now=0.0)
    for tenant in demo_tenants(tenants):
        traffic.add(tenant["tenant"], version)
    return traffic


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[RunningFleet]:
    fleet = Fleet(
        tenants=10,
        state=tmp_path / "state.json",
        log=tmp_path / "log.jsonl",
        knobs=Knobs(latency_seconds=0.01, jitter_seconds=0),
    )
    started = await start_fleet(fleet)
    yield started
    await started.close()


@pytest.fixture
async def client(running: RunningFleet) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(running.base_url) as session:
        yield session


async def upgrade(
    client: aiohttp.ClientSession, tenant: str = "acorn", version: str = "1.5.0", key: str = "k1"
) -> int:
    body = {"version": version, "idempotency_key": key, "digest": "ab12"}
    headers = {"X-Upgrade-Fence": "17"}
    async with client.post(f"/tenants/{tenant}/upgrade", json=body, headers=headers) as answer:
        return answer.status


async def read(client: aiohttp.ClientSession, path: str) -> dict[str, object]:
    async with client.get(path) as answer:
        found: dict[str, object] = await answer.json()
        return found


async def logged(client: aiohttp.ClientSession, since: int = 0) -> list[dict[str, object]]:
    calls = (await read(client, f"/_log?since={since}"))["calls"]
    assert isinstance(calls, list)
    return calls


# ------------------------------------------------------------------------ traffic
def test_no_counter_ever_goes_back_whatever_the_version_does() -> None:
    traffic = traffic_of("1.4.2", tenants=5)
    before: Samples = {}
    for second in range(1, 200):
        if second % 40 == 0:
            version = list(VERSIONS)[second // 40 % len(VERSIONS)]
            traffic.switch("acorn", version, float(second))
        now = samples(traffic.metrics(second * (1 if second < 100 else 7.3)))
        assert all(now[key] >= value for key, value in before.items())
        before = now


@pytest.mark.parametrize("version", list(VERSIONS))
def test_the_share_of_errors_follows_the_version(version: str) -> None:
    found = samples(traffic_of(version).metrics(600.0))
    requests = total(found, "tenant_requests_total", version)
    share = total(found, "tenant_errors_total", version) / requests
    expected = VERSIONS[version].error_rate
    # Tenants' own factors average out to about 1; five standard errors beside that.
    noise = 5 * math.sqrt(expected / requests) + 0.1 * expected
    assert share == pytest.approx(expected, abs=noise)


def test_short_looks_add_up_to_what_one_long_look_sees() -> None:
    often, once = traffic_of("1.5.1"), traffic_of("1.5.1")
    for tenth in range(1, 3001):
        often.metrics(tenth / 10)
    for name in ("tenant_requests_total", "tenant_errors_total"):
        one = total(samples(once.metrics(300.0)), name, "1.5.1")
        many = total(samples(often.metrics(300.0)), name, "1.5.1")
        assert many == pytest.approx(one, abs=6 * math.sqrt(one))


def test_the_slow_version_is_slow_at_its_95th_percentile() -> None:
    found = samples(traffic_of("1.6.0").metrics(600.0))
    count = total(found, "tenant_latency_seconds_count", "1.6.0")
    under_300 = total(found, "tenant_latency_seconds_bucket", "1.6.0", "0.3") / count
    under_500 = total(found, "tenant_latency_seconds_bucket", "1.6.0", "0.5") / count
    assert under_300 < 0.95 < under_500
    assert total(found, "tenant_latency_seconds_bucket", "1.6.0", "+Inf") == count
    assert count == total(found, "tenant_requests_total", "1.6.0")
    assert 0.18 < total(found, "tenant_latency_seconds_sum", "1.6.0") / count < 0.25


def test_bucket_shares_are_a_whole_distribution() -> None:
    shape = latency_shape(VersionBehaviour(0, 40, 80))
    assert sum(shape.shares) == pytest.approx(1)
    assert all(share >= 0 for share in shape.shares)


def test_requests_before_a_switch_count_for_the_old_version() -> None:
    traffic = traffic_of("1.4.2", tenants=1)
    traffic.switch("acorn", "1.5.0", 100.0)
    found = samples(traffic.metrics(101.0))
    assert total(found, "tenant_requests_total", "1.4.2") > 300
    assert total(found, "tenant_requests_total", "1.5.0") < 50


def test_ten_thousand_tenants_answer_within_a_second() -> None:
    traffic = traffic_of("1.4.2", tenants=10_000)
    traffic.metrics(5.0)
    started = time.process_time()
    traffic.metrics(10.0)
    assert time.process_time() - started < 1


def test_tenants_are_the_same_in_every_run_and_never_twice() -> None:
    tenants = demo_tenants(10_000)
    assert [t["tenant"] for t in tenants[:3]] == ["acorn", "birch", "cedar"]
    assert tenants[:120] == demo_tenants(120)
    assert len({t["tenant"] for t in tenants}) == 10_000


# ----------------------------------------------------------------------- platform
async def test_an_upgrade_changes_version_digest_and_config(
    client: aiohttp.ClientSession,
) -> None:
    before = await read(client, "/tenants/acorn")
    assert (before["version"], before["digest"]) == ("1.4.2", digest_of("1.4.2"))
    assert await upgrade(client) == 200
    after = await read(client, "/tenants/acorn")
    assert (after["version"], after["digest"]) == ("1.5.0", "ab12")
    assert after["config"] == {"schema": "1.5.0", "format": "pdf", "monthly_limit": 500}
    back = {"version": "1.4.2", "idempotency_key": "k2", "config": before["config"]}
    async with client.post("/tenants/acorn/rollback", json=back) as answer:
        assert answer.status == 200
    restored = await read(client, "/tenants/acorn")
    assert {**restored, "changed_at": ""} == before


async def test_a_key_takes_effect_once_and_never_for_something_else(
    client: aiohttp.ClientSession,
) -> None:
    await upgrade(client, key="k1")
    await upgrade(client, version="1.5.1", key="k2")
    assert await upgrade(client, key="k1") == 200
    assert await upgrade(client, version="1.6.0", key="k1") == 422
    assert (await read(client, "/tenants/acorn"))["version"] == "1.5.1"
    assert [call["applied"] for call in await logged(client)][:4] == [True, True, False, False]


async def test_the_log_holds_every_call_also_in_its_file(
    client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    await upgrade(client)
    await read(client, "/tenants/acorn")
    await upgrade(client, tenant="nowhere")
    calls = await logged(client)
    in_file = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert in_file == calls
    assert [(c["direction"], c["tenant"], c["status"], c["applied"]) for c in calls] == [
        ("install", "acorn", 200, True),
        ("observe", "acorn", 200, False),
        ("install", "nowhere", 404, False),
    ]
    assert (calls[0]["key"], calls[0]["fence"], calls[0]["version"]) == ("k1", 17, "1.5.0")
    assert str(calls[0]["started"]) < str(calls[0]["ended"])
    assert await logged(client, since=2) == calls[2:]


async def test_metrics_move_with_the_version_deployed(client: aiohttp.ClientSession) -> None:
    await upgrade(client)
    async with client.get("/metrics") as answer:
        found = samples(await answer.text())
    assert ("tenant_requests_total", "acorn", "1.5.0", "") in found
    assert ("tenant_requests_total", "birch", "1.4.2", "") in found


@pytest.mark.parametrize(
    ("knobs", "status", "applied"),
    [
        ({"fail": ["acorn"]}, 500, False),
        ({"fail": ["acorn:restore"]}, 200, True),
        ({"fail_times": {"*": 1}}, 500, False),
        ({"failure_rate": 1}, 500, False),
        ({"refuse": ["*"]}, 422, False),
        ({"unauthorized": ["*:install"]}, 401, False),
        ({"throttled": ["acorn"]}, 429, False),
        ({"applied_though_failed": ["acorn"]}, 500, True),
        ({"wrong_version": ["acorn"]}, 200, False),
        ({"late": {"acorn": 60}}, 200, False),
        ({"accept_then_poll": True}, 202, False),
    ],
)
async def test_a_knob_does_as_told(
    client: aiohttp.ClientSession, knobs: dict[str, object], status: int, applied: bool
) -> None:
    async with client.post("/_knobs", json=knobs) as answer:
        assert answer.status == 200
    assert await upgrade(client) == status
    version = (await read(client, "/tenants/acorn"))["version"]
    assert version == ("1.5.0" if applied else "1.4.2")
    assert (await logged(client))[0]["applied"] is applied


@pytest.mark.parametrize(("knob", "applied"), [("reset", False), ("reset_after_apply", True)])
async def test_a_reset_breaks_the_line(
    client: aiohttp.ClientSession, running: RunningFleet, knob: str, applied: bool
) -> None:
    running.fleet.turn({knob: ["acorn"]})
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await upgrade(client)
    calls = await logged(client)
    assert [(c["status"], c["applied"]) for c in calls] == [(None, applied)]


async def test_a_late_change_takes_effect_after_its_time_and_is_logged(
    client: aiohttp.ClientSession, running: RunningFleet
) -> None:
    running.fleet.turn({"late": {"acorn": 0.1}})
    await upgrade(client)
    for _ in range(100):
        if (await read(client, "/tenants/acorn"))["version"] == "1.5.0":
            break
        await asyncio.sleep(0.02)
    applied = [c for c in await logged(client) if c["applied"]]
    assert [(c["note"], c["key"]) for c in applied] == [("late", "k1")]


@pytest.mark.parametrize(
    ("mode", "status", "has_samples"),
    [("silent", 200, False), ("nan", 200, True), ("unavailable", 503, False)],
)
async def test_metrics_go_missing_when_told_to(
    client: aiohttp.ClientSession, mode: str, status: int, has_samples: bool
) -> None:
    async with client.post("/_knobs", json={"metrics": mode}):
        pass
    async with client.get("/metrics") as answer:
        found = samples(await answer.text())
        assert (answer.status, bool(found)) == (status, has_samples)
    assert all(math.isnan(value) for value in found.values())


async def test_a_version_behaves_as_its_knobs_say_from_now_on(running: RunningFleet) -> None:
    running.fleet.turn({"error_rates": {"1.4.2": 1.0}, "traffic": 100.0})
    started = time.monotonic()
    found = samples(running.fleet.traffic.metrics(started + 60))
    share = total(found, "tenant_errors_total", "1.4.2") / total(
        found, "tenant_requests_total", "1.4.2"
    )
    assert share > 0.8


async def test_all_wrong_knobs_are_named_and_none_is_turned(
    client: aiohttp.ClientSession,
) -> None:
    wrong = {"speed": 1, "failure_rate": 2, "hang": ["acorn:twice"], "latency_seconds": 3}
    async with client.post("/_knobs", json=wrong) as answer:
        assert answer.status == 422
        problems = (await answer.json())["problems"]
    assert [problem.split()[0].rstrip(":") for problem in problems] == [
        "speed",
        "failure_rate",
        "hang",
    ]
    assert (await read(client, "/_knobs"))["latency_seconds"] == 0.01


def _start(tmp_path: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "upgradeconsole.demo.fleet", "--port", "0", "--tenants", "3"),
            *("--state", str(tmp_path / "s.json"), "--log", str(tmp_path / "l.jsonl")),
            *("--latency", "0", "--token", "hush"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().split()[-1]


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    assert process.stdout is not None
    process.stdout.close()


async def test_the_process_keeps_its_state_over_a_restart_and_asks_for_its_token(
    tmp_path: Path,
) -> None:
    process, base_url = _start(tmp_path)
    async with aiohttp.ClientSession(base_url) as stranger:
        assert await upgrade(stranger) == 401
    headers = {"Authorization": "Bearer hush"}
    async with aiohttp.ClientSession(base_url, headers=headers) as client:
        assert await upgrade(client) == 200
    _end(process)
    process, base_url = _start(tmp_path)
    async with aiohttp.ClientSession(base_url, headers=headers) as client:
        assert (await read(client, "/tenants/acorn"))["version"] == "1.5.0"
        assert await upgrade(client, key="k1") == 200
    _end(process)
    lines = [json.loads(line) for line in (tmp_path / "l.jsonl").read_text().splitlines()]
    assert [line["number"] for line in lines] == [1, 2, 3, 4]
    assert [line["applied"] for line in lines] == [False, True, False, False]


def test_the_demos_files_are_written_for_its_port(tmp_path: Path) -> None:
    config = render_demo_config(tmp_path / "config", 9811)
    spec = load_deployers(config.deployers.read_text(), environ={})["fleet"]
    assert "base_url='http://127.0.0.1:9811'" in repr(spec)
    sources = json.loads(config.dashboards.read_text())["sources"]
    assert sources["fleet"]["url"] == "http://127.0.0.1:9811/metrics"
    assert "demo-careful" in config.policies.read_text()
