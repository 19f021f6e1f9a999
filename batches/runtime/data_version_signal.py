"""See commits on SQLite by `PRAGMA data_version`, without anybody having to say so."""

import sqlite3
from contextlib import closing

from django.db import connection

from batches.runtime import surroundings

LOOK_SECONDS = 0.02


class DataVersionSignal:
    """A `CommitSignal` over a connection of its own: the pragma tells of commits by others only."""

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None
        self._version = -1
        self._nudged = surroundings.here().flag()

    def nudge(self) -> None:
        """Wake the waiting thread from another one."""
        self._nudged.set()

    def _look(self) -> int:
        if self._connection is None:
            name = str(connection.settings_dict["NAME"])
            self._connection = sqlite3.connect(
                name, check_same_thread=False, uri=name.startswith("file:")
            )
        with closing(self._connection.execute("PRAGMA data_version")) as cursor:
            return int(cursor.fetchone()[0])

    def wait(self, seconds: float, *, stop: surroundings.Flag | None = None) -> bool:
        """Return True as soon as somebody committed or nudged, False after `seconds` or a stop."""
        until = surroundings.here().monotonic() + seconds
        while True:
            if self._nudged.is_set():
                self._nudged.clear()
                return True
            try:
                version = self._look()
            except sqlite3.Error:
                # A full or locked database tells nothing; the next tick finds out what it is.
                self.close()
                version = self._version
            if version != self._version:
                self._version = version
                return True
            left = until - surroundings.here().monotonic()
            if left <= 0 or (stop is not None and stop.is_set()):
                return False
            surroundings.here().sleep(min(LOOK_SECONDS, left))

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
