"""Hand the trail out: JSON lines that `verify_trail.py` can check, or CSV for a spreadsheet.

Everything is written as it is read; the length of the trail does not matter. What is exported: one
plan, the system, or everything, from and until a moment.
"""

import base64
import csv
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol

from django.db.models import QuerySet

from plans.chain import timestamp
from plans.console_keys import PURPOSES, kid_of, public_keys
from plans.models import Checkpoint, Event, Stream
from plans.trail.checkpoints import heads_at, newest, proof_of
from plans.trail.period import Period, period_around

FORMAT = "upgradeconsole/trail/1"
EVERYTHING = "everything"
ROWS_AT_ONCE = 2000
COLUMNS = (
    *("stream", "seq", "at", "kind", "actor", "via", "sentence", "reason", "on_behalf", "token"),
    *("address", "trace_id", "grant", "payload", "prev_hash", "hash"),
)
FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n")

Line = dict[str, Any]
Head = tuple[int, str]
FURTHER: dict[str, Callable[["Excerpt", frozenset[str]], Iterable[Line]]] = {}
"""Lines that other modules add, by name, of an excerpt and the approvals that its events name."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What of the trail is handed out; no stream = everything."""

    stream: str = ""
    since: datetime | None = None
    until: datetime | None = None
    addresses: bool = False

    @property
    def scope(self) -> str:
        """Return its name in the export: only of everything can be said that nothing is missing."""
        if not self.stream and self.since is None and self.until is None:
            return EVERYTHING
        return self.stream or "period"

    @property
    def is_period(self) -> bool:
        """Tell whether it is not to begin with the first event, or not to end with the last."""
        return self.since is not None or self.until is not None

    def events(self) -> QuerySet[Event]:
        """Return its events, stream by stream in their order."""
        rows = Event.objects.order_by("stream_id", "seq").select_related("stream")
        if self.addresses:
            rows = rows.select_related("stream", "address")
        if self.stream:
            rows = rows.filter(stream__key=self.stream)
        if self.since is not None:
            rows = rows.filter(at__gte=self.since)
        return rows.filter(at__lt=self.until) if self.until is not None else rows


def register(name: str, lines: Callable[[Excerpt, frozenset[str]], Iterable[Line]]) -> None:
    """Let every export have further lines; registering the same name again replaces it."""
    FURTHER[name] = lines


def json_lines(excerpt: Excerpt, *, instance: str, now: datetime) -> Iterator[bytes]:
    """Yield the export, line by line."""
    for line in _lines(excerpt, instance=instance, now=now):
        yield json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _lines(excerpt: Excerpt, *, instance: str, now: datetime) -> Iterator[Line]:
    period = period_around(excerpt.since, excerpt.until) if excerpt.is_period else None
    yield {
        "trail": {
            "format": FORMAT,
            "scope": excerpt.scope,
            "since": timestamp(excerpt.since) if excerpt.since else None,
            "until": timestamp(excerpt.until) if excerpt.until else None,
            "instance": instance,
            "at": timestamp(now),
        }
        | ({} if period is None else {"between": _edges(period)})
    }
    for purpose in PURPOSES:
        for public in public_keys(purpose).values():
            yield {"key": {"kid": kid_of(public), "purpose": purpose, "public_key": public.hex()}}
    # Before the events: what a checkpoint or a head has seen is still there when they are read.
    yield from _checkpoints(excerpt) if period is None else _around(period, excerpt.stream)
    before, last, named = _heads(excerpt), dict[str, Head](), set[str]()
    for event in _told(excerpt, period):
        last[event.stream.key] = (event.seq, event.hash)
        named |= {event.grant} - {""}
        yield _event(event, excerpt)
    after = _heads(excerpt)
    for stream in sorted(before.keys() | after.keys() & last.keys()):
        seq, head = _head(
            before.get(stream, (0, "")), after.get(stream, (0, "")), last.get(stream, (0, ""))
        )
        yield {"head": {"stream": stream, "seq": seq, "hash": head}}
    for lines in FURTHER.values():
        yield from lines(excerpt, frozenset(named))


def _heads(excerpt: Excerpt) -> dict[str, Head]:
    """Return what the streams say that their last events are; nothing of a period."""
    if excerpt.is_period:
        return {}
    rows = Stream.objects.filter(head_seq__gt=0).order_by()
    if excerpt.stream:
        rows = rows.filter(key=excerpt.stream)
    return {key: (seq, head) for key, seq, head in rows.values_list("key", "head_seq", "head_hash")}


def _head(before: Head, after: Head, last: Head) -> Head:
    """Return the head that the events written in between must fit.

    What came while they were written is no cut, and a cut is not hidden by it.
    """
    if before[0] >= last[0]:
        return before
    return after if after[0] <= last[0] else last


def _checkpoints(excerpt: Excerpt) -> Iterator[Line]:
    if excerpt.scope == EVERYTHING:
        for row in Checkpoint.objects.order_by("number").iterator(chunk_size=ROWS_AT_ONCE):
            yield {"checkpoint": row.text, "whole": row.whole, "heads": row.heads}
        return
    last = newest()
    proof = proof_of(last, excerpt.stream) if last is not None and excerpt.stream else None
    if last is not None and proof is not None:
        yield {"checkpoint": last.text, "proof": asdict(proof)}


def _edges(period: Period) -> list[int | None]:
    """Return the numbers of the checkpoints around a period."""
    return [one.number if one is not None else None for one in (period.before, period.after)]


def _around(period: Period, stream: str) -> Iterator[Line]:
    """Yield what proves a period: of one stream its heads at both ends, of all all checkpoints."""
    if stream:
        for edge, checkpoint in (("before", period.before), ("after", period.after)):
            proof = proof_of(checkpoint, stream) if checkpoint is not None else None
            if checkpoint is not None and proof is not None:
                yield {"checkpoint": checkpoint.text, "proof": asdict(proof), "edge": edge}
        return
    if period.after is None:
        return
    rows = Checkpoint.objects.filter(number__lte=period.after.number).order_by("number")
    if (before := period.before) is not None:
        heads = heads_at(before)
        yield {"checkpoint": before.text, "whole": True, "heads": heads, "edge": "before"}
        rows = rows.filter(number__gt=before.number)
    for row in rows.iterator(chunk_size=ROWS_AT_ONCE):
        yield {"checkpoint": row.text, "whole": row.whole, "heads": row.heads}


def _told(excerpt: Excerpt, period: Period | None) -> Iterator[Event]:
    """Yield the events; of a period those between its checkpoints."""
    parts = [excerpt.events()] if period is None else period.events(excerpt.stream)
    together = ("stream", "address") if excerpt.addresses else ("stream",)
    for rows in parts:
        yield from rows.select_related(*together).iterator(chunk_size=ROWS_AT_ONCE)


def _event(event: Event, excerpt: Excerpt) -> Line:
    line: Line = {
        "event": event.body(event.stream.key),
        "prev_hash": event.prev_hash,
        "hash": event.hash,
    }
    if excerpt.addresses and (known := getattr(event, "address", None)) is not None:
        line["address"] = {"address": known.address, "salt": known.salt}
    return line


def grant_line(*, payload: bytes, signature: bytes, kid: str) -> Line:
    """Return the line of an approval grant: the payload's very bytes, and who signed them."""
    return {
        "grant": {
            "payload": base64.b64encode(payload).decode(),
            "sig": base64.b64encode(signature).decode(),
            "kid": kid,
        }
    }


class _Echo(Protocol):
    def write(self, text: str) -> object: ...


class _Line:
    """Gives back what a CSV writer writes."""

    def write(self, text: str) -> bytes:
        """Return the line as it is sent."""
        return text.encode()


def guarded(cell: str) -> str:
    """Return the cell so that no spreadsheet takes it for a formula."""
    return f"'{cell}" if cell.startswith(FORMULA_BEGINS) else cell


def csv_lines(events: QuerySet[Event], *, addresses: bool) -> Iterator[bytes]:
    """Yield the events as CSV, the heading first."""
    echo: _Echo = _Line()
    writer: Any = csv.writer(echo)
    yield writer.writerow(COLUMNS)
    for event in events.iterator(chunk_size=ROWS_AT_ONCE):
        yield writer.writerow([guarded(cell) for cell in _cells(event, addresses=addresses)])


def _cells(event: Event, *, addresses: bool) -> Iterable[str]:
    known = getattr(event, "address", None) if addresses else None
    return (
        event.stream.key,
        str(event.seq),
        timestamp(event.at),
        event.kind,
        event.actor_name,
        event.via,
        event.sentence,
        event.reason,
        event.on_behalf,
        event.token,
        known.address if known is not None else "",
        event.trace_id,
        event.grant,
        json.dumps(event.payload, ensure_ascii=False, sort_keys=True),
        event.prev_hash,
        event.hash,
    )
