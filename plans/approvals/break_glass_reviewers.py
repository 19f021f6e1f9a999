"""Who reviews what was done without the approvers: somebody else, within a day."""

from datetime import datetime

from plans.approvals import grants
from plans.models import BreakGlass, User
from plans.people.permissions import approval_roles, may, require
from plans.refusal import NotAllowed


def to_review(person: User, *, now: datetime) -> list[BreakGlass]:
    """Return what the person can review, the most urgent first."""
    waiting = (
        BreakGlass.objects.unreviewed()
        .select_related("plan__plugin", "plan__release", "plan__author", "by")
        .order_by("review_due")
    )
    # Asked for every page: most people review nothing at all, whatever waits.
    if not (may(person, "review_break_glass") or approval_roles(person, at=now)):
        return []
    return [broken for broken in waiting if may_review(person, broken, now=now)]


def may_review(person: User, broken: BreakGlass, *, now: datetime) -> bool:
    """Tell whether the person may say whether it was right."""
    try:
        require_reviewer(person, broken, now)
    except NotAllowed:
        return False
    return True


def require_reviewer(person: User, broken: BreakGlass, now: datetime) -> None:
    """Raise NotAllowed, saying why, unless the person may review it."""
    if person.pk == broken.by_id:
        raise NotAllowed("You did it yourself; somebody else reviews it.", code="own_act")
    if person.pk in grants.writers(broken.plan):
        raise NotAllowed("You wrote or edited this plan; somebody else reviews it.", code="own_act")
    if set(broken.roles) & approval_roles(person, at=now, plan=broken.plan):
        return
    require(person, "review_break_glass", broken.plan)
