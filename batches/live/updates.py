"""Tell every open live page what was committed: one tailer per web process, bounded queues.

The tables are the truth and the only thing that is asked: a cursor per plan and kind of fact. The
tailer is woken by commits; what it finds goes out in frames, made once per plan and shared by all
of its clients.
"""

import asyncio
import logging
import sqlite3
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import DatabaseError, connections
from django.db.models import Max
from django.utils import timezone

from batches.live import messages as live_messages
from batches.live.messages import Message
from batches.models import DeployerCall, EvidenceLook, KpiSample, TenantUpgrade
from batches.runtime.commit_signal import CommitSignal, commit_signal
from plans.database_away import DATABASE_AWAY
from plans.models import Event, Stream

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.05
FRAME_SECONDS = 0.1
TICK_SECONDS = 1.0
IDLE_SECONDS = 2.0
QUEUE_FRAMES = 64
FRAME_EVENTS = 500
FRAME_ANSWERS = 100
LATE_COMMIT_SECONDS = 5.0
"""An answer may be committed this long after the end that it carries."""


class Client:
    """One socket's place in the registry: a bounded queue of frames that its consumer sends.

    A client that reads too slowly loses what waits for it and is told so (`gap`): it then asks
    for a snapshot. Nothing waits for a slow client.
    """

    def __init__(self, plan_id: uuid.UUID, loop: asyncio.AbstractEventLoop) -> None:
        self.plan_id = plan_id
        self._loop = loop
        self._frames: asyncio.Queue[str] = asyncio.Queue(maxsize=QUEUE_FRAMES)

    async def next_frame(self) -> str:
        """Wait for the next frame."""
        return await self._frames.get()

    def offer(self, frame: str) -> None:
        """Hand a frame over from the tailer's thread."""
        try:
            self._loop.call_soon_threadsafe(self.put, frame)
        except RuntimeError:
            # The socket's loop has been closed; its consumer is gone and leaves by itself.
            logger.debug("A live client's loop is closed.")

    def put(self, frame: str) -> None:
        """Queue a frame; on overflow drop everything and leave one `gap`."""
        if self._frames.full():
            while not self._frames.empty():
                self._frames.get_nowait()
            frame = live_messages.frame([live_messages.gap()])
        self._frames.put_nowait(frame)


@dataclass(slots=True)
class Cursor:
    """How far one plan's clients have been told."""

    seq: int
    sample: int
    answered: datetime
    evidence: int = 0
    told: deque[int] = field(default_factory=lambda: deque(maxlen=5000))


class Tailer:
    """Reads what is new for the plans that somebody looks at; a thread that lives while needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[uuid.UUID, set[Client]] = {}
        self._cursors: dict[uuid.UUID, Cursor] = {}
        self.thread: threading.Thread | None = None
        self._alone_since = 0.0

    def join(self, client: Client) -> None:
        """Add a client; what is committed from now on reaches it. Asks the database."""
        cursor = _cursor_now(client.plan_id)
        with self._lock:
            self._clients.setdefault(client.plan_id, set()).add(client)
            self._cursors.setdefault(client.plan_id, cursor)
            if self.thread is None:
                self.thread = threading.Thread(target=self._run, name="live tailer", daemon=True)
                self.thread.start()

    def leave(self, client: Client) -> None:
        """Remove a client; the plan's cursor goes with its last one."""
        with self._lock:
            clients = self._clients.get(client.plan_id, set())
            clients.discard(client)
            if not clients:
                self._clients.pop(client.plan_id, None)
                self._cursors.pop(client.plan_id, None)
                self._alone_since = time.monotonic()

    def _run(self) -> None:
        try:
            with closing(commit_signal()) as signal:
                self._work(signal)
        finally:
            with self._lock:
                self.thread = None
            connections.close_all()

    def _work(self, signal: CommitSignal) -> None:
        pending, framed, ticked = False, 0.0, 0.0
        while not self._may_end():
            # What waits already goes out when its frame is due, not when the next commit comes.
            due = max(0.0, framed + FRAME_SECONDS - time.monotonic())
            try:
                pending = (
                    signal.wait(min(POLL_SECONDS, due) if pending else POLL_SECONDS) or pending
                )
                now = time.monotonic()
                if pending and now - framed >= FRAME_SECONDS:
                    pending, framed = self._tell_news(), now
                if now - ticked >= TICK_SECONDS:
                    self._tick()
                    ticked = now
            except (*DATABASE_AWAY, DatabaseError, sqlite3.OperationalError):
                # Busy or away: the cursors have not moved, so the next look finds it all.
                logger.warning("The live tailer could not read; it tries again.", exc_info=True)
                connections.close_all()
                time.sleep(TICK_SECONDS)

    def _may_end(self) -> bool:
        with self._lock:
            if self._clients or time.monotonic() - self._alone_since < IDLE_SECONDS:
                return False
            # Under the lock: whoever joins next starts a new thread.
            self.thread = None
            return True

    def _watched(self) -> dict[uuid.UUID, Cursor]:
        with self._lock:
            return dict(self._cursors)

    def _send(self, plan_id: uuid.UUID, messages: Iterable[Message]) -> None:
        told = list(messages)
        if not told:
            return
        frame = live_messages.frame(told)
        with self._lock:
            clients = list(self._clients.get(plan_id, ()))
        for client in clients:
            client.offer(frame)

    def _tick(self) -> None:
        watched = self._watched()
        if watched:
            tick = live_messages.tick(timezone.now())
            for plan_id in watched:
                self._send(plan_id, [tick])

    def _tell_news(self) -> bool:
        """Tell every plan's clients what is new; return whether more waits than fits a frame."""
        watched, more = self._watched(), False
        heads = dict(
            Stream.objects.filter(key__in=[f"plan:{plan_id}" for plan_id in watched]).values_list(
                "key", "head_seq"
            )
        )
        for plan_id, cursor in watched.items():
            messages: list[Message] = []
            if heads.get(f"plan:{plan_id}", 0) > cursor.seq:
                messages += _events(plan_id, cursor)
                more = more or heads[f"plan:{plan_id}"] > cursor.seq
                messages.append(
                    live_messages.counts(TenantUpgrade.objects.filter(plan_id=plan_id).counts())
                )
            messages += _samples(plan_id, cursor)
            messages += _evidence(plan_id, cursor)
            messages += _answers(plan_id, cursor)
            self._send(plan_id, messages)
        return more


def _cursor_now(plan_id: uuid.UUID) -> Cursor:
    head = Stream.objects.filter(key=f"plan:{plan_id}").values_list("head_seq", flat=True).first()
    newest = (
        KpiSample.objects.filter(plan_id=plan_id).order_by("-pk").values_list("pk", flat=True)
    ).first()
    tested = EvidenceLook.objects.filter(plan_id=plan_id).aggregate(newest=Max("pk"))["newest"]
    now = timezone.now()
    cursor = Cursor(seq=head or 0, sample=newest or 0, answered=now, evidence=tested or 0)
    # What the page shows already is not told again when a late commit is looked for.
    shown = DeployerCall.objects.filter(
        plan_id=plan_id, ended_at__gt=now - timedelta(seconds=LATE_COMMIT_SECONDS)
    )
    cursor.told.extend(shown.values_list("pk", flat=True))
    return cursor


def _events(plan_id: uuid.UUID, cursor: Cursor) -> list[Message]:
    rows = list(
        Event.objects.filter(stream__key=f"plan:{plan_id}", seq__gt=cursor.seq).order_by("seq")[
            :FRAME_EVENTS
        ]
    )
    if rows:
        cursor.seq = rows[-1].seq
    return [live_messages.event(row) for row in rows]


def _samples(plan_id: uuid.UUID, cursor: Cursor) -> list[Message]:
    rows = list(KpiSample.objects.filter(plan_id=plan_id, pk__gt=cursor.sample).order_by("pk"))
    if rows:
        cursor.sample = rows[-1].pk
    return live_messages.samples(rows)


def _evidence(plan_id: uuid.UUID, cursor: Cursor) -> list[Message]:
    rows = list(EvidenceLook.objects.filter(plan_id=plan_id, pk__gt=cursor.evidence).order_by("pk"))
    if rows:
        cursor.evidence = rows[-1].pk
    return live_messages.evidence(rows)


def _answers(plan_id: uuid.UUID, cursor: Cursor) -> list[Message]:
    since = cursor.answered - timedelta(seconds=LATE_COMMIT_SECONDS)
    # The newest first: a stream that is faster than its frames loses lines, never its end.
    rows = (
        DeployerCall.objects.filter(plan_id=plan_id, ended_at__gt=since)
        .select_related("upgrade")
        .order_by("-ended_at", "-pk")[:FRAME_ANSWERS]
    )
    known = set(cursor.told)
    fresh = [row for row in rows if row.pk not in known][::-1]
    if not fresh:
        return []
    cursor.told.extend(row.pk for row in fresh)
    cursor.answered = max(cursor.answered, *(row.ended_at for row in fresh if row.ended_at))
    return [live_messages.answers(fresh)]


TAILER = Tailer()
"""This process's one tailer; its thread starts with the first socket."""
