"""What the worlds have met: every transition of the lifecycle tables, every crash point.

Each half of the worlds has to meet its share of them by itself.
"""

from collections import Counter
from collections.abc import Iterator

from batches.lifecycle import BATCH, TENANT_UPGRADE
from plans.failpoints import POINTS
from plans.lifecycle import PLAN
from tests.simulation.faults import TOUCHES
from tests.simulation.judging import moved_by
from tests.simulation.world import World

LEAST = 20
"""How often each of them has to be met in a thousand worlds."""

# How a tenant's move is called, by what the trail says it was and is, and by the kind of event.
_TENANT_MOVES = {
    ("pending", "upgrading"): "claim",
    ("unknown", "upgrading"): "claim",
    ("failed", "upgrading"): "claim",
    ("rolled_back", "upgrading"): "claim",
    ("upgrading", "upgraded"): "confirm",
    ("unknown", "upgraded"): "confirm",
    ("upgrading", "failed"): "fail",
    ("upgrading", "unknown"): "lose",
    ("upgrading", "pending"): "release",
    ("upgrading", "restoring"): "begin_restore",
    ("upgraded", "restoring"): "begin_restore",
    ("failed", "restoring"): "begin_restore",
    ("unknown", "restoring"): "begin_restore",
    ("needs_hand", "restoring"): "begin_restore",
    ("restoring", "rolled_back"): "restored",
    ("rolled_back", "unknown"): "reopen",
    ("restoring", "needs_hand"): "give_up",
    ("unknown", "needs_hand"): "give_up",
    ("failed", "needs_hand"): "give_up",
    ("pending", "rolled_back"): "call_off",
    ("upgraded", "excluded"): "supersede",
    ("unknown", "excluded"): "supersede",
    ("restoring", "excluded"): "supersede",
    ("needs_hand", "excluded"): "supersede",
    ("pending", "excluded"): "exclude",
    ("failed", "excluded"): "exclude",
    ("rolled_back", "excluded"): "exclude",
    ("upgrading", "excluded"): "exclude",
}


def tenant_moves(world: World) -> Iterator[str]:
    """Yield the name of every move of a tenant that the trail tells of."""
    states: dict[tuple[str, str], str] = {}
    for entry in world.trail:
        for tenant, state in moved_by(entry.payload).items():
            before = states.get((entry.stream, tenant), "pending")
            states[entry.stream, tenant] = state
            if entry.kind == "tenants_settled":
                yield f"settle_{state}"
            elif entry.kind == "tenants_retried":
                # Who may run either version stays unknown, also who was unknown before.
                yield "retry_touched" if state == "unknown" else "retry"
            elif (before, state) in _TENANT_MOVES:
                yield _TENANT_MOVES[before, state]
            elif before != state:
                yield f"{before} -> {state}"


class Coverage:
    """Counts what many worlds met."""

    def __init__(self) -> None:
        self.met: Counter[str] = Counter()

    def add(self, world: World) -> None:
        """Count a world."""
        self.met.update(f"{noun}: {name}" for (noun, name) in world.feed.moves.elements())
        self.met.update(f"tenant upgrade: {name}" for name in tenant_moves(world))
        for strike in world.strikes.done:
            self.met[f"{strike.act} at {strike.at}"] += 1
        self.met[f"family {world.scenario.family}"] += 1

    def rare(self, least: int) -> dict[str, int]:
        """Return what was met less often than that."""
        return {name: self.met[name] for name in wanted() if self.met[name] < least}

    def report(self) -> str:
        """Return a table of everything that was met."""
        names = sorted({*wanted(), *self.met})
        return "\n".join(f"{self.met[name]:7d}  {name}" for name in names)


def wanted() -> list[str]:
    """Return the names of all that has to be met."""
    tables = [
        f"{table.noun}: {row.name}"
        for table in (PLAN, BATCH, TENANT_UPGRADE)
        for row in table.transitions
    ]
    return [*tables, *(f"crash at {point}" for point in (*POINTS, *TOUCHES))]
