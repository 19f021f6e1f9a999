"""One event loop in a thread of its own, in which the watch's effect runs live."""

import logging
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any

from batches.effects.execution import new_effect_loop
from batches.effects.loop import EffectLoop
from batches.runtime import surroundings

logger = logging.getLogger(__name__)


class EffectThread:
    """Runs coroutines by name, each name once at a time."""

    def __init__(self, effects: EffectLoop | None = None) -> None:
        self._loop = surroundings.here().loop("effects")
        self.effects: EffectLoop = effects or new_effect_loop()
        self._running: dict[str, Future[Any]] = {}

    def start(self) -> None:
        """Begin to accept runs."""
        self._loop.start()

    def submit(self, name: str, run: Coroutine[Any, Any, bool]) -> None:
        """Run a coroutine unless one of that name is running already."""
        # Runs that have ended are told of and forgotten, also of plans that never run again.
        going_on = {known for known in list(self._running) if self.is_running(known)}
        if name in going_on:
            run.close()
            return
        self._running[name] = self._loop.submit(run)

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
        self._loop.stop(self.effects.close, patience)
