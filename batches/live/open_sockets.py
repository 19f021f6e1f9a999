"""The sockets that are open in this process: how many each person has, and their end.

Channels keeps whoever opened a socket for as long as it is open. So the end of a session (log-out,
a second factor that was reset, somebody who left) ends its sockets at once in the process that ends
it; those in other processes look again by themselves (consumers.RECHECK_SECONDS).
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db import transaction

logger = logging.getLogger(__name__)

MOST_PER_PERSON = 10
"""In each web process. A page without a socket polls, and is still right."""


@dataclass(eq=False, slots=True)
class OpenSocket:
    """One socket: whose, of which session, and how it is ended."""

    person: int
    session: str | None
    end: Callable[[], Awaitable[None]]
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def end_soon(self) -> None:
        """End it from any thread."""
        try:
            asyncio.run_coroutine_threadsafe(_awaited(self.end), self.loop)
        except RuntimeError:
            logger.debug("The loop of a socket is closed; it has ended by itself.")


async def _awaited(end: Callable[[], Awaitable[None]]) -> None:
    await end()


class OpenSockets:
    """All of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, set[OpenSocket]] = {}

    def add(self, socket: OpenSocket) -> bool:
        """Note a socket; return False, and note none, when the person has too many."""
        with self._lock:
            theirs = self._open.setdefault(socket.person, set())
            if len(theirs) >= MOST_PER_PERSON:
                return False
            theirs.add(socket)
            return True

    def remove(self, socket: OpenSocket) -> None:
        """Forget a socket that has ended."""
        with self._lock:
            theirs = self._open.get(socket.person, set())
            theirs.discard(socket)
            if not theirs:
                self._open.pop(socket.person, None)

    def end_session(self, session: str) -> None:
        """End the sockets of a session."""
        with self._lock:
            of_it = [one for theirs in self._open.values() for one in theirs]
        for socket in of_it:
            if socket.session == session:
                socket.end_soon()


OPEN_SOCKETS = OpenSockets()


def end_with_log_out(sender: object, request: Any, **kwargs: Any) -> None:
    """End the sockets of a session that is logged out; it still has its name then."""
    if key := getattr(getattr(request, "session", None), "session_key", None):
        OPEN_SOCKETS.end_session(key)


def end_with_session(sender: object, instance: Any, **kwargs: Any) -> None:
    """End the sockets of a session that was deleted, whoever did it, once that is committed."""
    transaction.on_commit(partial(OPEN_SOCKETS.end_session, str(instance.session_key)))
