"""Files of checkpoints outside of the database: only ever appended to, one per day and trail.

The folder belongs on a disk that this machine can only append to, or is copied elsewhere as it
grows. What is missing there is written when it can be again. Pure: no clock, no settings.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Anchor:
    """One checkpoint as it goes into a file: its heads are all, or what has changed."""

    number: int
    at: datetime
    text: str
    heads: Mapping[str, Sequence[Any]]
    whole: bool

    @property
    def line(self) -> bytes:
        """Return the line of the file."""
        told = {
            "number": self.number,
            "checkpoint": self.text,
            "whole": self.whole,
            "heads": self.heads,
        }
        return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def last_number(folder: Path, log: str) -> int:
    """Return the number of the last checkpoint of that trail that stands in a file; 0 for none."""
    for path in sorted(folder.glob(f"{log}-*.jsonl"), reverse=True):
        for line in reversed(path.read_bytes().splitlines()):
            try:
                return int(json.loads(line)["number"])
            except (ValueError, KeyError, TypeError):
                # Cut off by a crash in its writing; it is written again.
                continue
    return 0


def write(folder: Path, log: str, anchors: Sequence[Anchor]) -> int:
    """Append the checkpoints, each to its day's file, and see them on the disk.

    Return the number of the last one. Raises OSError; what was written until then stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for anchor in anchors:
        _append(folder / f"{log}-{anchor.at:%Y%m%d}.jsonl", anchor.line)
        written = anchor.number
    return written


def _append(path: Path, line: bytes) -> None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
    try:
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            line = b"\n" + line
        if os.write(handle, line) != len(line):
            raise OSError(f"{path}: not all of it could be written")
        os.fsync(handle)
    finally:
        os.close(handle)
