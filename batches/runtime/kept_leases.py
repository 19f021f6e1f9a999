"""The leases of one holder, however many: one thread renews them all, one transaction fences."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connections, transaction

from batches.models import Lease
from batches.runtime import leases, surroundings
from batches.runtime.leases import LeaseLost
from plans.database_away import DATABASE_AWAY
from plans.failpoints import reach


@dataclass(slots=True)
class _Held:
    token: int
    renewed: float


class KeptLeases:
    """Takes, renews and gives back; a holder that stood still has lost what ran out meanwhile."""

    def __init__(self, holder: str, *, kind: str) -> None:
        self.holder = holder
        self._kind = kind
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()
        self._stop = surroundings.here().flag()
        self._thread: surroundings.Running | None = None

    def take(self, name: str, *, now: datetime) -> bool:
        """Take a lease that is free or run out; False while somebody else holds it."""
        asked = surroundings.here().monotonic()
        lease = leases.acquire(name, holder=self.holder, kind=self._kind, now=now)
        if lease is None:
            return False
        with self._lock:
            self._held[name] = _Held(lease.token, asked)
            if self._thread is None:
                self._thread = surroundings.here().spawn(self._run, name="leases")
        return True

    def tokens(self) -> dict[str, int]:
        """Return the leases that are in force by this process's own clock, with their tokens."""
        since = surroundings.here().monotonic() - leases.LEASE_SECONDS
        with self._lock:
            return {name: held.token for name, held in self._held.items() if held.renewed > since}

    def give_up(self, name: str, *, now: datetime) -> None:
        """Let one lease go, so that somebody else can have it at once."""
        with self._lock:
            held = self._held.pop(name, None)
        if held is not None:
            leases.release(name, holder=self.holder, token=held.token, now=now)

    @contextmanager
    def under(self, name: str) -> Iterator[None]:
        """One transaction that writes only while the lease is this holder's.

        The lease's row is checked and locked first: a holder that was frozen between its decision
        and this raises LeaseLost, and nobody takes the lease before the transaction has ended.
        """
        held = self._held.get(name)
        with transaction.atomic():
            if held is None:
                raise LeaseLost(f"{name} is not held")
            try:
                leases.check(name, holder=self.holder, token=held.token)
            except LeaseLost:
                self._forget(name)
                raise
            yield

    def stop(self) -> None:
        """End the renewing and give everything back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=leases.RENEW_SECONDS * 2)
        for name in self.tokens():
            self.give_up(name, now=surroundings.here().now())

    def _forget(self, name: str) -> None:
        with self._lock:
            self._held.pop(name, None)

    def _run(self) -> None:
        try:
            while not self._stop.wait(leases.RENEW_SECONDS):
                try:
                    self._renew()
                except DATABASE_AWAY:
                    # Busy or away; what cannot be renewed for its whole length runs out by itself.
                    connections.close_all()
        finally:
            connections.close_all()

    def _renew(self) -> None:
        asked = surroundings.here().monotonic()
        # What has run out is not renewed: it would look as if it had been held all the time.
        names = set(self.tokens())
        with self._lock:
            for name in self._held.keys() - names:
                del self._held[name]
        if not names:
            return
        reach("lease.renewing")
        mine = Lease.objects.filter(name__in=names, holder=self.holder)
        until = surroundings.here().now() + timedelta(seconds=leases.LEASE_SECONDS)
        kept = names
        if mine.update(expires_at=until) != len(names):
            kept = set(mine.values_list("name", flat=True))
        with self._lock:
            for name in names - kept:
                self._held.pop(name, None)
            for name in kept & self._held.keys():
                self._held[name].renewed = asked
