"""Whoever holds the database and takes its triggers away is found; the first bad event is named."""

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from plans.chain import link
from plans.console_keys import rotate
from plans.models import ZERO_HASH, Checkpoint, Event, Plan, Stream
from plans.trail import events
from plans.trail.checkpoints import take_checkpoint
from plans.trail.trace import acting_from
from reports.trail.anchor_files import Anchor, write
from reports.trail.checking import check_trail
from reports.verify_trail import BAD_SIGNATURE, BROKEN, FORKED, HOLDS, Outcome
from tests.builders import a_draft
from tests.web.api_scene import Scene, now

TRIALS = 200
SEED = 20260701
LENGTH = 12
STARTED = now()


@pytest.fixture
def trail(scene: Scene, tmp_path: Path) -> Path:
    """A trail of three streams with three checkpoints, its anchors, and no triggers any more."""
    plans = [a_draft(scene, external_id=name) for name in ("pay-1", "pay-2")]
    for number in range(LENGTH):
        for stream in (None, *plans):
            _tell(stream, number, scene)
        if number in {3, 7, LENGTH - 1}:
            at = STARTED + timedelta(seconds=number)
            assert take_checkpoint(why="test", now=at) is not None
    folder = tmp_path / "outside"
    anchors = [Anchor(c.number, c.at, c.text, c.heads, c.whole) for c in Checkpoint.objects.all()]
    write(folder, anchors[0].text[:4], anchors)
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("DROP FUNCTION plans_event_refuse() CASCADE")
        else:
            cursor.execute("DROP TRIGGER plans_event_no_update")
            cursor.execute("DROP TRIGGER plans_event_no_delete")
    return folder


def _tell(stream: Plan | None, number: int, scene: Scene) -> None:
    with (
        transaction.atomic(),
        acting_from(ip="192.0.2.7", trace_id="ab" * 16, token="pipeline (upc_1)", on_behalf="x"),
    ):
        events.record(
            stream=stream,
            kind=f"told_{number % 3}",
            sentence=f"Something happened, number {number}.",
            actor=scene.mara if number % 2 else None,
            via="api",
            now=now(),
            payload={"n": number, "share": number / 7},
            reason="because",
            grant=f"grant-{number}",
        )


def check(folder: Path | None = None) -> Outcome:
    return check_trail(now=STARTED, anchors=[folder] if folder else [])


def sql(statement: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def chosen(dice: random.Random) -> Event:
    """Return an event that a checkpoint has seen and that another one follows."""
    told = Event.objects.filter(kind__startswith="told_", seq__lte=LENGTH).order_by("pk")
    return dice.choice(list(told))


EDITS: dict[str, Callable[[random.Random], Any]] = {
    "kind": lambda dice: f"other_{dice.randrange(9)}",
    "at": lambda dice: "2020-01-01 00:00:00.000001",
    "actor_name": lambda dice: "Nobody",
    "via": lambda dice: "nowhere",
    "sentence": lambda dice: f"Nothing happened {dice.randrange(9)}.",
    "payload": lambda dice: '{"n": 99}',
    "v": lambda dice: 3,
    "on_behalf": lambda dice: "somebody else",
    "token": lambda dice: "",
    "ip": lambda dice: f"{dice.randrange(16**8):064x}",
    "trace_id": lambda dice: "",
    "reason": lambda dice: "for no reason",
    '"grant"': lambda dice: "grant-99",
    "prev_hash": lambda dice: f"{dice.randrange(16**8):064x}",
    "hash": lambda dice: f"{dice.randrange(16**8):064x}",
}


def edit(dice: random.Random) -> tuple[str, int]:
    column = dice.choice(sorted(EDITS))
    event = chosen(dice)
    sql(f"UPDATE plans_event SET {column} = %s WHERE id = %s", EDITS[column](dice), event.pk)
    return event.stream.key, event.seq


def change_actor(dice: random.Random) -> tuple[str, int]:
    event = chosen(dice)
    other = None if event.actor_id else Event.objects.exclude(actor=None).values("actor")[:1]
    Event.objects.filter(pk=event.pk).update(actor=other)
    return event.stream.key, event.seq


def change_address(dice: random.Random) -> tuple[str, int]:
    event = dice.choice(list(Event.objects.exclude(address=None).order_by("pk")))
    column, value = dice.choice([("address", "198.51.100.1"), ("salt", "00" * 16), ("salt", "no")])
    sql(f"UPDATE plans_eventaddress SET {column} = %s WHERE event_id = %s", value, event.pk)
    return event.stream.key, event.seq


def delete(dice: random.Random) -> tuple[str, int]:
    event = chosen(dice)
    _remove(event)
    return event.stream.key, event.seq


def _remove(event: Event) -> None:
    sql("DELETE FROM plans_eventaddress WHERE event_id = %s", event.pk)
    sql("DELETE FROM plans_event WHERE id = %s", event.pk)


def delete_and_close_up(dice: random.Random) -> tuple[str, int]:
    """Remove an event and give those behind it its number."""
    stream, seq = delete(dice)
    for later in Event.objects.filter(stream__key=stream, seq__gt=seq).order_by("seq"):
        sql("UPDATE plans_event SET seq = %s WHERE id = %s", later.seq - 1, later.pk)
    return stream, seq


def insert(dice: random.Random) -> tuple[str, int]:
    """Put a well-chained event in between; those behind it move up."""
    event = chosen(dice)
    for later in Event.objects.filter(stream=event.stream, seq__gte=event.seq).order_by("-seq"):
        sql("UPDATE plans_event SET seq = %s WHERE id = %s", later.seq + 1, later.pk)
    forged = Event(
        stream=event.stream, seq=event.seq, kind="told", at=now(), actor_name="Mara", via="page",
        sentence="It was all agreed.", prev_hash=event.prev_hash,
    )  # fmt: skip
    forged.hash = link(forged.prev_hash, forged.body(event.stream.key))
    forged.save()
    # Chained well, it is the next one that does not fit; unless a checkpoint knows its place.
    seen = [c.heads.get(event.stream.key, [0])[0] for c in Checkpoint.objects.all()]
    return event.stream.key, event.seq if event.seq in seen else event.seq + 1


def swap(dice: random.Random) -> tuple[str, int]:
    one = chosen(dice)
    other = dice.choice(
        list(Event.objects.filter(stream=one.stream).exclude(pk=one.pk).order_by("pk"))
    )
    sql("UPDATE plans_event SET seq = 9999 WHERE id = %s", one.pk)
    sql("UPDATE plans_event SET seq = %s WHERE id = %s", one.seq, other.pk)
    sql("UPDATE plans_event SET seq = %s WHERE id = %s", other.seq, one.pk)
    return one.stream.key, min(one.seq, other.seq)


def cut_the_tail(dice: random.Random) -> tuple[str, int]:
    """Remove the last events and let the stream's head say that this is all."""
    event = dice.choice(list(Event.objects.filter(seq__lte=LENGTH).order_by("pk")))
    stream = event.stream
    for later in Event.objects.filter(stream=stream, seq__gte=event.seq).order_by("-seq"):
        _remove(later)
    Stream.objects.filter(pk=stream.pk).update(head_seq=event.seq - 1, head_hash=event.prev_hash)
    return stream.key, event.seq


def move_to_another_stream(dice: random.Random) -> tuple[str, int]:
    event = chosen(dice)
    other = Stream.objects.exclude(pk=event.stream_id).order_by("pk").first()
    sql("UPDATE plans_event SET stream_id = %s, seq = 9999 WHERE id = %s", other.pk, event.pk)
    return event.stream.key, event.seq


TAMPERING = (
    *(edit,) * 6,
    *(change_actor, change_address, delete, delete_and_close_up),
    *(insert, swap, cut_the_tail, move_to_another_stream),
)


def test_fault_29_two_hundred_random_manipulations_are_found_and_the_first_bad_event_named(trail):
    assert check(trail).exit == HOLDS, check(trail).problems
    dice = random.Random(SEED)
    done: dict[str, int] = {}
    for trial in range(TRIALS):
        mark = transaction.savepoint()
        tampering = dice.choice(TAMPERING)
        stream, seq = tampering(dice)
        found = check(trail)
        what = f"trial {trial}: {tampering.__name__} of {stream} {seq}: {found.sentence}"
        assert found.exit in {BROKEN, FORKED}, what
        named = [(p.stream, p.seq) for p in found.problems if p.stream == stream]
        assert named, what
        assert named[0] == (stream, seq), what
        done[tampering.__name__] = done.get(tampering.__name__, 0) + 1
        transaction.savepoint_rollback(mark)
    assert set(done) == {tampering.__name__ for tampering in TAMPERING}
    assert check(trail).exit == HOLDS


def _rewritten(stream: Stream, begin: int) -> None:
    """Chain everything anew from there on, as somebody does who knows how this console works."""
    previous = ZERO_HASH
    for event in Event.objects.filter(stream=stream).order_by("seq"):
        if event.seq >= begin:
            event.prev_hash = previous
            event.hash = link(previous, event.body(stream.key))
            event.save()
        previous = event.hash
    Stream.objects.filter(pk=stream.pk).update(head_hash=previous)


def test_fault_29_a_trail_that_was_chained_anew_contradicts_its_checkpoints(trail):
    plan = Plan.objects.get(external_id="pay-1")
    stream = Stream.objects.get(key=plan.stream_key)
    Event.objects.filter(stream=stream, seq=6).update(sentence="Nothing happened.")
    _rewritten(stream, 6)
    assert events.check_chain(stream.key).intact
    found = check()
    # The first checkpoint after the lie knows event 9 of this plan, its draft included.
    assert (found.exit, found.first.stream, found.first.seq) == (FORKED, stream.key, 9)


def test_fault_29_without_the_checkpoints_of_the_database_the_anchors_tell(trail):
    plan = Plan.objects.get(external_id="pay-1")
    stream = Stream.objects.get(key=plan.stream_key)
    Event.objects.filter(stream=stream, seq=6).update(sentence="Nothing happened.")
    _rewritten(stream, 6)
    Checkpoint.objects.all().delete()
    # The thief of the key signs what is there now.
    take_checkpoint(why="test", now=STARTED)
    assert check().exit == HOLDS
    assert check(trail).exit == FORKED


def test_fault_29_a_checkpoint_that_was_taken_out_leaves_a_hole(trail):
    Checkpoint.objects.filter(number=2).delete()
    found = check()
    assert (found.exit, found.first.why) == (FORKED, "checkpoint 2 is missing or was replaced")
    Checkpoint.objects.filter(number=3).delete()
    assert check().exit == HOLDS, "the limit: the newest ones can only be missed outside"
    assert check(trail).exit == FORKED


def test_fault_29_heads_that_were_written_into_a_checkpoint_are_not_what_was_signed(trail):
    first = Checkpoint.objects.get(number=1)
    first.heads = {key: [seq, "ab" * 32] for key, (seq, _hash) in first.heads.items()}
    first.save()
    assert BAD_SIGNATURE in [problem.exit for problem in check().problems]


def test_fault_29_a_copy_of_yesterday_is_found_by_the_anchors(trail):
    """The whole database as it was at the second checkpoint: nothing in it is wrong."""
    second = Checkpoint.objects.get(number=2)
    Checkpoint.objects.filter(number__gt=2).delete()
    heads = {}
    for checkpoint in Checkpoint.objects.order_by("number"):
        heads |= checkpoint.heads
    for key, (seq, head) in heads.items():
        for later in Event.objects.filter(stream__key=key, seq__gt=seq):
            _remove(later)
        Stream.objects.filter(key=key).update(head_seq=seq, head_hash=head)
    assert check_trail(now=second.at).exit == HOLDS
    found = check_trail(now=second.at, anchors=[trail])
    assert found.exit == FORKED
    assert "checkpoint 3" in found.sentence


def test_what_an_old_key_signed_holds_after_a_rotation_and_a_stranger_s_does_not(trail, settings):
    rotate("checkpoint")
    take_checkpoint(why="test", now=STARTED + timedelta(seconds=60))
    assert Checkpoint.objects.values("kid").distinct().count() == 2
    assert check(trail).exit == HOLDS
    settings.CONSOLE_KEYS_DIR = Path(settings.CONSOLE_KEYS_DIR).parent / "elsewhere"
    rotate("checkpoint")
    assert check(trail).exit == BAD_SIGNATURE


def test_a_row_that_cannot_even_be_read_is_named(trail):
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL keeps no text in a column of numbers")
    event = Event.objects.get(stream__key="system", seq=5)
    sql("UPDATE plans_event SET v = 'x' WHERE id = %s", event.pk)
    found = check()
    assert (found.exit, found.first.stream, found.first.seq) == (BROKEN, "system", 5)


def test_an_erased_address_breaks_nothing(trail):
    sql("DELETE FROM plans_eventaddress")
    assert check(trail).exit == HOLDS


def test_a_check_may_begin_at_a_checkpoint_that_is_trusted(trail):
    since = Checkpoint.objects.get(number=2)
    assert check_trail(now=STARTED, since=since, anchors=[trail]).exit == HOLDS
    plan = Plan.objects.get(external_id="pay-2")
    Event.objects.filter(stream__key=plan.stream_key, seq=2).update(sentence="Before it.")
    assert check_trail(now=STARTED, since=since).exit == HOLDS
    Event.objects.filter(stream__key=plan.stream_key, seq=11).update(sentence="After it.")
    found = check_trail(now=STARTED, since=since)
    assert (found.exit, found.first.seq) == (BROKEN, 11)
