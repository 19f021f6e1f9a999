"""One contract for every kind of deployer: what a call's answer says about the tenant."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from batches.deployers import (
    Deployer,
    InstallOrder,
    ObserveFailed,
    RestoreOrder,
    build,
    load_deployers,
)
from batches.deployers.simulated_deployer import (
    Fault,
    SimulatedDeployer,
    SimulatedFleet,
    SimulatedOptions,
)
from tests.adapters.open_here import open_here
from upgradeconsole.demo.config_files import render_demo_config
from upgradeconsole.demo.fleet import RunningFleet, start_fleet
from upgradeconsole.demo.fleet_platform import Fleet
from upgradeconsole.demo.knobs import Knobs

SCRIPT = Path(__file__).with_name("platform_script.py")
PLUGIN = "invoice-export"


class Rig(Protocol):
    """A deployer with a platform behind it that misbehaves on demand."""

    deployer: Deployer

    def misbehave(self, tenant: str, how: str) -> None: ...


@dataclass
class HttpRig:
    deployer: Deployer
    running: RunningFleet

    def misbehave(self, tenant: str, how: str) -> None:
        knobs: dict[str, dict[str, object]] = {
            "fail_twice": {"fail_times": {tenant: 2}},
            "observe_hang": {"hang": [f"{tenant}:observe"]},
        }
        self.running.fleet.turn(knobs.get(how, {how: [tenant]}))


@dataclass
class CommandRig:
    deployer: Deployer
    folder: Path

    def misbehave(self, tenant: str, how: str) -> None:
        fault = "fail:2" if how == "fail_twice" else how
        (self.folder / f"{tenant}.fault").write_text(fault)


@dataclass
class SimulatedRig:
    deployer: Deployer
    fleet: SimulatedFleet

    def misbehave(self, tenant: str, how: str) -> None:
        self.fleet.faults[tenant] = {
            "fail_twice": Fault("fail", times=2),
            "refuse": Fault("refuse"),
            "unauthorized": Fault("unauthorized"),
            "hang": Fault("hang"),
            "observe_hang": Fault("hang", directions=frozenset({"observe"})),
            "applied_though_failed": Fault("fail", applies="now"),
            "wrong_version": Fault("ok", applies="never"),
        }[how]


async def _http_rig(folder: Path) -> HttpRig:
    fleet = Fleet(tenants=120, knobs=Knobs(latency_seconds=0.01, jitter_seconds=0))
    running = await start_fleet(fleet)
    port = int(running.base_url.rsplit(":", 1)[1])
    text = render_demo_config(folder, port).deployers.read_text()
    return HttpRig(build(load_deployers(text, environ={})["fleet"], rules=open_here), running)


def _command_rig(folder: Path) -> CommandRig:
    start = f"{sys.executable}, {SCRIPT}, {folder}"
    rest = '"{tenant}", "{version}", "{key}", "{digest}", "{config}"'
    text = f"""
    deployers:
      script:
        kind: command
        install: [{start}, install, {rest}]
        restore: [{start}, restore, {rest}]
        observe: [{start}, observe, "{{tenant}}"]
    """
    return CommandRig(build(load_deployers(text, environ={})["script"], rules=open_here), folder)


def _simulated_rig() -> SimulatedRig:
    fleet = SimulatedFleet(SimulatedOptions(version="1.4.2", latency_seconds=0.01))
    deployer = SimulatedDeployer("simulated", fleet, parallelism=20, expected_seconds=1)
    return SimulatedRig(deployer, fleet)


@pytest.fixture(params=["http", "command", "simulated"])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    made: Rig
    if request.param == "http":
        made = await _http_rig(tmp_path)
    else:
        made = _command_rig(tmp_path) if request.param == "command" else _simulated_rig()
    yield made
    await made.deployer.close()
    if isinstance(made, HttpRig):
        await made.running.close()


def install(tenant: str = "acorn", generation: int = 1) -> InstallOrder:
    return InstallOrder(
        tenant=tenant,
        plugin=PLUGIN,
        version="1.5.0",
        key=f"plan:{tenant}:install:{generation}",
        fence=generation,
        digest="d" * 64,
    )


def restore(tenant: str = "acorn", config: object | None = None) -> RestoreOrder:
    return RestoreOrder(
        tenant=tenant,
        plugin=PLUGIN,
        version="1.4.2",
        key=f"plan:{tenant}:restore:2",
        fence=2,
        digest="c" * 64,
        config=config,
    )


async def version_of(rig: Rig, tenant: str = "acorn") -> str:
    return (await rig.deployer.observe(tenant, PLUGIN, timeout=10)).version


async def test_an_installed_version_is_observed_with_its_digest(rig: Rig) -> None:
    answer = await rig.deployer.install(install(), timeout=10)
    observed = await rig.deployer.observe("acorn", PLUGIN, timeout=10)
    assert answer.outcome == "ok"
    assert (observed.version, observed.digest) == ("1.5.0", "d" * 64)


async def test_a_restore_brings_version_and_config_back(rig: Rig) -> None:
    await rig.deployer.install(install(), timeout=10)
    before = {"schema": "1.4.2", "nested": {"limits": [1, 2.5, None, True]}}
    answer = await rig.deployer.restore(restore(config=before), timeout=10)
    observed = await rig.deployer.observe("acorn", PLUGIN, timeout=10)
    assert answer.outcome == "ok"
    assert (observed.version, observed.config) == ("1.4.2", before)


async def test_the_same_key_never_takes_effect_twice(rig: Rig) -> None:
    await rig.deployer.install(install(), timeout=10)
    await rig.deployer.restore(restore(config={}), timeout=10)
    again = await rig.deployer.install(install(), timeout=10)
    assert again.outcome == "ok"
    assert await version_of(rig) == "1.4.2"


async def test_a_failure_may_be_retried_with_the_same_key(rig: Rig) -> None:
    rig.misbehave("acorn", "fail_twice")
    answers = [await rig.deployer.install(install(), timeout=10) for _ in range(3)]
    assert [(a.outcome, a.permanent) for a in answers] == [
        ("failed", False),
        ("failed", False),
        ("ok", False),
    ]
    assert await version_of(rig) == "1.5.0"


async def test_a_refusal_is_permanent_and_changes_nothing(rig: Rig) -> None:
    rig.misbehave("acorn", "refuse")
    answer = await rig.deployer.install(install(), timeout=10)
    assert (answer.outcome, answer.permanent, answer.unauthorized) == ("refused", True, False)
    assert await version_of(rig) == "1.4.2"


async def test_a_missing_authorisation_is_told_apart(rig: Rig) -> None:
    rig.misbehave("acorn", "unauthorized")
    answer = await rig.deployer.restore(restore(), timeout=10)
    assert (answer.outcome, answer.permanent, answer.unauthorized) == ("refused", True, True)


async def test_a_call_without_an_answer_ends_as_unknown_at_its_timeout(rig: Rig) -> None:
    rig.misbehave("acorn", "hang")
    started = time.monotonic()
    answer = await rig.deployer.install(install(), timeout=0.5)
    assert answer.outcome == "unknown"
    assert 0.4 < time.monotonic() - started < 2


async def test_a_failure_says_nothing_about_what_was_applied(rig: Rig) -> None:
    rig.misbehave("acorn", "applied_though_failed")
    answer = await rig.deployer.install(install(), timeout=10)
    assert answer.outcome == "failed"
    assert await version_of(rig) == "1.5.0"


async def test_an_ok_says_nothing_about_what_was_applied(rig: Rig) -> None:
    rig.misbehave("acorn", "wrong_version")
    answer = await rig.deployer.install(install(), timeout=10)
    assert answer.outcome == "ok"
    assert await version_of(rig) == "1.4.2"


async def test_a_tenant_that_cannot_be_read_is_not_guessed(rig: Rig) -> None:
    rig.misbehave("acorn", "observe_hang")
    with pytest.raises(ObserveFailed, match=r"within 0\.5 s"):
        await rig.deployer.observe("acorn", PLUGIN, timeout=0.5)


async def test_a_fault_of_one_tenant_leaves_the_others_alone(rig: Rig) -> None:
    rig.misbehave("acorn", "refuse")
    orders = [install(tenant) for tenant in ("acorn", "birch", "cedar", "dogwood")]
    answers = await asyncio.gather(*(rig.deployer.install(o, timeout=10) for o in orders))
    assert [a.outcome for a in answers] == ["refused", "ok", "ok", "ok"]


async def test_a_closed_deployer_opens_again_at_its_next_call(rig: Rig) -> None:
    await version_of(rig)
    await rig.deployer.close()
    assert await version_of(rig) == "1.4.2"


# ------------------------------------------------------------------------ command
async def test_no_shell_sees_a_value(tmp_path: Path) -> None:
    rig = _command_rig(tmp_path)
    hostile = f"v1; touch {tmp_path}/pwned $(touch {tmp_path}/pwned) '\""
    order = InstallOrder(tenant="acorn", plugin=PLUGIN, version=hostile, key="k", fence=1)
    assert (await rig.deployer.install(order, timeout=10)).outcome == "ok"
    assert await version_of(rig) == hostile
    assert not (tmp_path / "pwned").exists()


async def test_a_value_that_would_be_read_as_an_option_is_refused(tmp_path: Path) -> None:
    answer = await _command_rig(tmp_path).deployer.install(install("--all"), timeout=10)
    assert (answer.outcome, answer.permanent) == ("refused", True)
    assert "option" in answer.text


async def test_a_timeout_kills_what_the_command_started_too(tmp_path: Path) -> None:
    late = f"(sleep 1; touch {tmp_path}/late) & sleep 30"
    text = f"""
    deployers:
      script:
        kind: command
        install: [/bin/sh, -c, "{late}"]
        restore: ["true"]
        observe: [/bin/echo, "not json"]
    """
    deployer = build(load_deployers(text, environ={})["script"], rules=open_here)
    assert (await deployer.install(install(), timeout=0.2)).outcome == "unknown"
    await asyncio.sleep(1.2)
    assert not (tmp_path / "late").exists()


async def test_a_command_gets_key_and_fence_but_not_the_consoles_secrets() -> None:
    text = """
    deployers:
      script:
        kind: command
        install: [/usr/bin/env]
        restore: [nowhere/tool]
        observe: [/bin/false]
    """
    ours = (
        "UPGRADECONSOLE_SEALING_KEYS",
        "SECRET_KEY",
        "SECRET_KEY_FALLBACKS",
        "DATABASE_URL_FILE",
        "EMAIL_HOST_PASSWORD",
    )
    environ = {**dict.fromkeys(ours, "hush-hush"), "KUBECONFIG": "/etc/kube"}
    deployer = build(load_deployers(text, environ=environ)["script"], rules=open_here)
    answer = await deployer.install(install(), timeout=10)
    assert "UPGRADE_IDEMPOTENCY_KEY=plan:acorn:install:1" in answer.text
    assert "UPGRADE_FENCE=1" in answer.text
    assert "KUBECONFIG=/etc/kube" in answer.text
    assert not [name for name in ours if name in answer.text]
    assert "hush" not in answer.text
    missing = await deployer.restore(restore(), timeout=10)
    assert (missing.outcome, missing.permanent) == ("refused", True)
    with pytest.raises(ObserveFailed, match="exit 1"):
        await deployer.observe("acorn", PLUGIN, timeout=10)


# ---------------------------------------------------------------------- simulated
class VirtualClock:
    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


def _virtual() -> tuple[VirtualClock, SimulatedFleet, SimulatedDeployer]:
    clock = VirtualClock()
    fleet = SimulatedFleet(SimulatedOptions(version="1.4.2"), clock=clock.now)
    deployer = SimulatedDeployer(
        "simulated", fleet, parallelism=20, expected_seconds=1, sleep=clock.sleep
    )
    return clock, fleet, deployer


async def test_a_virtual_clock_drives_a_call_that_takes_effect_late() -> None:
    clock, fleet, deployer = _virtual()
    fleet.faults["acorn"] = Fault("hang", applies="late", late_seconds=100)
    answer = await deployer.install(install(), timeout=20)
    before = await deployer.observe("acorn", PLUGIN, timeout=20)
    clock.at = 101
    after = await deployer.observe("acorn", PLUGIN, timeout=20)
    assert (answer.outcome, before.version, after.version) == ("unknown", "1.4.2", "1.5.0")


async def test_the_simulated_fleet_logs_every_call() -> None:
    _, fleet, deployer = _virtual()
    fleet.faults["acorn"] = Fault("reset", times=1)
    await deployer.install(install(), timeout=20)
    await deployer.install(install(), timeout=20)
    await deployer.observe("acorn", PLUGIN, timeout=20)
    logged = [(c.direction, c.key, c.fence, c.outcome, c.applied) for c in fleet.log]
    assert logged == [
        ("install", "plan:acorn:install:1", 1, "unknown", False),
        ("install", "plan:acorn:install:1", 1, "ok", True),
        ("observe", "", 0, "ok", False),
    ]


async def test_the_same_seed_fails_the_same_tenants() -> None:
    async def failed(seed: str) -> set[str]:
        fleet = SimulatedFleet(SimulatedOptions(fail_percentage=30, seed=seed), clock=lambda: 0.0)
        deployer = SimulatedDeployer(
            "s", fleet, parallelism=20, expected_seconds=1, sleep=VirtualClock().sleep
        )
        answers = {f"t{n}": await deployer.install(install(f"t{n}"), timeout=9) for n in range(200)}
        return {tenant for tenant, answer in answers.items() if answer.outcome == "failed"}

    first = await failed("a")
    assert first == await failed("a")
    assert first != await failed("b")
    assert 30 < len(first) < 90
