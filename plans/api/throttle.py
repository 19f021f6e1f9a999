"""How often one person or token may ask the API in a minute, counted over all web processes.

What holds back or takes back (pause, roll back, stop) is never refused for asking too often, and
what is pushed has limits of its own (batches/pushes/limits.py).
"""

import threading
import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from plans.models import ApiToken

NEVER_REFUSED = frozenset({"pause", "rollback", "stop", "push"})
MINUTE = 60
SHARED_EVERY = 20
"""So many requests are counted in the process before the shared count hears of them: a write to
the database for each request would cost more than what it counts."""


@dataclass(slots=True)
class Count:
    """What one asker has asked in a minute: known of all processes, and since then in this one."""

    minute: int
    shared: int = 0
    own: int = 0


class Counts:
    """Counts per asker; a minute forgets the one before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: dict[str, Count] = {}

    def add(self, asker: str, *, minute: int) -> int:
        """Count one request; return how many there were in this minute, as far as is known."""
        with self._lock:
            if any(count.minute != minute for count in self._of.values()):
                self._of = {}
            first = asker not in self._of
            count = self._of.setdefault(asker, Count(minute))
            count.own += 1
            tell = count.own if count.own >= SHARED_EVERY else 0
            count.own -= tell
        if first or tell:
            told = _share(f"api-asked:{asker}:{minute}", tell)
            with self._lock:
                count.shared = max(told, count.shared + tell)
        return count.shared + count.own

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            self._of = {}


def _share(key: str, more: int) -> int:
    if not more:
        return int(cache.get(key, 0))
    cache.add(key, 0, timeout=2 * MINUTE)
    try:
        return int(cache.incr(key, more))
    except ValueError:
        # Pushed out between the two: the count begins anew, for at most a minute.
        return more


COUNTS = Counts()


class AskedTooOften(BaseThrottle):
    """Refuse with 429 whoever asks more often than UPGRADECONSOLE_API_PER_MINUTE."""

    def __init__(self) -> None:
        self._left = 0.0

    def allow_request(self, request: Request, view: Any) -> bool:
        """Tell whether this request is within the limit."""
        most: int = settings.API_PER_MINUTE
        actions: dict[str, str] = getattr(view, "token_actions", {})
        asker = _asker(request)
        if not most or asker is None or actions.get(request.method or "") in NEVER_REFUSED:
            return True
        now = time.time()
        self._left = MINUTE - now % MINUTE
        return COUNTS.add(asker, minute=int(now // MINUTE)) <= most

    def wait(self) -> float:
        """Return the seconds until the next minute."""
        return max(1.0, self._left)


def _asker(request: Request) -> str | None:
    token: Any = request.auth
    if isinstance(token, ApiToken):
        return f"token-{token.pk}"
    return f"person-{request.user.pk}" if request.user.pk is not None else None
