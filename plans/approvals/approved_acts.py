"""What a request for approval lets happen, by its action.

Each act runs in the transaction of the verdict that decides. Starting a plan is known here; what
needs batches registers its act at start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from plans.models import ApprovalRequest, Plan, User

START = "start"
LOOSEN = "loosen"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict that decides a request."""

    by: User
    now: datetime
    via: str


Deed = Callable[[Plan, ApprovalRequest, Verdict], None]


@dataclass(frozen=True, slots=True)
class Act:
    """What follows when all roles have agreed, or when one person says no."""

    noun: str
    approved_kind: str
    rejected_kind: str
    grant: Deed
    refuse: Deed


ACTS: dict[str, Act] = {}


def register(action: str, act: Act) -> None:
    """Add an act; registering the same action again replaces it."""
    ACTS[action] = act


def _start_granted(plan: Plan, request: ApprovalRequest, verdict: Verdict) -> None:
    plan.move("approve")
    plan.approved_at = verdict.now
    plan.save()


def _start_refused(plan: Plan, request: ApprovalRequest, verdict: Verdict) -> None:
    plan.move("reject")
    plan.ended_at = verdict.now
    plan.save()


register(START, Act("plan", "plan_approved", "plan_rejected", _start_granted, _start_refused))
