"""The verbs of the API, and which of them a state leaves possible."""

from collections.abc import Iterable
from datetime import datetime

from plans.approvals.approval import waiting_for
from plans.lifecycle import PLAN
from plans.models import Plan, User
from plans.people.permissions import may

# By the transition that each needs. Promoting and settling hang on batches and are told of there.
VERBS = {
    "submit": "submit",
    "approve": "approve",
    "reject": "reject",
    "start": "start",
    "pause": "pause",
    "resume": "resume",
    "release_hold": "resume",
    "begin_rollback": "rollback",
    "stop_here": "stop",
    "cancel": "cancel",
}
VERDICTS = frozenset({"approve", "reject"})
LIVE = frozenset({"running", "paused"})


def verbs(transitions: Iterable[str]) -> list[str]:
    """Return the verbs for these transitions; what only the console itself does is left out."""
    return [VERBS[name] for name in transitions if name in VERBS]


def possible_acts(plan: Plan, user: User, *, at: datetime) -> list[str]:
    """Return what this person can ask of the plan now."""
    acts = verbs(PLAN.possible(str(plan.state)))
    if plan.release.irreversible and "rollback" in acts:
        acts.remove("rollback")
    if str(plan.state) in LIVE:
        # A running plan has no move of its own for a change, nor for the verdict on one.
        acts += ["adjust", *sorted(VERDICTS)]
    return [act for act in acts if _is_theirs(act, plan, user, at)]


def _is_theirs(act: str, plan: Plan, user: User, at: datetime) -> bool:
    if act in VERDICTS:
        return any(request.plan_id == plan.pk for request in waiting_for(user, now=at))
    return may(user, act, plan)
