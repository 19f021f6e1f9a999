"""Learn within milliseconds that somebody committed; how, depends on the database."""

from typing import Protocol

from django.db import connection

from batches.runtime import surroundings
from batches.runtime.data_version_signal import DataVersionSignal
from batches.runtime.notify_signal import NotifySignal


class CommitSignal(Protocol):
    """Waits for a commit of any other connection; used by one thread, nudged by any."""

    def nudge(self) -> None:
        """Wake the waiting thread from another one."""

    def wait(self, seconds: float, *, stop: surroundings.Flag | None = None) -> bool:
        """Return True as soon as somebody committed or nudged, False after `seconds` or a stop.

        It may be true for nothing, and it never keeps a commit back for more than a second.
        """

    def close(self) -> None:
        """Give the connection back."""


def commit_signal() -> CommitSignal:
    """Return the signal for the configured database; it connects at its first wait."""
    if connection.vendor == "postgresql":
        return NotifySignal()
    return DataVersionSignal()
