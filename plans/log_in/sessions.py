"""Ending a person's sessions in their browsers."""

from allauth.usersessions.models import UserSession
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.models import Session

from plans.models import User


def end_sessions(user: User) -> int:
    """End all sessions of the person, known to their list or not; return how many there were."""
    keys = [
        session.session_key
        for session in Session.objects.iterator()
        if session.get_decoded().get(SESSION_KEY) == str(user.pk)
    ]
    UserSession.objects.filter(user=user).delete()
    Session.objects.filter(session_key__in=keys).delete()
    return len(keys)
