"""What the approval panel of a plan's page shows, whoever renders that page."""

from dataclasses import dataclass
from typing import Any

from django import template
from django.utils import timezone

from plans.approvals import approval
from plans.approvals.approved_acts import START
from plans.approvals.signing_preview import Signs, what_is_signed
from plans.drafting.revision_changes import RevisionChanges, changes_since_last_request
from plans.lifecycle import PLAN
from plans.models import Approval, ApprovalRequest, Grant, Plan, User
from plans.people.permissions import may
from plans.refusal import Refused

register = template.Library()

ACTS = ("submit", "cancel", "archive")


@dataclass(frozen=True, slots=True)
class RoleLine:
    """One approval role of the request, and who stood for it."""

    role: str
    given: Approval | None
    grant: Grant | None


@dataclass(frozen=True, slots=True)
class ApprovalPanel:
    """All that the panel says to one person."""

    request: ApprovalRequest | None
    open: bool
    late: bool
    roles: tuple[RoleLine, ...]
    rejection: Approval | None
    my_roles: tuple[str, ...]
    why_not: str
    may: dict[str, bool]
    ended: bool
    changes: RevisionChanges | None
    signs: Signs | None
    signed: bool

    @property
    def missing(self) -> list[str]:
        """Return the roles that nobody stands for yet."""
        return [line.role for line in self.roles if line.given is None]


@register.simple_tag
def approval_panel(plan: Plan, user: Any) -> ApprovalPanel:
    """Return what the panel says about the plan to this person, now."""
    now = timezone.now()
    request = (
        plan.approval_requests.filter(action=START)
        .select_related("opened_by", "revision")
        .order_by("-opened_at")
        .first()
    )
    # A plan that has started was approved as it started, whatever was changed while it ran.
    revised = request is not None and request.revision.number != plan.revision
    if revised and plan.started_at is None:
        request = None
    given = list(request.approvals.select_related("user", "grant")) if request else []
    by_role = {line.role: line for line in given if line.verdict == Approval.APPROVED}
    is_open = request is not None and request.closed_at is None
    late = request is not None and is_open and request.deadline <= now
    my_roles, why_not = _standing(request if is_open and not late else None, plan, user)
    return ApprovalPanel(
        request=request,
        open=is_open,
        late=late,
        roles=tuple(
            RoleLine(role, by_role.get(role), getattr(by_role.get(role), "grant", None))
            for role in (request.roles if request else ())
        ),
        rejection=next((a for a in given if a.verdict == Approval.REJECTED), None),
        my_roles=my_roles,
        why_not=why_not,
        may={act: may(user, act, plan) and PLAN.allows(str(plan.state), act) for act in ACTS}
        | {
            "revise": may(user, "draft", plan) and PLAN.allows(str(plan.state), "revise"),
            "draft": may(user, "draft"),
            "break_glass": may(user, "break_glass", plan)
            and str(plan.state) in {"awaiting_approval", "approved"},
        },
        ended=str(plan.state) in PLAN.endings or str(plan.state) == "archived",
        changes=changes_since_last_request(plan) if is_open or plan.started_at is None else None,
        signs=what_is_signed(plan, request, now=now) if request is not None and my_roles else None,
        signed=plan.grants.exists(),
    )


def _standing(
    request: ApprovalRequest | None, plan: Plan, user: Any
) -> tuple[tuple[str, ...], str]:
    """Return the roles that the person may stand for, or why none."""
    if request is None or not isinstance(user, User):
        return (), ""
    try:
        return tuple(approval.standing(request, plan, user, timezone.now())), ""
    except Refused as refused:
        return (), refused.sentence
