"""Leases: one holder at a time, moved by compare-and-set, lost by whoever stood still."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connections

from batches.models import Lease
from batches.runtime import leases, surroundings
from batches.runtime.leases import LEASE_SECONDS, Keeper
from batches.runtime.watch_duties import DECIDE_LEASE, Duties
from tests.web.api_scene import now

pytestmark = pytest.mark.django_db


def take(holder: str, at=None):
    return leases.acquire("plan:1:effects", holder=holder, kind="hands", now=at or now())


def later(seconds: float):
    return now() + timedelta(seconds=seconds)


def test_a_free_lease_is_taken():
    assert take("one").token == 1
    assert leases.seconds_left("plan:1:effects", now=now())


def test_a_held_lease_is_refused_to_everybody_else():
    take("one")
    assert take("other") is None


def test_its_holder_may_take_it_again_under_the_same_token():
    assert take("one").token == take("one").token


def test_an_expired_lease_passes_to_the_next_under_a_new_token():
    take("one")
    assert take("other", later(LEASE_SECONDS - 1)) is None
    assert take("other", later(LEASE_SECONDS + 1)).token == 2


def test_who_lost_a_lease_cannot_renew_it():
    mine = take("one")
    take("other", later(LEASE_SECONDS + 1))
    assert not leases.renew(mine.name, holder="one", token=mine.token, now=now())
    assert Lease.objects.get().holder == "other"


def test_who_lost_a_lease_cannot_let_it_go_for_its_new_holder():
    mine = take("one")
    take("other", later(LEASE_SECONDS + 1))
    leases.release(mine.name, holder="one", token=mine.token, now=now())
    assert leases.seconds_left("plan:1:effects", now=now())


def test_a_renewed_lease_lasts_from_the_renewal():
    mine = take("one")
    assert leases.renew(mine.name, holder="one", token=mine.token, now=later(6))
    assert take("other", later(LEASE_SECONDS + 1)) is None


def test_what_is_left_of_a_lease_is_known_to_who_waits_for_it():
    began = now()
    assert leases.seconds_left("plan:1:effects", now=began) == 0
    take("one", began)
    after = began + timedelta(seconds=3)
    assert leases.seconds_left("plan:1:effects", now=after) == LEASE_SECONDS - 3
    assert leases.seconds_left("plan:1:effects", now=later(30)) == 0


def test_a_released_lease_is_free_at_once():
    mine = take("one")
    leases.release(mine.name, holder="one", token=mine.token, now=now())
    assert take("other", later(0.001)).token == 2


def test_no_two_holders_have_the_same_name():
    assert leases.new_holder("watch") != leases.new_holder("watch")


@pytest.fixture
def quick(monkeypatch):
    """Shorten the lease so that a test can outlast it."""
    monkeypatch.setattr(leases, "LEASE_SECONDS", 0.3)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.05)


@pytest.mark.django_db(transaction=True)
def test_a_keeper_holds_its_lease_beyond_its_length(quick):
    keeper = Keeper(take("one")).start()
    try:
        time.sleep(0.6)
        assert not keeper.lost
        assert take("other") is None
    finally:
        keeper.stop()
    assert take("other") is not None


@pytest.mark.django_db(transaction=True)
def test_a_keeper_notices_that_another_has_its_lease(quick):
    keeper = Keeper(take("one")).start()
    Lease.objects.update(holder="other", token=2, expires_at=later(60))
    wait_until(lambda: keeper.lost)
    keeper.stop()
    assert Lease.objects.get().holder == "other"
    assert leases.seconds_left("plan:1:effects", now=now())


def test_a_holder_that_stood_still_has_lost_its_lease():
    keeper = Keeper(take("one"))
    assert not keeper.lost
    keeper._renewed -= LEASE_SECONDS + 1
    assert keeper.lost


@pytest.mark.django_db(transaction=True)
def test_a_holder_that_stood_still_does_not_get_its_lease_back_by_renewing(quick):
    keeper = Keeper(take("one"))
    keeper._renewed -= 1
    keeper.start()
    wait_until(lambda: not keeper._thread.is_alive())
    assert keeper.lost
    keeper.stop()


@pytest.mark.django_db(transaction=True)
def test_of_many_who_want_it_at_once_one_gets_it():
    got: list[str] = []

    def want(name: str) -> None:
        try:
            if take(name) is not None:
                got.append(name)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=want, args=(f"holder-{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1


@pytest.mark.django_db(transaction=True)
def test_a_block_of_work_holds_the_lease_and_lets_it_go():
    with leases.held("work", kind="hands") as mine:
        assert mine is not None
        with leases.held("work", kind="hands") as other:
            assert other is None
    assert not leases.seconds_left("work", now=later(0.001))


def wait_until(true) -> None:
    until = time.monotonic() + 3
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


class Standing(surroundings.Machine):
    """A machine whose monotonic clock the test moves."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at


@pytest.fixture
def standing():
    machine = Standing()
    before = surroundings.move_to(machine)
    yield machine
    surroundings.move_to(before)


def test_a_clock_that_was_set_back_does_not_keep_a_dead_holders_lease(standing):
    take("dead", later(3600))
    assert take("other") is None
    standing.at = LEASE_SECONDS + 1
    assert take("other").token == 2


def test_a_clock_that_was_set_back_takes_no_lease_from_a_holder_who_renews(standing):
    mine = take("alive", later(3600))
    assert take("other") is None
    leases.renew(mine.name, holder="alive", token=mine.token, now=later(3605))
    standing.at = LEASE_SECONDS + 1
    assert take("other") is None


@pytest.mark.django_db(transaction=True)
def test_a_watch_that_stands_by_takes_over_although_the_clock_was_set_back(standing):
    assert leases.acquire(DECIDE_LEASE, holder="dead", kind="watch", now=later(3600))
    duties = Duties("next")
    duties.refresh(now())
    assert duties.idle
    standing.at = LEASE_SECONDS + 1
    duties.refresh(now())
    assert duties.leads
    duties.leases.stop()
