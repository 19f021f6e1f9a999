"""What every page shows: who is asking, which switches are off, what waits for the person."""

from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from plans import flags
from plans.models import Flag, TrailCheck, User
from plans.permissions import may


def console(request: HttpRequest) -> dict[str, Any]:
    """Return the frame's variables; templates/base.html names them."""
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return {"flags_off": [], "approvals_waiting": 0, "server_now": timezone.now()}
    from plans.approval import waiting_for

    check = TrailCheck.objects.order_by("-at").first()
    off = list(Flag.objects.filter(enabled=False).select_related("changed_by"))
    return {
        "flags_off": off,
        "rollback_flag_off": any(flag.name == flags.ROLLBACK for flag in off),
        "trail_alarm": check if check is not None and check.alarming else None,
        "approvals_waiting": len(waiting_for(user, now=timezone.now())),
        "may_review_access": may(user, "review_access"),
        "server_now": timezone.now(),
    }
