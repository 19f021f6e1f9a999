"""What the invariants share: how exact they are, and what disturbances may cost."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from plans.models import Plan
from tests.simulation.simulated_machine import BEGAN
from tests.simulation.world import World

Invariant = Callable[[World], Iterator[str]]
MOMENT = 0.1
"""What two things may be apart that happen at once."""
TICK = 3.0
"""How long the watch may take to see something: a tick, and one that was skipped."""
TAKEOVER = 12.0
PARALLELISM = 5
EXPECTED_SECONDS = 0.3


def moved_by(payload: dict[str, Any]) -> dict[str, str]:
    """Return the tenants of which an event says what they are now."""
    tenants = payload.get("tenants")
    return tenants if isinstance(tenants, dict) else {}


# How long something may take in a world in which processes, database or clock were disturbed.


def grace(world: World, begin: float, end: float) -> float:
    """Return the seconds that disturbances between two times may cost."""
    extra = TICK * world.scenario.slowness
    for since, until, _name in world.downs:
        if since < end and until + TAKEOVER > begin:
            extra += min(until - since, TAKEOVER) + TAKEOVER
    for since, until in world.locks:
        if since < end and until + 1 > begin:
            extra += until - since + 2
    extra += sum(abs(seconds) for at, seconds in world.jumps if at < end)
    return extra


def seconds_of(at: datetime) -> float:
    return (at - BEGAN).total_seconds()


def all_plans(world: World) -> list[Plan]:
    """Return the plans of a world that has ended, read once for all who ask."""
    if world.ended_with is None:
        plans = Plan.objects.select_related("release", "plugin").order_by("external_id")
        world.ended_with = list(plans)
    return world.ended_with
