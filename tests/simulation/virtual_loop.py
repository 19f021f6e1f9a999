"""One event loop in virtual time, in which many simulated processes live.

Nothing waits for real: when nobody can go on, time jumps to the next timer. Every handle belongs to
the process in whose context it was made; those of a dead process are dropped, those of a frozen one
wait until it wakes up. Work that blocks (threads, database) runs in fibers: greenlets that give way
to the loop wherever a thread would wait, and wherever a test wants another process to come between.
"""

import asyncio
import contextvars
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import greenlet

PROCESS: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)


class ProcessDied(BaseException):
    """Raised inside a process that was killed: it touches nothing any more."""


class OfEachProcess(dict[Any, Any]):
    """A module's own dictionary: each process has one, and a new process an empty one."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get((PROCESS.get(), key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__((PROCESS.get(), key), value)


class EverybodyWaits(Exception):
    """Nobody can go on and no timer is set: a wake-up was lost for good."""


class Process:
    """One simulated process of the console."""

    def __init__(self, loop: "VirtualLoop", name: str, kind: str) -> None:
        self.loop = loop
        self.name = name
        self.kind = kind
        self.alive = True
        self.frozen = False
        self.born = loop.time()
        self.skew = 0.0
        self.tasks: list[asyncio.Task[Any]] = []
        self.fibers: list[Fiber] = []
        self.parked: deque[asyncio.Handle] = deque()
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)

    def __repr__(self) -> str:
        return f"<{self.name}>"

    def start(self, work: Callable[[], Any]) -> "Fiber":
        """Run blocking work as a thread of this process."""
        return self.context.copy().run(Fiber, self.loop, work)

    def freeze(self, seconds: float) -> None:
        """Stand still for so long."""
        if self.alive and not self.frozen:
            self.frozen = True
            self.loop.outside.run(self.loop.call_later, seconds, self.thaw)

    def thaw(self) -> None:
        """Go on, with everything that has become due meanwhile."""
        self.frozen = False
        self.loop.take_back(self.parked)

    def die(self) -> None:
        """End at once. What runs now has to raise ProcessDied; the rest is buried by the loop."""
        if self.alive:
            self.alive = False
            self.loop.outside.run(self.loop.call_soon, self._bury)

    def _bury(self) -> None:
        self.parked.clear()
        for fiber in self.fibers:
            fiber.end()
        for task in self.tasks:
            self.context.copy().run(_end_task, task)
        self.fibers.clear()


def _end_task(task: "asyncio.Task[Any]") -> None:
    """Let a coroutine of a dead process unwind; whatever it still tries is refused."""
    # The library would tell of a task that was never finished: this one must not be.
    task._log_destroy_pending = False
    if task.done():
        task._log_traceback = False
        return
    work = task.get_coro()
    try:
        for _turn in range(100):
            work.throw(ProcessDied())
    except (ProcessDied, StopIteration, RuntimeError):
        return


class _Task(asyncio.Task[Any]):
    """A task with a number: sets of tasks are walked in the same order in every replay."""

    def __init__(self, number: int, coro: Any, **options: Any) -> None:
        self._number = number
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time is a number."""

    def __init__(self) -> None:
        super().__init__()
        numbers = itertools.count()
        self.set_task_factory(
            lambda loop, coro, **options: _Task(next(numbers), coro, loop=loop, **options)
        )
        self._at = 0.0
        self.outside = contextvars.Context()
        self.on_error: Callable[[dict[str, Any]], None] = lambda context: None
        self.set_exception_handler(lambda _loop, context: self.on_error(context))

    def time(self) -> float:
        """Return the virtual seconds since the world began."""
        return self._at

    def take_back(self, parked: "deque[asyncio.Handle]") -> None:
        """Let handles go on that were put aside."""
        self._ready.extend(parked)
        parked.clear()

    def _run_once(self) -> None:
        ready: deque[asyncio.Handle] = self._ready
        timers: list[asyncio.TimerHandle] = self._scheduled
        while timers and timers[0].cancelled():
            heapq.heappop(timers)._scheduled = False
        if not ready:
            if not timers:
                raise EverybodyWaits
            self._at = max(self._at, timers[0].when())
        while timers and timers[0].when() <= self._at:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            ready.append(timer)
        for _turn in range(len(ready)):
            handle = ready.popleft()
            if handle.cancelled():
                continue
            process = handle._context.get(PROCESS)
            if process is None or (process.alive and not process.frozen):
                handle._run()
            elif process.alive:
                process.parked.append(handle)

    def _process_events(self, event_list: Any) -> None:
        """There is no selector."""

    def _write_to_self(self) -> None:
        """Nobody sleeps for real, so nobody has to be woken."""

    def create_task(self, coro: Any, **options: Any) -> "asyncio.Task[Any]":
        """Make a task that belongs to the process of its context."""
        context = options.get("context")
        process = context.get(PROCESS) if context is not None else PROCESS.get()
        if process is not None and not process.alive:
            coro.close()
            raise ProcessDied
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        if process is not None:
            process.tasks.append(task)
        return task

    def run_in_executor(  # type: ignore[override]  # what comes back is of any type here
        self, executor: Any, func: Any, *args: Any
    ) -> "asyncio.Future[Any]":
        """Run blocking work in a fiber instead of a thread."""
        process = PROCESS.get()
        if process is not None and not process.alive:
            raise ProcessDied
        return Fiber(self, lambda: func(*args)).done


class Fiber:
    """A thread of a simulated process: blocking code that gives way to the loop."""

    def __init__(self, loop: VirtualLoop, work: Callable[[], Any]) -> None:
        self.loop = loop
        self.done: asyncio.Future[Any] = loop.create_future()
        self.process = PROCESS.get()
        self._context = contextvars.copy_context()
        self._work = work
        self._turn = 0
        self._greenlet = greenlet.greenlet(self._run)
        self._greenlet.gr_context = contextvars.copy_context()
        self._greenlet.fiber = self
        if self.process is not None:
            self.process.fibers.append(self)
        loop.call_soon(self._resume, self._turn, True, context=self._context)

    @staticmethod
    def current() -> "Fiber | None":
        """Return the fiber in which this runs."""
        return getattr(greenlet.getcurrent(), "fiber", None)

    def _run(self, _first: object = None) -> None:
        try:
            result = self._work()
        except ProcessDied:
            return
        except BaseException as error:  # noqa: BLE001  (it is raised where somebody waits for it)
            if not self.done.done():
                self.done.set_exception(error)
        else:
            if not self.done.done():
                self.done.set_result(result)

    def _resume(self, turn: int, woken: bool) -> None:
        if turn != self._turn or self._greenlet.dead:
            return
        self._turn += 1
        self._switch(self._greenlet.switch, woken)

    def _switch(self, into: Callable[..., Any], *arguments: Any) -> None:
        """Run in the fiber until it waits; a thread has no running loop."""
        self._greenlet.parent = greenlet.getcurrent()
        running = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        try:
            into(*arguments)
        finally:
            asyncio._set_running_loop(running)

    def wait(self, seconds: float | None) -> bool:
        """Give way; True when woken by `wake`, False when the time is over."""
        if self.process is not None and not self.process.alive:
            raise ProcessDied
        if seconds is not None:
            self.loop.call_later(
                max(0.0, seconds), self._resume, self._turn, False, context=self._context
            )
        return bool(self._greenlet.parent.switch())

    def wake(self) -> None:
        """Let it go on, from anywhere."""
        self.loop.call_soon(self._resume, self._turn, True, context=self._context)

    def end(self) -> None:
        """Raise ProcessDied where it waits."""
        if not self._greenlet.dead and self._greenlet:
            self._turn += 1
            self._switch(self._greenlet.throw, ProcessDied())


def run(loop: VirtualLoop, work: Coroutine[Any, Any, Any]) -> Any:
    """Run the world's own coroutine to its end."""
    return loop.run_until_complete(work)
