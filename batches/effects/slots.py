"""A bound on what is in flight at once, in which the more urgent goes first. Without Django."""

import asyncio
import heapq
import itertools
from types import TracebackType

LOOK = 0
"""A look is short, and the end or the beginning of a tenant waits for it."""
CALL = 1
CALL_TO_BE_JOURNALLED = 2
LOOKS_BESIDE = 4
"""For how many slots of calls there is one more that only looks take."""


class Slots:
    """`number` slots of one event loop; equals are served in the order in which they came.

    Looks may hold any of them, and a quarter more: a slot of a call is not idle for a look.
    """

    def __init__(self, number: int) -> None:
        self._for_calls = max(1, number)
        self._for_all = self._for_calls + self._for_calls // LOOKS_BESIDE
        self._calls = 0
        self._held = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    @property
    def is_free(self) -> bool:
        """Tell whether a call could begin now without waiting for anybody."""
        return self._fits(CALL)

    def taken(self, urgency: int) -> "Turn":
        """Hold a slot for a block; wait for it behind whoever is as urgent and came before."""
        return Turn(self, urgency)

    def take_now(self, urgency: int) -> bool:
        """Take a slot if nobody has to be waited for."""
        # Whoever waits does so because nothing of its kind fits: nobody is passed here.
        fits = self._fits(urgency)
        if fits:
            self._count(urgency, 1)
        return fits

    async def take(self, urgency: int) -> None:
        """Take a slot."""
        if self.take_now(urgency):
            return
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (urgency, next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # The slot was handed over at the very moment of giving up.
                self.give_back(urgency)
            raise

    def give_back(self, urgency: int) -> None:
        """Hand a slot over to whoever is next."""
        self._count(urgency, -1)
        # Looks come first, so where the first in line does not fit, nobody behind it does.
        while self._waiting and (self._waiting[0][2].done() or self._fits(self._waiting[0][0])):
            next_urgency, _place, turn = heapq.heappop(self._waiting)
            if not turn.done():
                # Handed over, not freed: nobody who comes now may step in between.
                self._count(next_urgency, 1)
                turn.set_result(None)

    def _fits(self, urgency: int) -> bool:
        return self._held < self._for_all and (urgency == LOOK or self._calls < self._for_calls)

    def _count(self, urgency: int, by: int) -> None:
        self._held += by
        if urgency != LOOK:
            self._calls += by


class Turn:
    """A slot that is held for a block."""

    __slots__ = ("_slots", "_urgency")

    def __init__(self, slots: Slots, urgency: int) -> None:
        self._slots = slots
        self._urgency = urgency

    async def __aenter__(self) -> None:
        if not self._slots.take_now(self._urgency):
            await self._slots.take(self._urgency)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._slots.give_back(self._urgency)


class TurnOfBoth:
    """A slot of each of two bounds, held for a block; the second is waited for with the first."""

    __slots__ = ("_first", "_second", "_urgency")

    def __init__(self, first: Slots, second: Slots, urgency: int) -> None:
        self._first = first
        self._second = second
        self._urgency = urgency

    async def __aenter__(self) -> None:
        if not self._first.take_now(self._urgency):
            await self._first.take(self._urgency)
        if self._second.take_now(self._urgency):
            return
        try:
            await self._second.take(self._urgency)
        except BaseException:
            self._first.give_back(self._urgency)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._second.give_back(self._urgency)
        self._first.give_back(self._urgency)
