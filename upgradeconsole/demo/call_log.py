"""The fleet's own log: every call that reached it, for comparing with the console's journal."""

from __future__ import annotations

import json
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TextIO

# In memory, for GET /_log; the file keeps all.
_KEPT: Final = 200_000


class CallLog:
    """Numbers the entries, keeps the latest in memory and appends all to a JSON lines file."""

    def __init__(self, path: Path | None) -> None:
        self._entries: deque[dict[str, object]] = deque(maxlen=_KEPT)
        self._next = 1
        self._file: TextIO | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._next = _last_number(path) + 1
            # Buffered by line: what was answered is in the file even if the process is killed.
            self._file = path.open("a", buffering=1, encoding="utf-8")

    def add(
        self,
        *,
        started: datetime,
        tenant: str,
        direction: str,
        version: str,
        key: str,
        fence: int | None,
        status: int | None,
        applied: bool,
        note: str = "",
    ) -> None:
        """Append one call that ended now; status None got no answer."""
        entry: dict[str, object] = {
            "number": self._next,
            "started": _stamp(started),
            "ended": _stamp(datetime.now(UTC)),
            "tenant": tenant,
            "direction": direction,
            "version": version,
            "key": key,
            "fence": fence,
            "status": status,
            "applied": applied,
            "note": note,
        }
        self._next += 1
        self._entries.append(entry)
        if self._file is not None:
            self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")

    def since(self, number: int) -> list[dict[str, object]]:
        """Return the entries after this number that are in memory."""
        first = self._next - len(self._entries)
        skip = max(0, number + 1 - first)
        return [entry for position, entry in enumerate(self._entries) if position >= skip]

    @property
    def last_number(self) -> int:
        """Return the number of the latest entry; ask since() with it next time."""
        return self._next - 1

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")


def _last_number(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open(encoding="utf-8") as lines:
        # Counted, not parsed: a line cut short by a kill must not keep the fleet from starting.
        return sum(1 for _ in lines)
