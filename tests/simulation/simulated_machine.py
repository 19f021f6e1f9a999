"""The surroundings that the engine gets in the simulator: virtual time, and fibers for threads."""

import asyncio
import queue
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.simulation.virtual_loop import PROCESS, Fiber, ProcessDied, VirtualLoop

BEGAN = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)


def _fiber() -> Fiber:
    fiber = Fiber.current()
    if fiber is None:
        raise RuntimeError("Only a thread may wait; this is the loop itself.")
    return fiber


class SimulatedMachine:
    """Implements `Surroundings`. `jumped` is what was added to the wall clock of all processes."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.jumped = 0.0

    def now(self) -> datetime:
        process = PROCESS.get()
        skew = process.skew if process is not None else 0.0
        return BEGAN + timedelta(seconds=self._loop.time() + self.jumped + skew)

    def monotonic(self) -> float:
        return self._loop.time()

    def sleep(self, seconds: float) -> None:
        _fiber().wait(seconds)

    def spawn(self, work: Callable[[], None], *, name: str) -> "Thread":
        return Thread(Fiber(self._loop, work))

    def flag(self) -> "Flag":
        return Flag()

    def mailbox(self) -> "Mailbox":
        return Mailbox()

    def loop(self, name: str) -> "LoopBeside":
        return LoopBeside(self._loop)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return _result_of(self._loop.create_task(work))


def _result_of(running: "asyncio.Future[Any]") -> Any:
    fiber = _fiber()
    running.add_done_callback(lambda _done: fiber.wake())
    while not running.done():
        fiber.wait(None)
    return running.result()


class Thread:
    """A fiber that can be joined."""

    def __init__(self, fiber: Fiber) -> None:
        self._fiber = fiber

    def is_alive(self) -> bool:
        return not self._fiber.done.done()

    def join(self, timeout: float | None = None) -> None:
        waiting = _fiber()
        self._fiber.done.add_done_callback(lambda _done: waiting.wake())
        if self.is_alive():
            waiting.wait(timeout)
        if self._fiber.done.done():
            # What it raised is not for the one who joins, as with a thread.
            self._fiber.done.exception()


class Flag:
    """A threading.Event of fibers."""

    def __init__(self) -> None:
        self._set = False
        self._waiting: list[Fiber] = []

    def set(self) -> None:
        self._set = True
        waiting, self._waiting = self._waiting, []
        for fiber in waiting:
            fiber.wake()

    def clear(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            fiber = _fiber()
            self._waiting.append(fiber)
            fiber.wait(timeout)
            if fiber in self._waiting:
                self._waiting.remove(fiber)
        return self._set


class Mailbox:
    """A queue.SimpleQueue of fibers."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._waiting: list[Fiber] = []

    def put(self, item: Any) -> None:
        self._items.append(item)
        if self._waiting:
            self._waiting.pop(0).wake()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if not self._items and block:
            fiber = _fiber()
            self._waiting.append(fiber)
            fiber.wait(timeout)
            if fiber in self._waiting:
                self._waiting.remove(fiber)
        return self.get_nowait()

    def get_nowait(self) -> Any:
        if not self._items:
            raise queue.Empty
        return self._items.popleft()


class LoopBeside:
    """The event loop of a thread: its tasks run in the one loop of the world."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Nothing has to be started."""

    def submit(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        try:
            task = self._loop.create_task(work)
        except ProcessDied:
            work.close()
            raise
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def stop(self, closing: Callable[[], Awaitable[None]], patience: float) -> None:
        async def end() -> None:
            running = list(self._tasks)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await closing()

        _result_of(self._loop.create_task(end()))
