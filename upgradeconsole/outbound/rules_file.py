"""The administrator's file of what may be reached, read again whenever it was written."""

from __future__ import annotations

import logging
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from upgradeconsole.outbound.openings import OutboundRules
from upgradeconsole.outbound.outbound_yaml import OutboundRejected, load_outbound

logger = logging.getLogger(__name__)
Rules = Callable[[], OutboundRules]
"""Asked at each connection: what is taken out of the file counts from the next one on."""


class RulesFile:
    """Gives the rules as the file says them now. No file opens nothing but public addresses.

    While the file is broken, what this process last read stays in force: what was touched must
    come back although somebody is editing. Nothing is opened by a file that cannot be read.
    """

    def __init__(self, file: PathLike[str]) -> None:
        self._file = file
        self._stamp: tuple[str, int, int, int] | None = None
        self._good: OutboundRules | None = None
        self._now = OutboundRules(str(self.path))

    @property
    def path(self) -> Path:
        """Return where the rules stand now."""
        return Path(self._file)

    def __call__(self) -> OutboundRules:
        """Return the rules in force."""
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return self._now
        try:
            self._good = self._now = self.read()
        except OutboundRejected as rejected:
            problems = tuple(map(str, rejected.problems))
            logger.error("%s cannot be used: %s", self.path, "; ".join(problems))
            self._now = self._good or OutboundRules(str(self.path), broken=problems)
        except (OSError, UnicodeDecodeError) as error:
            logger.error("%s cannot be read: %s", self.path, error)
            self._now = self._good or OutboundRules(str(self.path), broken=(str(error),))
        self._stamp = stamp
        return self._now

    def read(self) -> OutboundRules:
        """Return what the file says. Raises OutboundRejected, OSError or UnicodeDecodeError."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return OutboundRules(str(self.path))
        return load_outbound(text, file=str(self.path))

    def _stamp_now(self) -> tuple[str, int, int, int]:
        path = self.path
        try:
            status = path.stat()
        except OSError:
            return (str(path), 0, 0, 0)
        return (str(path), status.st_mtime_ns, status.st_size, status.st_ino)
