"""How long a session lives: until nobody has used it for a while, and never beyond a limit."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from plans.counted_words import counted
from plans.models import User

BEGAN, SEEN = "session_began", "session_seen"
# A page that polls each second must not write each second.
NOTED_EVERY = timedelta(minutes=1)


def note_beginning(request: HttpRequest, *, now: datetime) -> None:
    """Let the session's life begin; called at log-in."""
    request.session[BEGAN] = request.session[SEEN] = now.timestamp()


def why_over(began: datetime, seen: datetime, *, now: datetime) -> str:
    """Return why a session is over, '' while it lives."""
    if now - began >= timedelta(hours=settings.SESSION_HOURS):
        return f"Your session had lasted {counted(settings.SESSION_HOURS, 'hour')}; log in again."
    if now - seen >= timedelta(minutes=settings.SESSION_IDLE_MINUTES):
        return (
            f"Nobody had used your session for {counted(settings.SESSION_IDLE_MINUTES, 'minute')};"
            " log in again."
        )
    return ""


def _moments(session: Mapping[str, Any]) -> tuple[datetime, datetime]:
    """Return when the session began, and when it was last used."""
    began, seen = (
        datetime.fromtimestamp(float(session.get(name, 0)), tz=UTC) for name in (BEGAN, SEEN)
    )
    return began, seen


def has_ended(session: Mapping[str, Any], *, now: datetime) -> bool:
    """Tell whether the session's time is over, though nobody has ended it yet."""
    return BEGAN in session and bool(why_over(*_moments(session), now=now))


class SessionLifeMiddleware:
    """End sessions that are over, and note that a session is in use."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if settings.SESSION_COOKIE_NAME in request.COOKIES and isinstance(request.user, User):
            self._look_at(request, timezone.now())
        return self.get_response(request)

    def _look_at(self, request: HttpRequest, now: datetime) -> None:
        if BEGAN not in request.session:
            # A session from before sessions had a life begins it now.
            note_beginning(request, now=now)
            return
        began, seen = _moments(request.session)
        why = why_over(began, seen, now=now)
        if why:
            logout(request)
            messages.info(request, why)
        elif now - seen >= NOTED_EVERY:
            request.session[SEEN] = now.timestamp()
