"""Check the whole trail of this console: links, heads, checkpoints, anchors outside of it, grants.

The check itself is `verify_trail.py`, the very file that auditors run elsewhere; here it is fed
from the database, row by row and past the models: a row that somebody has spoilt must be named.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction

from batches.alerting import alerts, local_alerts
from batches.models import Alert
from plans.chain import timestamp
from plans.console_keys import public_keys
from plans.models import Checkpoint, Grant, Stream, TrailCheck
from plans.trail import events
from plans.trail.checkpoints import heads_at
from reports.verify_trail import (
    Outcome,
    TrailVerifier,
    anchor_files,
    anchor_lines,
)

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 2000
PROBLEMS_KEPT = 20
KIND = "trail_broken"
# By stream and number, which is the order of the unique index: nothing is sorted, nothing piles up.
EVENTS = """
    SELECT s.key, e.stream_id, e.seq, e.kind, e.at, e.actor_id, e.actor_name, e.via, e.sentence,
           e.payload, e.v, e.on_behalf, e.token, e.ip, e.trace_id, e.reason, e."grant",
           e.prev_hash, e.hash, a.address, a.salt
    FROM plans_event e
    LEFT JOIN plans_stream s ON s.id = e.stream_id
    LEFT JOIN plans_eventaddress a ON a.event_id = e.id
    ORDER BY e.stream_id, e.seq
"""
CIRCUMSTANCES = ("on_behalf", "token", "ip", "trace_id", "reason", "grant")


def check_trail(
    *,
    now: datetime,
    since: Checkpoint | None = None,
    keys: Mapping[str, bytes] | None = None,
    anchors: Sequence[Path] = (),
) -> Outcome:
    """Walk everything and return what was found; `since` a checkpoint that is trusted already.

    `keys` are believed alone; without them those that the console keeps, each for its purpose.
    May run while events are written: what came meanwhile is no finding.
    """
    begin = heads_at(since) if since is not None else {}
    verifier = TrailVerifier(
        public_keys("checkpoint") if keys is None else keys, since=begin, signed=True
    )
    last = _take_checkpoints(verifier, since)
    _take_anchors(verifier, anchors, last)
    earlier = _heads()
    _take_events(verifier, begin)
    for stream, (seq, head_hash) in _heads().items():
        verifier.head(stream, seq, head_hash, earlier=earlier.get(stream))
    _take_grants(verifier, own_keys=keys is None)
    return verifier.finish(now=now if last else None)


def _heads() -> dict[str, tuple[int, str]]:
    rows = Stream.objects.order_by("key").values_list("key", "head_seq", "head_hash")
    return {key: (seq, head_hash) for key, seq, head_hash in rows}


def _take_checkpoints(verifier: TrailVerifier, since: Checkpoint | None) -> int:
    rows = Checkpoint.objects.order_by("number")
    if since is not None:
        rows = rows.filter(number__gt=since.number)
    last = 0
    if since is not None:
        # What is skipped is what it has signed, not what its row says.
        verifier.checkpoint(since.text, heads_at(since), whole=True, source="the database")
        last = since.number
    wanted = rows.values_list("number", "text", "heads", "whole")
    for number, text, heads, whole in wanted.iterator(chunk_size=ROWS_AT_ONCE):
        verifier.checkpoint(text, heads, whole=whole, source="the database")
        last = number
    return last


def _take_anchors(verifier: TrailVerifier, anchors: Sequence[Path], last: int) -> None:
    for path in anchor_files(anchors):
        for line in anchor_lines(path):
            text = str(line["checkpoint"])
            # Written since the database's were read: it is there by now.
            newer = f"\nnumber {last + 1}\n" in text
            if newer and Checkpoint.objects.filter(number=last + 1, text=text).exists():
                last += 1
                continue
            verifier.anchor(text, path.name)


def _take_grants(verifier: TrailVerifier, *, own_keys: bool) -> None:
    """Take every signed approval, also those that were used or are void."""
    keys = public_keys("grant") if own_keys else None
    rows = Grant.objects.order_by("issued_at", "jti").values_list("payload", "sig", "kid")
    for payload, signature, kid in rows.iterator(chunk_size=ROWS_AT_ONCE):
        if keys is not None and kid not in keys:
            # A key that began to sign while this was reading is no stranger.
            keys = public_keys("grant")
        verifier.grant(str(payload), str(signature), str(kid), keys=keys)


def _take_events(verifier: TrailVerifier, begin: Mapping[str, tuple[int, str]]) -> None:
    for row in _rows():
        stream, seq = str(row[0]), row[2]
        if isinstance(seq, int) and stream in begin and seq <= begin[stream][0]:
            continue
        try:
            body = _body(row)
            address = {"address": row[19], "salt": row[20]} if row[19] is not None else None
        except (ValueError, TypeError, AttributeError) as error:
            verifier.broken(stream, seq, f"an event cannot be read: {error}")
            continue
        verifier.event(body, row[17], row[18], address)


def _rows() -> Iterator[Sequence[Any]]:
    """Yield all events with their addresses; on PostgreSQL by a cursor of the server."""
    # The server's cursor lives in a transaction; it holds no lock that anybody waits for.
    held = transaction.atomic() if connection.vendor == "postgresql" else nullcontext()
    with held, connection.chunked_cursor() as cursor:
        cursor.execute(EVENTS)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            yield from rows


def _body(row: Sequence[Any]) -> dict[str, Any]:
    """Return what of the row is hashed; raise for what no console has written."""
    at = row[4] if isinstance(row[4], str) else timestamp(row[4])
    body = {
        "stream": row[0],
        "seq": row[2],
        "kind": row[3],
        "at": _sqlite_time(at) if " " in at else at,
        "actor": str(UUID(str(row[5]))) if row[5] else None,
        "actor_name": row[6],
        "via": row[7],
        "sentence": row[8],
        "payload": json.loads(row[9]) if isinstance(row[9], str) else row[9],
    }
    circumstances = dict(zip(CIRCUMSTANCES, row[11:17], strict=True))
    if row[10] > 1 or any(circumstances.values()):
        body |= {"v": row[10], **circumstances}
    return body


def _sqlite_time(text: str) -> str:
    """Return a stored time as it is hashed; SQLite keeps it as text, in UTC."""
    day, _blank, clock = text.partition(" ")
    seconds, _dot, fraction = clock.partition(".")
    return f"{day}T{seconds}.{fraction:0<6}Z"


def check_and_keep(*, now: datetime, via: str) -> TrailCheck:
    """Check everything against the anchors, keep what was found, and tell people and the trail."""
    began = time.monotonic()
    folder = Path(settings.AUDIT_ANCHOR_DIR)
    outcome = check_trail(now=now, anchors=[folder] if folder.is_dir() else [])
    kept = TrailCheck.objects.create(
        at=now,
        outcome=outcome.exit,
        sentence=outcome.sentence,
        problems=[str(problem) for problem in outcome.problems[:PROBLEMS_KEPT]],
        events=outcome.events,
        checkpoints=outcome.checkpoints,
        seconds=time.monotonic() - began,
    )
    if kept.alarming:
        # First by the way that needs no trail.
        local_alerts.tell(KIND, f"the trail does not verify: {kept.sentence}")
    try:
        _tell(kept, via=via, now=now)
    except IntegrityError as error:
        # A trail that was spoilt may take no more events; what was found is kept all the same.
        logger.error("The trail could not be told what its check has found: %s", error)
    return kept


@transaction.atomic
def _tell(kept: TrailCheck, *, via: str, now: datetime) -> None:
    if kept.alarming:
        sentence = f"the trail does not verify: {kept.sentence}"
        alerts.fire(plan=None, kind=KIND, sentence=sentence, now=now)
    elif Alert.objects.filter(key=alerts.alert_key(None, KIND), resolved_at=None).exists():
        alerts.resolve(plan=None, kind=KIND, now=now)
    events.record(
        stream=None,
        kind="trail_checked",
        sentence=f"The trail was checked: {kept.sentence}.",
        actor=None,
        via=via,
        now=now,
        payload={"outcome": kept.outcome, "events": kept.events},
    )


def newest_check() -> TrailCheck | None:
    """Return the last check."""
    return TrailCheck.objects.order_by("-at").first()
