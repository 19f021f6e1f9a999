"""What every page shows: who is asking, which switches are off, what waits for the person."""

from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from plans import flags
from plans.models import Flag, User


def console(request: HttpRequest) -> dict[str, Any]:
    """Return the frame's variables: `flags_off`, `approvals_waiting`, `server_now`."""
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return {"flags_off": [], "approvals_waiting": 0, "server_now": timezone.now()}
    from plans.approval import waiting_for
    from plans.break_glass_reviewers import to_review

    now = timezone.now()
    off = list(Flag.objects.filter(enabled=False).select_related("changed_by"))
    return {
        "flags_off": off,
        "rollback_flag_off": any(flag.name == flags.ROLLBACK for flag in off),
        "approvals_waiting": len(waiting_for(user, now=now)) + len(to_review(user, now=now)),
        "server_now": timezone.now(),
    }
