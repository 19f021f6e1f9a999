"""What a process gets from its machine: the time, threads, and event loops beside its own.

All of the engine that waits, or that runs beside something else, comes through here. So the
simulator can give it other surroundings, in which time is virtual and processes stand still or die
between any two steps, while every line that decides or writes is the one of production.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from batches.runtime.steady_clock import steady_seconds

Result = TypeVar("Result")


class Running(Protocol):
    """What `spawn` gives back."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""

    def is_alive(self) -> bool:
        """Tell whether it has not ended yet."""


class Flag(Protocol):
    """A thing that threads set for each other (`threading.Event`)."""

    def set(self) -> None:
        """Let everybody go on who waits."""

    def clear(self) -> None:
        """Let waiters wait again."""

    def is_set(self) -> bool:
        """Tell whether it is set."""

    def wait(self, timeout: float | None = None) -> bool:
        """Return True as soon as it is set, False after the timeout."""


class Mailbox(Protocol):
    """What threads hand to each other, in its order (`queue.SimpleQueue`)."""

    def put(self, item: Any) -> None:
        """Add an item."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Return the oldest item. Raises queue.Empty after the timeout."""

    def get_nowait(self) -> Any:
        """Return the oldest item. Raises queue.Empty when there is none."""


class LoopBeside(Protocol):
    """An event loop that runs beside the caller."""

    def start(self) -> None:
        """Begin to accept coroutines."""

    def submit(self, work: Coroutine[Any, Any, Any]) -> "Future[Any]":
        """Run a coroutine there."""

    def stop(self, closing: Callable[[], Awaitable[None]], patience: float) -> None:
        """Cancel what runs there, then await `closing()` there and end."""


class Surroundings(Protocol):
    """The machine, or what stands for it."""

    def now(self) -> datetime:
        """Return the wall time, aware UTC; it may jump."""

    def monotonic(self) -> float:
        """Return seconds that never run backwards, also while this process stood still."""

    def sleep(self, seconds: float) -> None:
        """Let this thread wait."""

    def spawn(self, work: Callable[[], None], *, name: str) -> Running:
        """Run the work in a thread that does not keep the process alive."""

    def flag(self) -> Flag:
        """Return a flag that is not set."""

    def mailbox(self) -> Mailbox:
        """Return an empty mailbox."""

    def loop(self, name: str) -> LoopBeside:
        """Return an event loop for a thread of its own."""

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine to its end in this thread."""


class _LoopThread:
    """An event loop in a thread."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def start(self) -> None:
        """Begin to accept coroutines."""
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, Any]) -> "Future[Any]":
        """Run a coroutine there."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def stop(self, closing: Callable[[], Awaitable[None]], patience: float) -> None:
        """Cancel what runs there, then await `closing()` there and end."""

        async def end() -> None:
            others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await closing()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(timeout=patience)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=patience)
        if not self._thread.is_alive():
            self._loop.close()


class Machine:
    """The machine itself."""

    def now(self) -> datetime:
        """Return the wall time, aware UTC; it may jump."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never run backwards, also while this process stood still."""
        return steady_seconds()

    def sleep(self, seconds: float) -> None:
        """Let this thread wait."""
        time.sleep(seconds)

    def spawn(self, work: Callable[[], None], *, name: str) -> Running:
        """Run the work in a thread that does not keep the process alive."""
        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread

    def flag(self) -> Flag:
        """Return a flag that is not set."""
        return threading.Event()

    def mailbox(self) -> Mailbox:
        """Return an empty mailbox."""
        return queue.SimpleQueue()

    def loop(self, name: str) -> LoopBeside:
        """Return an event loop for a thread of its own."""
        return _LoopThread(name)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine to its end in this thread."""
        return asyncio.run(work)


_here: Surroundings = Machine()


def here() -> Surroundings:
    """Return the surroundings of this process."""
    return _here


def move_to(new: Surroundings) -> Surroundings:
    """Let everything go on in other surroundings; return those before."""
    global _here
    old, _here = _here, new
    return old
