"""Families of trouble: processes die and stand still, the database is locked, clocks jump."""

import random
from collections.abc import Callable

from plans.failpoints import POINTS
from tests.simulation.families import breach, calm, flaky, late, parts, paused, stubborn
from tests.simulation.families_of_choices import (
    adjusted,
    closed,
    drilled,
    left_out,
    one_way,
    retried,
    stopped,
)
from tests.simulation.faults import FREEZABLE, TOUCHES, Strike
from tests.simulation.operators import DURING_A_RUN
from tests.simulation.scenario import Scenario

BASES: tuple[Callable[[Scenario, random.Random], None], ...] = (
    *(calm, breach, breach, flaky, paused, parts, stubborn, late),
    *(stopped, one_way, left_out, retried, retried, adjusted, drilled, closed),
)


def base_for_trouble(scenario: Scenario, dice: random.Random) -> None:
    dice.choice(BASES)(scenario, dice)
    scenario.seconds = max(scenario.seconds, 50)


def frozen(scenario: Scenario, dice: random.Random) -> None:
    """Processes stand still and wake up into a world that went on without them."""
    base_for_trouble(scenario, dice)
    scenario.strict = dice.random() < 0.5
    points = [*POINTS, *TOUCHES] if scenario.strict else list(FREEZABLE)
    for _one in range(dice.randint(1, 3)):
        scenario.strikes.append(
            Strike(
                "freeze",
                dice.choice(points),
                kind=dice.choice(["", "watch", "hands"]),
                nth=dice.randint(1, 25),
                seconds=dice.choice([1.0, 2.5, 9.0, 14.0, 40.0]),
                leader=dice.random() < 0.3,
            )
        )
    scenario.watches = dice.choice([2, 2, 3])
    scenario.hands = dice.choice([1, 2])


def busy(scenario: Scenario, dice: random.Random) -> None:
    """The database is locked, for a moment or for longer than its patience."""
    base_for_trouble(scenario, dice)
    for _one in range(dice.randint(1, 3)):
        scenario.happen(dice.uniform(0, 25), "lock_database", dice.choice([0.5, 3.0, 12.0, 26.0]))
    for _one in range(dice.randint(0, 3)):
        scenario.strikes.append(
            Strike("busy", "statement", nth=dice.randint(1, 200), kind=dice.choice(["", "watch"]))
        )


def clocks(scenario: Scenario, dice: random.Random) -> None:
    """The wall clock jumps, and the processes' clocks differ a little."""
    base_for_trouble(scenario, dice)
    for _one in range(dice.randint(1, 2)):
        at, by = dice.uniform(2, 30), dice.choice([-20.0, -6.0, -2.0, 2.0, 6.0, 20.0])
        scenario.happen(at, "jump_clock", by)
    scenario.watches = dice.choice([1, 2])
    if dice.random() < 0.3:
        # Whoever decides dies right after it, before a lease is renewed by the clock of now.
        scenario.watches = 2
        scenario.strikes.append(
            Strike("crash", "watch.ticking", kind="watch", after=at, seconds=20.0, leader=True)
        )


def messages(scenario: Scenario, dice: random.Random) -> None:
    """Tasks come late, twice or in another order; wake-ups are lost; counters begin anew."""
    base_for_trouble(scenario, dice)
    scenario.deliver_twice = dice.choice([0.0, 0.6])
    scenario.hands_delay = dice.choice([0.0, 1.9, 4.0])
    scenario.lose_hints = dice.choice([0.0, 0.5, 1.0])
    scenario.hands = dice.choice([0, 1, 2, 3])
    scenario.watches = dice.choice([1, 2, 3])
    scenario.happen(dice.uniform(0, 20), "reset_counters")
    scenario.paperwork = dice.random() < 0.3


def chaos(scenario: Scenario, dice: random.Random) -> None:
    """Everything at once, and people who do anything at any time."""
    base_for_trouble(scenario, dice)
    for trouble in dice.sample([crashes_more, frozen_more, busy_more, messages_more], 2):
        trouble(scenario, dice)
    for _one in range(dice.randint(2, 6)):
        scenario.happen(dice.uniform(0.5, 40), "act", dice.choice(DURING_A_RUN))
    scenario.watches = max(scenario.watches, 2)


def crashes_more(scenario: Scenario, dice: random.Random) -> None:
    for _one in range(2):
        scenario.strikes.append(
            Strike(
                "crash",
                dice.choice([*POINTS, *TOUCHES]),
                nth=dice.randint(1, 30),
                seconds=dice.uniform(0.3, 3),
            )
        )


def frozen_more(scenario: Scenario, dice: random.Random) -> None:
    scenario.strikes.append(
        Strike(
            "freeze", dice.choice(FREEZABLE), nth=dice.randint(1, 30), seconds=dice.uniform(1, 20)
        )
    )


def busy_more(scenario: Scenario, dice: random.Random) -> None:
    scenario.happen(dice.uniform(0, 25), "lock_database", dice.uniform(0.5, 6))


def messages_more(scenario: Scenario, dice: random.Random) -> None:
    scenario.deliver_twice, scenario.lose_hints = 0.3, 0.3
    scenario.happen(dice.uniform(0, 20), "monitoring", dice.choice(["down", "nan"]), 8.0)
