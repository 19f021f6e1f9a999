"""Commits are heard by LISTEN: at once, by everybody, again after the server was away."""

import threading

import pytest
from django.db import DatabaseError, connection, transaction

from batches.models import Lease
from batches.runtime import leases, notify_signal
from batches.runtime.commit_signal import commit_signal
from batches.runtime.notify_signal import NotifySignal
from plans.database_away import DATABASE_AWAY
from plans.trail import events
from plans.trail.commit_notice import notify
from tests.postgres.at_once import at_once
from tests.web.api_scene import now
from upgradeconsole import databases

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def signal(monkeypatch):
    """Return a signal that hears and does not merely look each second."""
    monkeypatch.setattr(notify_signal, "LOOK_SECONDS", 600.0)
    made = commit_signal()
    assert isinstance(made, NotifySignal)
    assert made.wait(10), "a new connection may have missed something"
    yield made
    made.close()


def tell():
    with transaction.atomic():
        events.record(stream=None, kind="told", sentence="x", actor=None, via="watch", now=now())


def test_an_event_is_heard(signal):
    tell()
    assert signal.wait(20)
    assert not signal.wait(0.1)


def test_a_change_without_an_event_is_heard_when_it_says_so(signal):
    notify()
    assert signal.wait(20)


def test_many_events_of_one_transaction_wake_once(signal):
    with transaction.atomic():
        for _turn in range(5):
            tell()
    assert signal.wait(20)
    assert not signal.wait(0.1)


def test_what_is_rolled_back_is_not_heard(signal):
    with transaction.atomic():
        tell()
        transaction.set_rollback(True)
    assert not signal.wait(0.2)


def test_a_nudge_wakes(signal):
    signal.nudge()
    assert signal.wait(20)


def test_a_commit_that_nobody_told_of_is_seen_within_a_second(signal, monkeypatch):
    monkeypatch.setattr(notify_signal, "LOOK_SECONDS", 0.1)
    assert signal.wait(20)


def test_whoever_listens_comes_back_after_the_server_ended_the_connection(signal):
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        )
        assert cursor.rowcount == 1
    # First the loss, then a new connection, which counts as news.
    assert signal.wait(20)
    assert not signal.wait(0.1)
    tell()
    assert signal.wait(20)


def test_with_the_server_away_a_look_is_due_each_second(monkeypatch):
    monkeypatch.setattr(notify_signal, "LOOK_SECONDS", 0.05)
    signal = NotifySignal()
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")
    assert all(signal.wait(20) for _turn in range(3))
    signal.close()


def test_the_trail_cannot_be_truncated():
    tell()
    with pytest.raises(DatabaseError, match="append-only"), connection.cursor() as cursor:
        cursor.execute("TRUNCATE plans_event CASCADE")


def test_the_rows_of_a_process_that_stands_still_come_free():
    """The server ends its transaction; it notices with its next statement and can go on."""
    assert databases.IDLE_IN_TRANSACTION["watch"] < 1000 * leases.LEASE_SECONDS
    leases.acquire("work", holder="frozen", kind="watch", now=now())

    def stand_still():
        with connection.cursor() as cursor:
            cursor.execute("SET idle_in_transaction_session_timeout = '200ms'")
        with transaction.atomic():
            leases.check("work", holder="frozen", token=1)
            held.set()
            done.wait(30)
            Lease.objects.update(holder="it wrote after all")

    def want():
        held.wait(30)
        try:
            return Lease.objects.filter(name="work").update(holder="other")
        finally:
            done.set()

    held, done = threading.Event(), threading.Event()
    frozen, other = at_once(stand_still, want)
    assert isinstance(frozen, DATABASE_AWAY)
    assert other == 1
    assert Lease.objects.get(name="work").holder == "other"
