"""Take checkpoints: sign what all heads of the trail are, each five minutes and when it matters."""

import uuid
from datetime import datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max

from plans.console_keys import ConsoleKey, signing_key
from plans.failpoints import reach
from plans.models import Checkpoint, Event, Stream
from plans.trail import events
from plans.trail.checkpoint_text import (
    NO_CHECKPOINT,
    Inclusion,
    compose,
    digest_of,
    inclusion,
    key_name,
    root_of,
    signed,
    verifier_key,
)

EVERY = timedelta(minutes=5)
AT_MOST_EACH = timedelta(seconds=5)
"""How close checkpoints may be that events ask for."""
WHOLE_EACH = 250
"""Each so many checkpoints all heads are written down, so that nobody folds from the first."""
MATTERING = (
    *("plan_approved", "approval_given", "plan_rejected", "plan_started", "plan_adjusted"),
    *("batch_passed", "batch_calls_settled", "batches_skipped", "rollback_begun"),
    *("rollback_finished", "rollback_failed", "plan_completed", "plan_stopped_here"),
    *("plan_needs_hand", "plan_settled", "plan_archived", "freeze_overridden", "flag_turned"),
    *("key_trusted", "key_revoked", "console_key_in_use", "trail_addresses_erased"),
)
"""Kinds of events after which a checkpoint is taken at once: approvals, ends of batches, keys."""

Heads = dict[str, tuple[int, str]]


def newest() -> Checkpoint | None:
    """Return the last checkpoint that was taken, without its heads: it is asked for each second."""
    return Checkpoint.objects.order_by("-number").defer("heads").first()


def due(now: datetime) -> str:
    """Return why a checkpoint is to be taken now, '' where none is; only reads."""
    last = newest()
    if last is None:
        return "first"
    age = now - last.at
    # A clock that was set back must not keep checkpoints away.
    if not timedelta() <= age < EVERY:
        return "time"
    if age < AT_MOST_EACH:
        return ""
    since = Event.objects.filter(pk__gt=last.last_event, kind__in=MATTERING).order_by("pk").first()
    return since.kind[:32] if since is not None else ""


def take_checkpoint(*, why: str, now: datetime) -> Checkpoint | None:
    """Sign what the heads are; None where another process was faster. Raises OSError without key.

    All heads are read by one statement, so they are those of one moment on both databases.
    """
    key = signing_key("checkpoint")
    _announce(key, now)
    try:
        with transaction.atomic():
            last = newest()
            newest_event = Event.objects.aggregate(last=Max("pk"))["last"] or 0
            heads = heads_now()
            checkpoint = _signed(last, heads, key, why=why, now=now)
            checkpoint.last_event = newest_event
            checkpoint.save(force_insert=True)
    except IntegrityError:
        # The number is taken: somebody else has just signed the same heads, or newer ones.
        return None
    reach("trail.checkpointed")
    return checkpoint


def heads_now() -> Heads:
    """Return the heads of all streams that have begun."""
    rows = Stream.objects.filter(head_seq__gt=0).order_by()
    return {key: (seq, head) for key, seq, head in rows.values_list("key", "head_seq", "head_hash")}


def heads_at(checkpoint: Checkpoint) -> Heads:
    """Return all heads as the checkpoint has signed them."""
    upto = Checkpoint.objects.filter(number__lte=checkpoint.number)
    begun = upto.filter(whole=True).aggregate(last=Max("number"))["last"] or 0
    heads: Heads = {}
    for told in upto.filter(number__gte=begun).order_by("number").values_list("heads", flat=True):
        heads |= {stream: (seq, head) for stream, (seq, head) in told.items()}
    return heads


def proof_of(checkpoint: Checkpoint, stream: str) -> Inclusion | None:
    """Return what shows that the stream's head is in the checkpoint, None where it is not."""
    heads = heads_at(checkpoint)
    return inclusion(heads, stream) if stream in heads else None


def verifier_keys() -> list[str]:
    """Return the key that signs checkpoints now, as verifiers of signed notes take it."""
    key = signing_key("checkpoint")
    return [verifier_key(key_name(settings.INSTANCE_NAME), key.public)]


def _signed(
    last: Checkpoint | None, heads: Heads, key: ConsoleKey, *, why: str, now: datetime
) -> Checkpoint:
    number = last.number + 1 if last is not None else 1
    log = last.log if last is not None else uuid.uuid4().hex
    whole = last is None or number % WHOLE_EACH == 0
    known = {} if last is None or whole else heads_at(last)
    size = sum(seq for seq, _head in heads.values())
    name = key_name(settings.INSTANCE_NAME)
    text = compose(
        origin=f"{name}/trail/{log}",
        number=number,
        at=now,
        size=size,
        root=root_of(heads),
        previous=digest_of(last.text) if last is not None else NO_CHECKPOINT,
        kid=key.kid,
    )
    return Checkpoint(
        number=number,
        log=log,
        at=now,
        why=why,
        text=signed(text, name=name, public=key.public, sign=key.sign),
        kid=key.kid,
        size=size,
        whole=whole,
        heads={s: list(head) for s, head in sorted(heads.items()) if known.get(s) != head},
    )


def _announce(key: ConsoleKey, now: datetime) -> None:
    """Write into the trail which key signs from now on, once per key."""
    known = Event.objects.filter(kind="console_key_in_use", payload__kid=key.kid)
    last = newest()
    if (last is not None and last.kid == key.kid) or known.exists():
        return
    with transaction.atomic():
        events.record(
            stream=None,
            kind="console_key_in_use",
            sentence=f"Checkpoints of the trail are signed with the console's key {key.kid}.",
            actor=None,
            via="watch",
            now=now,
            payload={"kid": key.kid, "purpose": key.purpose, "public_key": key.public.hex()},
        )
