"""One event loop in a thread of its own, in which the watch's effect runs live."""

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

from batches.effects import EffectLoop
from batches.execution import new_effect_loop

logger = logging.getLogger(__name__)


class EffectThread:
    """Runs coroutines by name, each name once at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="effects", daemon=True)
        self.effects: EffectLoop = new_effect_loop()
        self._running: dict[str, Future[Any]] = {}

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def start(self) -> None:
        """Begin to accept runs."""
        self._thread.start()

    def submit(self, name: str, run: Coroutine[Any, Any, bool]) -> None:
        """Run a coroutine unless one of that name is running already."""
        if self.is_running(name):
            run.close()
            return
        self._running[name] = asyncio.run_coroutine_threadsafe(run, self._loop)

    def is_running(self, name: str) -> bool:
        """Tell whether the named run goes on; a failed one is logged and forgotten."""
        future = self._running.get(name)
        if future is None:
            return False
        if not future.done():
            return True
        del self._running[name]
        if future.exception() is not None:
            logger.error("The run %s failed.", name, exc_info=future.exception())
        return False

    def stop(self, patience: float = 5.0) -> None:
        """End all runs: leases are let go, so that another watch goes on at once."""

        async def end() -> None:
            others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self.effects.close()

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(timeout=patience)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=patience)
        if not self._thread.is_alive():
            self._loop.close()
