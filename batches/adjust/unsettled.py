"""The changes of a running plan that are not settled: what waits, what holds for a time only."""

from typing import Any

from django.db.models import Q

from plans.models import Adjustment, Approval, Plan


def adjusting(plan: Plan) -> dict[str, Any]:
    """Return the loosening that waits for approval, and those that will be put back by themselves.

    In JSON values, in a constant number of queries.
    """
    open_ones = (
        Adjustment.objects.filter(plan=plan)
        .filter(Q(state=Adjustment.WAITING) | Q(expires_at__isnull=False, ended_at=None))
        .select_related("request", "revision", "by")
        .prefetch_related("request__approvals__user")
    )
    waiting = None
    temporary = []
    for one in open_ones:
        if one.state == Adjustment.WAITING:
            waiting = _waiting(one)
        elif one.state == Adjustment.APPLIED:
            temporary.append(_told(one) | {"expires_at": one.expires_at})
    return {"waiting": waiting, "temporary": temporary}


def _told(one: Adjustment) -> dict[str, Any]:
    return {
        "revision": one.revision.number,
        "by": one.by.get_full_name() if one.by is not None else "the console",
        "reason": one.reason,
        "changes": one.changes,
        "asked_at": one.asked_at,
    }


def _waiting(one: Adjustment) -> dict[str, Any]:
    request = one.request
    given = {
        line.role: line.user.get_full_name()
        for line in (request.approvals.all() if request is not None else ())
        if line.verdict == Approval.APPROVED
    }
    roles = request.roles if request is not None else []
    return _told(one) | {
        "digest": one.revision.plan_digest,
        "deadline": request.deadline if request is not None else None,
        "roles": [{"role": role, "given_by": given.get(role, "")} for role in roles],
        "holds_seconds": one.expires_after_seconds,
        "expires_at": one.expires_at,
    }
