"""The simulator itself: time, processes and fibers, and that a seed is one replay."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.simulation import families_of_trouble
from tests.simulation.families import Family
from tests.simulation.scenarios import FAMILIES, crashes, scenario_of
from tests.simulation.simulated_machine import SimulatedMachine
from tests.simulation.stage import Stage
from tests.simulation.virtual_loop import EverybodyWaits, Fiber, Process, VirtualLoop


@pytest.fixture
def loop():
    made = VirtualLoop()
    yield made
    made.close()


def run(loop: VirtualLoop, work: Coroutine[Any, Any, Any]) -> Any:
    return loop.run_until_complete(work)


def in_process(process: Process, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    process.context.copy().run(process.loop.create_task, work())


def test_an_hour_passes_at_once(loop):
    run(loop, asyncio.sleep(3600))
    assert loop.time() == 3600


def test_waiting_for_what_nobody_will_bring_is_told(loop):
    with pytest.raises(EverybodyWaits):
        run(loop, loop.create_future())


def test_a_dead_process_does_nothing_more_not_even_its_finally_blocks(loop):
    seen: list[str] = []
    process = Process(loop, "watch:1", "watch")

    async def live() -> None:
        try:
            seen.append("lives")
            await asyncio.sleep(10)
            seen.append("went on")
        finally:
            await asyncio.to_thread(seen.append, "cleared up")

    async def world() -> None:
        in_process(process, live)
        await asyncio.sleep(5)
        process.die()
        await asyncio.sleep(20)

    run(loop, world())
    assert seen == ["lives"]


def test_a_frozen_process_goes_on_late_with_what_was_due(loop):
    seen: list[float] = []
    process = Process(loop, "watch:1", "watch")

    async def live() -> None:
        for _turn in range(3):
            await asyncio.sleep(1)
            seen.append(loop.time())

    async def world() -> None:
        in_process(process, live)
        await asyncio.sleep(1.5)
        process.freeze(10)
        await asyncio.sleep(20)

    run(loop, world())
    assert seen == [1.0, 11.5, 12.5]


def test_blocking_code_gives_way_like_a_thread(loop):
    machine = SimulatedMachine(loop)
    seen: list[tuple[str, float]] = []
    box = machine.mailbox()

    def reader() -> None:
        seen.append((box.get(timeout=60), loop.time()))

    def writer() -> None:
        machine.sleep(5)
        box.put("hello")

    async def world() -> None:
        threads = [Fiber(loop, reader), Fiber(loop, writer)]
        await asyncio.gather(*(thread.done for thread in threads))

    run(loop, world())
    assert seen == [("hello", 5.0)]


def test_what_a_thread_raises_is_raised_where_it_is_awaited(loop):
    async def world() -> None:
        await asyncio.to_thread(int, "no number")

    with pytest.raises(ValueError, match="no number"):
        run(loop, world())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("family", [crashes, families_of_trouble.frozen, families_of_trouble.chaos])
def test_a_seed_is_one_replay(stage: Stage, family: Family) -> None:
    first, again = stage.play(scenario_of(7, family)), stage.play(scenario_of(7, family))
    assert first.trail == again.trail
    assert first.platform.sent == again.platform.sent
    assert len(first.trail) > 10


def test_every_family_is_played_within_as_many_seeds_as_there_are_families() -> None:
    played = {scenario_of(seed).family for seed in range(len(FAMILIES))}
    assert played == {family.__name__ for family in FAMILIES}
