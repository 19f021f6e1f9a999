"""What the world learns from each commit, read past all processes: trail, journal, looks, moves."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.simulation.simulated_database import SharedConnection
from tests.simulation.virtual_loop import VirtualLoop

MARKS = {
    'INSERT INTO "plans_event"': "trail",
    'INSERT INTO "batches_deployercall"': "journal",
    'INSERT INTO "batches_kpisample"': "looks",
    'INSERT INTO "django_q_ormq"': "queue",
}


@dataclass(frozen=True, slots=True)
class TrailEntry:
    """One event as the world saw it committed."""

    at: float
    stream: str
    seq: int
    kind: str
    payload: dict[str, Any]
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One row of the journal as the world saw it committed."""

    at: float
    key: str
    attempt: int
    install: bool


class Feed:
    """The order in which things were committed; `looks` says when each look was."""

    def __init__(self, shared: SharedConnection, loop: VirtualLoop) -> None:
        self._shared = shared
        self._loop = loop
        self.trail: list[TrailEntry] = []
        self.journal: list[JournalEntry] = []
        self.looks: list[float] = []
        self.moves: Counter[tuple[str, str]] = Counter()
        self.told: Callable[[TrailEntry], None] = lambda entry: None
        self._touched: set[str] = set()
        self._moved: list[tuple[str, str]] = []
        newest = shared.raw.execute("SELECT MAX(id) FROM plans_event").fetchone()
        self._last_event = int(newest[0] or 0)
        self._last_call = 0

    def statement(self, sql: str) -> None:
        """Remember what a transaction writes to."""
        for start, mark in MARKS.items():
            if sql.startswith(start):
                self._touched.add(mark)

    def moved(self, sender: type, name: str, **_more: Any) -> None:
        """Remember the move of a plan or batch; it counts when it is committed."""
        lifecycle = getattr(sender, "lifecycle", None)
        if lifecycle is not None:
            self._moved.append((lifecycle.noun, name.removeprefix("to_")))

    def committed(self) -> set[str]:
        """Read what a commit brought; return what it wrote to."""
        moved, self._moved = self._moved, []
        self.moves.update(moved)
        touched, self._touched = self._touched, set()
        if "journal" in touched:
            self._read_journal()
        if "looks" in touched:
            self._date_looks()
        if "trail" in touched:
            self._read_trail()
        return touched

    def _read_trail(self) -> None:
        rows = self._shared.raw.execute(
            "SELECT e.id, s.key, e.seq, e.kind, e.payload, e.prev_hash, e.hash FROM plans_event e"
            " JOIN plans_stream s ON s.id = e.stream_id WHERE e.id > ? ORDER BY e.id",
            (self._last_event,),
        ).fetchall()
        for pk, stream, seq, kind, payload, before, digest in rows:
            self._last_event = pk
            facts = json.loads(payload)
            entry = TrailEntry(self._loop.time(), stream, seq, kind, facts, before, digest)
            self.trail.append(entry)
            self.told(entry)

    def _read_journal(self) -> None:
        rows = self._shared.raw.execute(
            "SELECT id, key, attempt, direction FROM batches_deployercall WHERE id > ? ORDER BY id",
            (self._last_call,),
        ).fetchall()
        for pk, key, attempt, direction in rows:
            self._last_call = pk
            self.journal.append(
                JournalEntry(self._loop.time(), key, attempt, direction == "install")
            )

    def _date_looks(self) -> None:
        query = "SELECT COALESCE(MAX(id), 0) FROM batches_kpisample"
        (newest,) = self._shared.raw.execute(query).fetchone()
        while len(self.looks) < newest:
            self.looks.append(self._loop.time())

    def quiet_for(self) -> float:
        """Return for how long nobody has said anything."""
        return self._loop.time() - (self.trail[-1].at if self.trail else 0.0)
