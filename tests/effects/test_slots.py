"""The bound on what is in flight: never more than it says, the urgent first, nobody lost."""

import asyncio

import pytest

from batches.effects.slots import CALL, LOOK, Slots, TurnOfBoth
from batches.rollout.pacing import journalled_ahead


def test_looks_go_before_calls_and_equals_in_order():
    order: list[str] = []

    async def hold(slots: Slots, urgency: int, name: str) -> None:
        async with slots.taken(urgency):
            order.append(name)
            await asyncio.sleep(0)

    async def play() -> None:
        slots = Slots(1)
        await asyncio.gather(
            *(hold(slots, *who) for who in ((CALL, "a"), (CALL, "b"), (LOOK, "c"), (CALL, "d")))
        )

    asyncio.run(play())
    assert order == ["a", "c", "b", "d"]


def test_never_more_than_there_are_slots_and_all_of_them_come_back():
    most = held = 0

    async def hold(slots: Slots, number: int) -> None:
        nonlocal most, held
        async with slots.taken(number % 2):
            held += 1
            most = max(most, held)
            await asyncio.sleep(0.001 * (number % 3))
            held -= 1

    async def play() -> bool:
        slots = Slots(3)
        await asyncio.gather(*(hold(slots, number) for number in range(20)))
        return slots.is_free

    assert asyncio.run(play())
    assert most == 3


def test_looks_have_a_quarter_more_and_calls_have_not():
    async def play() -> None:
        slots = Slots(4)
        assert [slots.take_now(CALL) for _call in range(5)] == [True] * 4 + [False]
        assert not slots.is_free
        assert [slots.take_now(LOOK) for _look in range(2)] == [True, False]
        slots.give_back(LOOK)
        # What only looks may hold is not for a call that waits.
        assert not slots.is_free
        slots.give_back(CALL)
        assert slots.is_free

    asyncio.run(play())


def test_a_call_that_waits_goes_when_a_call_ends_and_not_when_a_look_does():
    async def play() -> None:
        slots = Slots(4)
        for _call in range(4):
            slots.take_now(CALL)
        slots.take_now(LOOK)
        waiting = asyncio.create_task(slots.take(CALL))
        await asyncio.sleep(0)
        slots.give_back(LOOK)
        await asyncio.sleep(0)
        assert not waiting.done()
        slots.give_back(CALL)
        await asyncio.wait_for(waiting, 1)

    asyncio.run(play())


def test_who_gives_up_the_second_bound_gives_the_first_one_back():
    async def play() -> None:
        own, shared = Slots(1), Slots(1)
        shared.take_now(CALL)

        async def both() -> None:
            async with TurnOfBoth(own, shared, CALL):
                raise AssertionError

        waiting = asyncio.create_task(both())
        await asyncio.sleep(0)
        assert not own.is_free
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert own.is_free

    asyncio.run(play())


@pytest.mark.parametrize("handed_over", [False, True])
def test_who_gives_up_waiting_takes_no_slot_along(handed_over: bool):
    async def play() -> None:
        slots = Slots(1)
        released = asyncio.Event()

        async def hold(until: asyncio.Event) -> None:
            async with slots.taken(CALL):
                await until.wait()

        first = asyncio.create_task(hold(released))
        await asyncio.sleep(0)
        second = asyncio.create_task(hold(asyncio.Event()))
        await asyncio.sleep(0)
        if handed_over:
            released.set()
            await first
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        released.set()
        await first
        async with asyncio.timeout(1), slots.taken(CALL):
            assert not slots.is_free
        assert slots.is_free

    asyncio.run(play())


@pytest.mark.parametrize(
    ("width", "seconds", "ahead"),
    [(100, 0.2, 50), (100, 0.01, 50), (100, 5.0, 2), (100, 30.0, 0), (1, 0.1, 0), (5, 0.3, 1)],
)
def test_only_calls_whose_turn_comes_soon_are_journalled_ahead(width, seconds, ahead):
    assert journalled_ahead(width, seconds) == ahead
