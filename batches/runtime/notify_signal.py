"""Hear of commits on PostgreSQL: LISTEN on a connection of its own, a look each second behind it.

Notifications wake, they carry nothing: whoever is woken reads the tables. So a notification that
is lost, because the server went away or a change sent none, costs a second and no more.
"""

import logging
import selectors

import psycopg
from django.db import connection

from batches.runtime import surroundings
from plans.trail.commit_notice import CHANNEL

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""A wait that long ends as if somebody had committed."""
SLICE_SECONDS = 0.05
"""How soon a nudge or a stop is noticed while nothing is heard."""
FIRST_RETRY_SECONDS = 0.2
LONGEST_RETRY_SECONDS = 5.0


class NotifySignal:
    """A `CommitSignal` over LISTEN; it reconnects by itself, more and more patiently."""

    def __init__(self) -> None:
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._nudged = surroundings.here().flag()
        self._told_at = 0.0
        self._retry_at = 0.0
        self._retry_after = FIRST_RETRY_SECONDS

    def nudge(self) -> None:
        """Wake the waiting thread from another one."""
        self._nudged.set()

    def wait(self, seconds: float, *, stop: surroundings.Flag | None = None) -> bool:
        """Return True as soon as somebody committed or nudged, False after `seconds` or a stop."""
        until = surroundings.here().monotonic() + seconds
        while True:
            if self._nudged.is_set():
                self._nudged.clear()
                return self._tell()
            left = until - surroundings.here().monotonic()
            if self._heard(max(0.0, min(SLICE_SECONDS, left))):
                return self._tell()
            if surroundings.here().monotonic() - self._told_at >= LOOK_SECONDS:
                return self._tell()
            if left <= 0 or (stop is not None and stop.is_set()):
                return False

    def _tell(self) -> bool:
        self._told_at = surroundings.here().monotonic()
        return True

    def _heard(self, seconds: float) -> bool:
        """Wait that long for a notification; a connection that is new or lost counts as one."""
        if self._connection is None and surroundings.here().monotonic() < self._retry_at:
            surroundings.here().sleep(seconds)
            return False
        try:
            if self._connection is None:
                self._connection = self._listen()
                # What was committed before is not told any more.
                return True
            return self._receive(self._connection, seconds)
        except psycopg.Error as error:
            logger.warning("Cannot listen for commits: %s; looking each second.", error)
            self._retry_later()
            return False

    @staticmethod
    def _receive(listening: "psycopg.Connection[tuple[object, ...]]", seconds: float) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(listening.fileno(), selectors.EVENT_READ)
            if not selector.select(seconds):
                return False
        heard = False
        listening.pgconn.consume_input()
        while listening.pgconn.notifies() is not None:
            heard = True
        return heard

    def _listen(self) -> "psycopg.Connection[tuple[object, ...]]":
        parameters = dict(connection.get_connection_params())
        for ours in ("cursor_factory", "context", "prepare_threshold"):
            parameters.pop(ours, None)
        listening = psycopg.connect(**parameters, autocommit=True)
        listening.execute(f"LISTEN {CHANNEL}")
        self._retry_after = FIRST_RETRY_SECONDS
        return listening

    def _retry_later(self) -> None:
        self.close()
        self._retry_at = surroundings.here().monotonic() + self._retry_after
        self._retry_after = min(self._retry_after * 2, LONGEST_RETRY_SECONDS)

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
