"""Ending a person's sessions in their browsers."""

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session

from plans.models import User


def end_sessions(user: User, *, but: str | None = None) -> int:
    """End all sessions of the person except the one with the key `but`; return how many."""
    known = UserSession.objects.filter(user=user)
    if but is not None:
        known = known.exclude(session_key=but)
    keys = list(known.values_list("session_key", flat=True))
    known.delete()
    Session.objects.filter(session_key__in=keys).delete()
    return len(keys)
