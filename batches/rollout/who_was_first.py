"""Say to whoever comes second in a race what happened meanwhile, by whom and when."""

from collections.abc import Callable, Mapping
from typing import Any

from batches.models import Batch
from plans.models import Event, Plan
from plans.models.driven import NotPossibleNow

EVENTS_SEARCHED = 100
STOPPING = {
    "paused": ("plan_paused", "rollback_finished"),
    "rolling_back": ("rollback_begun",),
    "rolled_back": ("rollback_finished",),
    "completed": ("plan_completed", "plan_settled"),
    "needs_hand": ("plan_needs_hand", "rollback_finished"),
}
"""The kinds of event that bring a plan into a state."""


def told_of(
    plan: Plan, *kinds: str, about: Callable[[Mapping[str, Any]], bool] = lambda _payload: True
) -> str:
    """Return the newest such event as ' (Olga, 12:00:01 UTC)', empty when there is none.

    `about` tells from an event's payload whether it is about the same thing.
    """
    newest = Event.objects.filter(stream__key=plan.stream_key, kind__in=kinds).order_by("-seq")
    event = next((one for one in newest[:EVENTS_SEARCHED] if about(one.payload)), None)
    if event is None:
        return ""
    who = event.actor_name if event.actor_id else "the console"
    return f" ({who}, {event.at:%H:%M:%S} UTC)"


def insist(plan: Plan, act: str, *, states: tuple[str, ...] = ("running", "paused")) -> None:
    """Raise NotPossibleNow, saying who stopped the plan and when, unless it is in the states."""
    state = str(plan.state)
    if state in states:
        return
    label = plan.lifecycle.states[state].lower()
    since = told_of(plan, *STOPPING.get(state, ()))
    wanted = " or ".join(plan.lifecycle.states[name].lower() for name in states)
    raise NotPossibleNow(
        f"This plan is {label}{since}; {act} is for a plan that is {wanted}.",
        possible=plan.lifecycle.possible(state),
    )


def batch_of(plan: Plan, number: int) -> Batch | None:
    """Return the plan's batch of that number under its lock."""
    return Batch.objects.select_for_update(no_key=True).filter(plan=plan, number=number).first()
