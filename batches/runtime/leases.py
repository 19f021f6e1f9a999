"""Leases: the right to do one thing, held by one process at a time, moved by compare-and-set."""

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import IntegrityError, connections, transaction

from batches.models import Lease
from batches.runtime import surroundings
from plans.database_away import DATABASE_AWAY
from plans.failpoints import reach

LEASE_SECONDS = 8.0
RENEW_SECONDS = 2.0


def new_holder(kind: str) -> str:
    """Return a name for this holder that nobody else has."""
    return f"{kind}:{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


_seen: dict[str, tuple[tuple[str, int, datetime], float]] = {}
"""Who held what when this process last found it held, and since when by the monotonic clock."""


def has_run_out(lease: Lease, now: datetime) -> bool:
    """Tell whether nobody renews a lease any more.

    Usually its time says so. When the wall clock was set back, a dead holder's time lies far ahead:
    then it has run out when this process has seen it unchanged for its whole length.
    """
    if lease.expires_at <= now:
        return True
    state, at = (lease.holder, lease.token, lease.expires_at), surroundings.here().monotonic()
    known, since = _seen.get(lease.name, (None, at))
    if known != state:
        _seen[lease.name] = (state, at)
        return False
    return at - since > LEASE_SECONDS


@transaction.atomic
def acquire(name: str, *, holder: str, kind: str, now: datetime) -> Lease | None:
    """Take a free or expired lease (or keep one's own); None while somebody else holds it."""
    expires = now + timedelta(seconds=LEASE_SECONDS)
    lease = Lease.objects.select_for_update(no_key=True).filter(name=name).first()
    if lease is None:
        try:
            with transaction.atomic():
                return Lease.objects.create(name=name, holder=holder, kind=kind, expires_at=expires)
        except IntegrityError:
            return None
    if lease.holder != holder and not has_run_out(lease, now):
        return None
    token = lease.token if lease.holder == holder else lease.token + 1
    taken = Lease.objects.filter(
        name=name, holder=lease.holder, token=lease.token, expires_at=lease.expires_at
    ).update(holder=holder, kind=kind, token=token, expires_at=expires)
    if taken != 1:
        return None
    lease.holder, lease.kind, lease.token, lease.expires_at = holder, kind, token, expires
    reach("lease.acquired")
    return lease


def renew(name: str, *, holder: str, token: int, now: datetime) -> bool:
    """Prolong one's own lease; False when it has passed to somebody else."""
    reach("lease.renewing")
    return (
        Lease.objects.filter(name=name, holder=holder, token=token).update(
            expires_at=now + timedelta(seconds=LEASE_SECONDS)
        )
        == 1
    )


def release(name: str, *, holder: str, token: int, now: datetime) -> None:
    """Let go of one's own lease."""
    reach("lease.releasing")
    Lease.objects.filter(name=name, holder=holder, token=token).update(expires_at=now)


class LeaseLost(Exception):
    """The lease has passed to somebody else; whoever held it must not write any more."""


def check(name: str, *, holder: str, token: int) -> None:
    """Raise LeaseLost unless the lease is still one's own; nobody gets it in this transaction.

    Called first in a transaction, before any plan is locked.
    """
    mine = Lease.objects.select_for_update(no_key=True).filter(
        name=name, holder=holder, token=token
    )
    if not mine.exists():
        raise LeaseLost(f"{name} is not {holder}'s any more")
    reach("lease.checked")


def seconds_left(name: str, *, now: datetime) -> float:
    """Return how long the lease holds from now on unless it is renewed; 0 when it can be taken."""
    lease = Lease.objects.filter(name=name).first()
    if lease is None or has_run_out(lease, now):
        return 0.0
    return (lease.expires_at - now).total_seconds()


class Keeper:
    """Renews one lease from a thread of its own, so that a busy holder does not lose it.

    `lost` turns true when the lease passed to another, or could not be renewed for its whole
    length by the monotonic clock (a frozen process wakes up having lost it).
    """

    def __init__(self, lease: Lease) -> None:
        self.name, self.holder, self.token = lease.name, lease.holder, lease.token
        self._renewed = surroundings.here().monotonic()
        self._gone = False
        self._stop = surroundings.here().flag()
        self._thread: surroundings.Running | None = None

    @property
    def lost(self) -> bool:
        """Tell whether this holder must not act any more."""
        return self._gone or surroundings.here().monotonic() - self._renewed > LEASE_SECONDS

    @contextmanager
    def fenced(self) -> Iterator[None]:
        """One transaction that writes only while the lease is this holder's; raises LeaseLost."""
        with transaction.atomic():
            check(self.name, holder=self.holder, token=self.token)
            yield

    def start(self) -> "Keeper":
        """Begin to renew."""
        self._thread = surroundings.here().spawn(self._run, name=f"lease {self.name}")
        return self

    def _run(self) -> None:
        try:
            while not self._stop.wait(RENEW_SECONDS):
                asked = surroundings.here().monotonic()
                if self.lost:
                    # Renewing now would make it look as if it had been held all the time.
                    self._gone = True
                    return
                try:
                    now = surroundings.here().now()
                    kept = renew(self.name, holder=self.holder, token=self.token, now=now)
                except DATABASE_AWAY:
                    # Busy or away; the lease runs out by itself if that lasts. A connection that
                    # was lost stays lost until it is closed.
                    connections.close_all()
                    continue
                if not kept:
                    self._gone = True
                    return
                self._renewed = asked
        finally:
            connections.close_all()

    def stop(self) -> None:
        """End the renewing and let the lease go."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=RENEW_SECONDS * 2)
        if not self._gone:
            now = surroundings.here().now()
            release(self.name, holder=self.holder, token=self.token, now=now)


@contextmanager
def held(name: str, *, kind: str) -> Iterator[Keeper | None]:
    """Hold a lease for a block of work; yields None when somebody else has it."""
    lease = acquire(name, holder=new_holder(kind), kind=kind, now=surroundings.here().now())
    if lease is None:
        yield None
        return
    keeper = Keeper(lease).start()
    try:
        yield keeper
    finally:
        keeper.stop()
