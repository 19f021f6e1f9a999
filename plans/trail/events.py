"""The trail: append an event to a stream, and check a stream's chain."""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction

from plans.chain import address_digest, link
from plans.failpoints import reach
from plans.models import SYSTEM_STREAM, ZERO_HASH, Event, EventAddress, Plan, Stream, User
from plans.reading_direction import straight
from plans.trail.commit_notice import notify
from plans.trail.trace import NOWHERE, Origin, origin
from upgradeconsole.known_secrets import masked, masked_json

DIRECTING = frozenset(
    {
        *("plan_submitted", "plan_started", "plan_resumed", "plan_paused", "plan_adjusted"),
        *("plan_stopped_here", "batch_promoted", "batch_unskipped", "hold_released"),
        *("tenants_retried", "rollback_begun", "drill_handed_in"),
    }
)
"""What people do that the console carries out afterwards, by itself and in their name."""


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
    reason: str = "",
    grant: str = "",
    actor_name: str = "",
) -> Event:
    """Append one event; must run in the transaction of the change that it tells of.

    Where the act comes from is known to `plans.trail.trace`. The reason is the person's words; a
    payload that holds it, or the grants that were used up, need not say it twice. What the console
    does by itself on a plan is on behalf of whoever directed it last, in the trace of that act. The
    head row of the stream is locked, so call this last: every writer of the plan waits on it.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("An event is recorded in the transaction of its change.")
    key = stream.stream_key if stream is not None else SYSTEM_STREAM
    head = Stream.objects.select_for_update(no_key=True).filter(key=key).first()
    if head is None:
        Stream.objects.get_or_create(key=key)
        head = Stream.objects.select_for_update(no_key=True).get(key=key)
    # Before they are hashed: what stands in the trail can never be taken out of it.
    sentence, reason = straight(masked(sentence)), masked(reason)
    facts = {name: masked_json(value) for name, value in (payload or {}).items()}
    come = origin()
    if stream is not None and actor is None and come == NOWHERE:
        come = Origin(
            on_behalf=head.mandate, trace_id=head.mandate_trace or f"{stream.pk}".replace("-", "")
        )
    salt = secrets.token_hex(16) if come.ip else ""
    event = Event(
        stream=head,
        seq=head.head_seq + 1,
        kind=kind,
        at=now,
        actor=actor,
        actor_name=actor_name or _actor_name(actor, via),
        via=via,
        sentence=sentence,
        payload=facts,
        on_behalf=come.on_behalf,
        token=come.token,
        ip=address_digest(salt, come.ip) if salt else "",
        trace_id=come.trace_id,
        reason=reason or str(facts.get("reason") or ""),
        grant=grant or come.grant or _first_of(facts),
        prev_hash=head.head_hash,
    )
    event.hash = link(head.head_hash, event.body(key))
    event.save(force_insert=True)
    if salt:
        EventAddress.objects.create(event=event, address=come.ip, salt=salt)
    moved = {"head_seq": event.seq, "head_hash": event.hash}
    if stream is not None and actor is not None and kind in DIRECTING:
        moved |= {"mandate": _mandate(actor, come), "mandate_trace": come.trace_id}
    Stream.objects.filter(pk=head.pk).update(**moved)
    notify()
    reach("trail.recorded")
    return event


def _mandate(actor: User, come: Origin) -> str:
    """Return in whose name the console goes on, with whom a machine said that it acts for."""
    for_whom = f", for {come.on_behalf}" if come.on_behalf else ""
    return f"{actor.get_full_name()} <{actor.email}>{for_whom}"[:200]


def _first_of(facts: Mapping[str, Any]) -> str:
    grants: Sequence[Mapping[str, Any]] = facts.get("grants") or ()
    return str(grants[0]["jti"]) if grants else str(facts.get("jti") or "")


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
        if event.prev_hash != previous or event.hash != link(previous, event.body(key)):
            return ChainCheck(key, expected - 1, previous, event.seq, "an event was changed")
        previous, expected = event.hash, expected + 1
    if stream.head_seq != expected - 1 or stream.head_hash != previous:
        return ChainCheck(key, expected - 1, previous, expected, "the tail was cut")
    return ChainCheck(key, expected - 1, previous, None, "every link holds")
