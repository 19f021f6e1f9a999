"""A form that waits in the session while its sender proves who they are: nothing typed is lost.

It is named by an address that only its own step-up carries, so that no other one sends it.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.http import HttpRequest

KEY = "suspended_form"
KEPT_FOR = timedelta(minutes=10)
LARGEST = 64 * 1024
# What belongs to the first request alone.
LEFT_OUT = frozenset({"csrfmiddlewaretoken"})


@dataclass(frozen=True, slots=True)
class SuspendedForm:
    """Where the form goes, and its fields in their order; `shown` once it was offered again."""

    name: str
    path: str
    fields: tuple[tuple[str, str], ...]
    shown: bool


def suspend(request: HttpRequest, *, now: datetime) -> str:
    """Keep the posted form for a while; return its name, '' when it cannot be kept."""
    fields = [
        [name, value]
        for name, values in request.POST.lists()
        if name not in LEFT_OUT
        for value in values
    ]
    # A password is typed again: sessions stand in the database.
    secret = any("password" in name for name, _value in fields)
    size = sum(len(name) + len(str(value)) for name, value in fields)
    if request.method != "POST" or request.FILES or secret or size > LARGEST:
        request.session.pop(KEY, None)
        return ""
    name = secrets.token_urlsafe(12)
    request.session[KEY] = {
        "name": name,
        "path": request.get_full_path(),
        "fields": fields,
        "at": now.timestamp(),
        "shown": False,
    }
    return name


def suspended(request: HttpRequest, name: str, *, now: datetime) -> SuspendedForm | None:
    """Return the form of that name, None when it does not wait here or its time is over."""
    kept = request.session.get(KEY)
    if not kept or not name or kept["name"] != name:
        return None
    if now.timestamp() - kept["at"] > KEPT_FOR.total_seconds():
        del request.session[KEY]
        return None
    fields = tuple((str(name), str(value)) for name, value in kept["fields"])
    return SuspendedForm(name, kept["path"], fields, kept["shown"])


def note_shown(request: HttpRequest) -> None:
    """Remember that the form was offered: whoever comes back presses the button themselves."""
    request.session[KEY] = {**request.session[KEY], "shown": True}
