"""SIGKILL after SIGKILL, at random moments, of random processes, through a large plan and back.

A seed chooses victims and moments; `CHAOS_SEED=N` repeats or varies a run.
"""

import itertools
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.own_fleet import OwnFleet, import_all, own_fleet
from tests.chaos.rig import APPROVALS, assert_ended_right
from tests.journeys.stack import (
    GOOD,
    OLD,
    TAKEOVER_SECONDS,
    Stack,
    at,
    parent_of,
    running,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

POLICIES = f"""
policies:
  large:
    description: "A canary, then everybody; so many at a time that there is a long middle."
    batches:
      - {{name: canary, percentage: 10, soak_minutes: 0.02}}
      - {{name: rest, percentage: 90, soak_minutes: 0.02}}
    rollback_thresholds: {{error_rate: 50}}
    limits: {{look_seconds: 1, parallelism: 20, call_timeout_seconds: 4}}
{APPROVALS}"""
VICTIMS = ("web", "watch", "worker", "sentinel", "all", "watch", "worker")
SEED = int(os.environ.get("CHAOS_SEED", "7"))


def kill(stack: Stack, plan: str, victim: str) -> None:
    """Kill what is named; where the watch does the hands' work, the watch dies in their place."""
    holder = stack.holder_of(f"plan:{plan}:effects").split(":")
    with suppress(ProcessLookupError):
        if victim == "all":
            for child in stack.supervised().values():
                os.killpg(child["group"], signal.SIGKILL)
        elif victim in {"worker", "sentinel"} and holder[0] == "hands":
            worker = int(holder[2])
            os.kill(worker if victim == "worker" else parent_of(worker), signal.SIGKILL)
        elif victim == "web":
            stack.kill("web")
        else:
            stack.kill("watch")


class Killer:
    """Kills, waits until work goes on, and remembers how long that took."""

    def __init__(self, stack: Stack, plan: str, chance: random.Random) -> None:
        self.stack, self.plan, self.chance = stack, plan, chance
        self.kills: list[tuple[str, float]] = []

    def strike(self, direction: str, ended: str, times: int) -> None:
        """Kill so many times while calls in this direction go on."""
        victims = list(VICTIMS)
        self.chance.shuffle(victims)
        for number in range(times):
            time.sleep(self.chance.uniform(0.2, 2.5))
            if self.stack.state(self.plan) == ended:
                return
            victim = victims[number % len(victims)]
            killed = time.time()
            kill(self.stack, self.plan, victim)
            # What was under way ends on the platform by itself; what begins later is new work.
            goes_on = partial(self._goes_on, direction, killed, ended)
            wait_until(goes_on, 60, f"work goes on after {victim} was killed")
            self.kills.append((victim, self._gap(direction, killed)))

    def _goes_on(self, direction: str, killed: float, ended: str) -> bool:
        later = [call for call in self._began(direction) if call > killed + 0.5]
        return bool(later) or self.stack.state(self.plan) == ended

    def _began(self, direction: str) -> list[float]:
        return sorted(
            at(call["started"]).timestamp() for call in self.stack.calls(self.plan, direction)
        )

    def _gap(self, direction: str, killed: float) -> float:
        """Return the longest time without a call that began within the lease after the kill."""
        began = [moment for moment in self._began(direction) if moment > killed - 1]
        pairs = itertools.pairwise(began)
        return max((later - earlier for earlier, later in pairs), default=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("large")


@pytest.fixture(scope="module")
def fleet(folder: Path) -> Iterator[OwnFleet]:
    with own_fleet(folder / "fleet", tenants=2000, latency=0.4) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def stack(folder: Path, fleet: OwnFleet) -> Iterator[Stack]:
    with running(folder / "data", policies=POLICIES, environ=fleet.environ) as stack:
        fleet.take_over(stack)
        import_all(stack, fleet, folder)
        yield stack


def go_there_and_back(stack: Stack, tenants: list[str], *, forward: int, back: int) -> None:
    chance = random.Random(SEED)
    plan = stack.begin(tenants, policy="large")
    stack.wait_for_calls(plan, "install", 5)
    killer = Killer(stack, plan, chance)

    killer.strike("install", "completed", forward)

    stack.wait_for(plan, "completed", seconds=300)
    assert_ended_right(stack, plan, "completed", GOOD, tenants)
    wait_until(lambda: _asks(stack, plan), 60, "web takes the rollback")
    stack.wait_for_calls(plan, "restore", 5)

    killer.strike("restore", "rolled_back", back)

    stack.wait_for(plan, "rolled_back", seconds=300)
    assert_ended_right(stack, plan, "rolled_back", OLD, tenants)
    print(f"seed {SEED}: {[(victim, round(gap, 1)) for victim, gap in killer.kills]}")  # noqa: T201
    assert len(killer.kills) >= (forward + back) // 2, killer.kills
    late = [kill for kill in killer.kills if kill[1] > TAKEOVER_SECONDS]
    assert not late, f"seed {SEED}: {late}"


def _asks(stack: Stack, plan: str) -> bool:
    try:
        return bool(stack.act(plan, "rollback", reason="Olga takes it back"))
    except OSError:
        return False


def test_fault_01_and_23_random_kills_in_a_plan_of_300_tenants(stack, fleet):
    go_there_and_back(stack, fleet.tenants[:300], forward=3, back=3)


@pytest.mark.chaos_long
def test_fault_01_and_23_twenty_random_kills_in_a_plan_of_2000_tenants(stack, fleet):
    go_there_and_back(stack, fleet.tenants, forward=20, back=10)
