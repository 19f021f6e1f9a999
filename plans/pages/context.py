"""What every page shows: who is asking, which switches are off, what waits for the person."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from plans import flags
from plans.log_in.first_account import first_account_command
from plans.models import Flag, TrailCheck, User
from plans.models.rights import bindings_read_once
from plans.people.permissions import may


def console(request: HttpRequest) -> dict[str, Any]:
    """Return the frame's variables; templates/base.html names them.

    `factors_optional` where the installation asks for no second factor, `must_enrol` where this
    person needs one and has none, `own_roles_wait` says which of their roles do not count yet.
    """
    user = getattr(request, "user", None)
    optional = not settings.REQUIRE_MFA
    if not isinstance(user, User):
        return {
            "flags_off": [],
            "approvals_waiting": 0,
            "server_now": timezone.now(),
            "factors_optional": optional,
            # Asked by the log-in page alone: other pages must do without the database.
            "first_account": first_account_command,
            **_single_sign_on(),
        }
    from plans.people.ways_in import waiting_words

    check = TrailCheck.objects.order_by("-at").first()
    now = timezone.now()
    off = list(Flag.objects.filter(enabled=False).select_related("changed_by"))
    # Every page asks all of this.
    with bindings_read_once():
        theirs = _theirs(user, now)
    return {
        "flags_off": off,
        "rollback_flag_off": any(flag.name == flags.ROLLBACK for flag in off),
        "trail_alarm": check if check is not None and check.alarming else None,
        **theirs,
        "server_now": timezone.now(),
        "factors_optional": optional,
        "must_enrol": getattr(request, "must_enrol", False),
        "own_roles_wait": waiting_words(user),
    }


def _theirs(user: User, now: datetime) -> dict[str, Any]:
    """Return what of the frame follows from the person's roles."""
    from plans.approvals.approval import waiting_for
    from plans.approvals.break_glass_reviewers import to_review

    return {
        "may_review_access": may(user, "review_access"),
        "may_read_trail": may(user, "read_trail"),
        "approvals_waiting": len(waiting_for(user, now=now)) + len(to_review(user, now=now)),
    }


def _single_sign_on() -> dict[str, str]:
    """Return what the log-in page offers besides passwords."""
    sso = settings.SINGLE_SIGN_ON
    if sso is None:
        return {}
    where = reverse("openid_connect_login", kwargs={"provider_id": sso.provider_id})
    return {"sso_name": sso.name, "sso_url": where}
