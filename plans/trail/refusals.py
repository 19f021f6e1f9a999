"""Refusals that matter are events: who tried what they may not, and how often.

Told in a transaction of its own, since that of the refused act is gone. An attacker must not fill
the disk: of the same refusal to the same person or address only the 1st, 10th, 100th ... within ten
minutes is written, and per process at most fifty different ones; beyond that all count as one.
"""

import logging
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.exceptions import PermissionDenied as RestDenied

from plans.database_away import DATABASE_AWAY
from plans.models import Plan, User
from plans.people.permissions import may
from plans.refusal import NotAllowed, Refused
from plans.trail import events
from plans.trail.trace import origin

logger = logging.getLogger(__name__)

WINDOW = timedelta(minutes=10)
MOST_DIFFERENT = 50
LONGEST_SENTENCE = 400
KIND = "refused"
EVERYBODY_ELSE = ("", "", "")
SERIOUS = frozenset(
    {
        *("request_expired", "plan_changed", "release_not_trusted", "digest_changed"),
        *("unknown_key", "bad_signature", "revoked_key", "expired_key", "not_yet_valid"),
        *("wrong_plugin", "malformed"),
    }
)
"""Codes of refusals, besides "not allowed", that an auditor wants to know of."""
SERIOUS_BEGINNINGS = ("grant_", "token_", "signature_")
OF_STEP_UP = frozenset({"step_up_required", "wrong_code", "too_many_tries"})
"""Being asked for a code is no refusal, and wrong ones are counted where they are tried."""


@dataclass
class Tally:
    """Counts refusals in this process, and says which of them are to be written."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    began: datetime | None = None
    counts: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def count(self, key: tuple[str, str, str], now: datetime) -> tuple[int, bool]:
        """Return how often it was refused in this window, and whether it counts with others."""
        with self.lock:
            if self.began is None or not timedelta() <= now - self.began < WINDOW:
                self.began, self.counts = now, {}
            among_others = key not in self.counts and len(self.counts) >= MOST_DIFFERENT
            if among_others:
                key = EVERYBODY_ELSE
            self.counts[key] = self.counts.get(key, 0) + 1
            return self.counts[key], among_others


TALLY = Tally()
"""This process's one tally."""


def is_serious(error: Exception) -> bool:
    """Tell whether the refusal is one of those that are written down."""
    if getattr(error, "code", "") in OF_STEP_UP:
        return False
    if isinstance(error, (NotAllowed, PermissionDenied, RestDenied)):
        return True
    if not isinstance(error, Refused):
        return False
    return error.code in SERIOUS or error.code.startswith(SERIOUS_BEGINNINGS)


def note_refusal(request: HttpRequest, error: Exception, *, via: str) -> None:
    """Write a refusal of a request down, if it is one of those; never raises for the database.

    For doors, after the refused use case's own transaction is gone.
    """
    if not is_serious(error):
        return
    asking = getattr(request, "user", None)
    user = asking if isinstance(asking, User) else None
    match = request.resolver_match
    tell_refusal(
        code=getattr(error, "code", "") or "not_allowed",
        sentence=str(getattr(error, "sentence", "")) or str(error) or "not allowed",
        what=f"{request.method} /{match.route if match is not None else ''}",
        user=user,
        plan=lambda: _plan_of(match.kwargs if match is not None else {}, user),
        via=via,
        now=timezone.now(),
    )


def tell_refusal(
    *,
    code: str,
    sentence: str,
    what: str,
    user: User | None,
    nobody: str = "somebody unknown",
    via: str,
    now: datetime,
    plan: Callable[[], Plan | None] = lambda: None,
    about: dict[str, Any] | None = None,
) -> None:
    """Count a refusal and write it down when it is the first, tenth, hundredth ... of its kind.

    `nobody` is how to call whoever it was, where it was nobody that the console knows.
    """
    who = str(user.pk) if user is not None else origin().ip
    times, among_others = TALLY.count((who, code, what), now)
    if not _told(times):
        return
    words = _words(sentence, times, among_others=among_others)
    try:
        with transaction.atomic():
            events.record(
                stream=None if among_others else plan(),
                kind=KIND,
                sentence=words,
                actor=None if among_others else user,
                actor_name="several" if among_others else "" if user else nobody,
                via=via,
                now=now,
                payload={"code": code, "what": what, "times": times} | (about or {}),
            )
    except DATABASE_AWAY as gone:
        logger.error("A refusal could not be written down (%s): %s", gone, words)


def _told(times: int) -> bool:
    """Tell whether it is a power of ten."""
    while times % 10 == 0:
        times //= 10
    return times == 1


def _words(sentence: str, times: int, *, among_others: bool) -> str:
    said = " ".join(sentence.split())[:LONGEST_SENTENCE]
    if among_others:
        return f"More refusals than are written one by one, {times:,} so far; the last: {said}"
    again = f" ({times:,} times within ten minutes)" if times > 1 else ""
    return f"Refused{again}: {said}"


def _plan_of(named: dict[str, Any], user: User | None) -> Plan | None:
    """Return the plan that the address names, when the person may know of it."""
    name = str(named.get("plan_id") or named.get("plan") or "")
    if not name or user is None:
        return None
    try:
        found = Plan.objects.filter(pk=uuid.UUID(name)).first()
    except ValueError:
        found = Plan.objects.filter(external_id=name).first()
    return found if found is not None and may(user, "view", found) else None
