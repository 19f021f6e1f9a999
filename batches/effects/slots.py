"""A bound on what is in flight at once, in which the more urgent goes first. Without Django."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LOOK = 0
"""A look is short, and the end or the beginning of a tenant waits for it."""
CALL = 1
CALL_TO_BE_JOURNALLED = 2


class Slots:
    """`number` slots of one event loop; equals are served in the order in which they came."""

    def __init__(self, number: int) -> None:
        self._free = max(1, number)
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    @property
    def is_free(self) -> bool:
        """Tell whether a slot could be taken now without waiting for anybody."""
        return self._free > 0 and not any(not turn.done() for _, _, turn in self._waiting)

    @asynccontextmanager
    async def taken(self, urgency: int) -> AsyncIterator[None]:
        """Hold a slot; wait for it behind whoever is as urgent and came before."""
        await self._take(urgency)
        try:
            yield
        finally:
            self._give_back()

    async def _take(self, urgency: int) -> None:
        if self.is_free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (urgency, next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # The slot was handed over at the very moment of giving up.
                self._give_back()
            raise

    def _give_back(self) -> None:
        while self._waiting:
            _urgency, _place, turn = heapq.heappop(self._waiting)
            if not turn.done():
                # Handed over, not freed: nobody who comes now may step in between.
                turn.set_result(None)
                return
        self._free += 1
