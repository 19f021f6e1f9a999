"""The trail: chained, gapless, append-only."""

from datetime import UTC, datetime

import pytest
from django.db import DatabaseError, connection, transaction

from plans.models import Event, Stream
from plans.trail import events
from tests.builders import a_draft, an_approved
from tests.web.api_scene import now


def tell(plan, sentence="Something happened.", **payload):
    with transaction.atomic():
        return events.record(
            stream=plan,
            kind="told",
            sentence=sentence,
            actor=None,
            via="watch",
            now=now(),
            payload=payload,
        )


def test_a_chain_verifies_after_every_step(scene):
    plan = an_approved(scene)
    check = events.check_chain(plan.stream_key)
    assert (check.intact, check.events, check.reason) == (True, 4, "every link holds")
    assert events.check_chain("system").intact


def test_numbers_are_gapless_and_each_event_names_the_one_before(scene):
    plan = a_draft(scene)
    told = [tell(plan) for _ in range(3)]
    assert [event.seq for event in told] == [2, 3, 4]
    assert told[2].prev_hash == told[1].hash


def test_two_streams_count_for_themselves(scene):
    one, other = a_draft(scene), a_draft(scene, external_id="pay-8")
    tell(one)
    assert tell(other).seq == 2


def test_an_event_that_was_rolled_back_leaves_no_gap(scene):
    plan = a_draft(scene)
    with transaction.atomic():
        tell(plan)
        transaction.set_rollback(True)
    assert tell(plan).seq == 2
    assert events.check_chain(plan.stream_key).intact


@pytest.mark.django_db(transaction=True)
def test_an_event_is_only_told_with_its_change():
    with pytest.raises(RuntimeError, match="transaction"):
        events.record(
            stream=None, kind="told", sentence="", actor=None, via="watch", now=now(), payload={}
        )


@pytest.mark.parametrize(
    "change", ["UPDATE plans_event SET sentence = ''", "DELETE FROM plans_event"]
)
def test_fault_29_the_database_refuses_to_change_the_trail(scene, change):
    a_draft(scene)
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(change)


@pytest.fixture
def no_triggers():
    """Let somebody with the database's own rights take the triggers away."""
    statements = {
        "sqlite": ["DROP TRIGGER plans_event_no_update", "DROP TRIGGER plans_event_no_delete"],
        "postgresql": ["DROP FUNCTION plans_event_refuse() CASCADE"],
    }

    def drop():
        with connection.cursor() as cursor:
            for statement in statements[connection.vendor]:
                cursor.execute(statement)

    return drop


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("sentence", "Nothing happened."),
        ("payload", {"n": 8}),
        ("kind", "untold"),
        ("via", "page"),
        ("actor_name", "Mara"),
        ("at", datetime(2020, 1, 1, tzinfo=UTC)),
    ],
)
def test_fault_29_an_edited_event_is_found(scene, no_triggers, column, value):
    plan = a_draft(scene)
    tell(plan, n=7)
    tell(plan)
    no_triggers()
    Event.objects.filter(stream__key=plan.stream_key, seq=2).update(**{column: value})
    check = events.check_chain(plan.stream_key)
    assert (check.broken_at, check.reason) == (2, "an event was changed")


def test_fault_29_a_removed_event_is_found(scene, no_triggers):
    plan = a_draft(scene)
    tell(plan)
    tell(plan)
    no_triggers()
    Event.objects.filter(stream__key=plan.stream_key, seq=2).delete()
    check = events.check_chain(plan.stream_key)
    assert (check.broken_at, check.reason) == (2, "an event is missing")


def test_fault_29_a_tail_that_was_cut_is_found(scene, no_triggers):
    plan = a_draft(scene)
    tell(plan)
    no_triggers()
    Event.objects.filter(stream__key=plan.stream_key, seq=2).delete()
    assert events.check_chain(plan.stream_key).reason == "the tail was cut"


def test_who_did_it_stands_in_the_trail(scene):
    plan = a_draft(scene)
    first = Event.objects.get(stream__key=plan.stream_key, seq=1)
    assert (first.actor, first.actor_name, first.via) == (scene.mara, "Mara", "page")
    assert tell(plan).actor_name == "the console (watch)"


def test_the_head_of_a_stream_is_its_last_event(scene):
    plan = a_draft(scene)
    last = tell(plan)
    head = Stream.objects.get(key=plan.stream_key)
    assert (head.head_seq, head.head_hash) == (last.seq, last.hash)
