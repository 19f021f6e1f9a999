"""The trail: append an event to a stream, and check a stream's chain."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from plans.chain import event_body, link
from plans.commit_notice import notify
from plans.failpoints import reach
from plans.models import SYSTEM_STREAM as SYSTEM_STREAM
from plans.models import ZERO_HASH, Event, Plan, Stream, User


def _actor_name(actor: User | None, via: str) -> str:
    return actor.get_full_name() if actor is not None else f"the console ({via})"


def record(
    *,
    stream: Plan | None,
    kind: str,
    sentence: str,
    actor: User | None,
    via: str,
    now: datetime,
    payload: dict[str, Any] | None = None,
) -> Event:
    """Append one event; must run in the transaction of the change that it tells of.

    The stream's head row is locked, so call this last: every writer of the plan waits on it.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("An event is recorded in the transaction of its change.")
    key = stream.stream_key if stream is not None else SYSTEM_STREAM
    head = Stream.objects.select_for_update(no_key=True).filter(key=key).first()
    if head is None:
        Stream.objects.get_or_create(key=key)
        head = Stream.objects.select_for_update(no_key=True).get(key=key)
    seq = head.head_seq + 1
    facts = payload or {}
    name = _actor_name(actor, via)
    body = event_body(
        stream=key,
        seq=seq,
        kind=kind,
        at=now,
        actor=str(actor.pk) if actor is not None else None,
        actor_name=name,
        via=via,
        sentence=sentence,
        payload=facts,
    )
    digest = link(head.head_hash, body)
    event = Event.objects.create(
        stream=head,
        seq=seq,
        kind=kind,
        at=now,
        actor=actor,
        actor_name=name,
        via=via,
        sentence=sentence,
        payload=facts,
        prev_hash=head.head_hash,
        hash=digest,
    )
    Stream.objects.filter(pk=head.pk).update(head_seq=seq, head_hash=digest)
    notify()
    reach("trail.recorded")
    return event


def lock_system_stream() -> None:
    """Take the system's trail before other rows, where two could do the same thing at once."""
    Stream.objects.get_or_create(key=SYSTEM_STREAM)
    Stream.objects.select_for_update(no_key=True).get(key=SYSTEM_STREAM)


@dataclass(frozen=True, slots=True)
class ChainCheck:
    """The result of checking one stream: `broken_at` is the first bad sequence number."""

    stream: str
    events: int
    head_hash: str
    broken_at: int | None
    reason: str

    @property
    def intact(self) -> bool:
        """Tell whether every link holds."""
        return self.broken_at is None


def check_chain(key: str) -> ChainCheck:
    """Walk a stream from its first event and name the first one that does not fit."""
    stream = Stream.objects.get(key=key)
    previous, expected = ZERO_HASH, 1
    rows = Event.objects.filter(stream=stream).order_by("seq")
    for event in rows.iterator(chunk_size=2000):
        if event.seq != expected:
            return ChainCheck(key, expected - 1, previous, expected, "an event is missing")
        body = event_body(
            stream=key,
            seq=event.seq,
            kind=event.kind,
            at=event.at,
            actor=str(event.actor_id) if event.actor_id else None,
            actor_name=event.actor_name,
            via=event.via,
            sentence=event.sentence,
            payload=event.payload,
        )
        if event.prev_hash != previous or event.hash != link(previous, body):
            return ChainCheck(key, expected - 1, previous, event.seq, "an event was changed")
        previous, expected = event.hash, expected + 1
    if stream.head_seq != expected - 1 or stream.head_hash != previous:
        return ChainCheck(key, expected - 1, previous, expected, "the tail was cut")
    return ChainCheck(key, expected - 1, previous, None, "every link holds")
