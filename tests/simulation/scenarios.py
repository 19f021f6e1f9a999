"""From a seed to its scenario, always the same one. Every third is about crashes."""

import random

from plans.failpoints import POINTS
from tests.simulation import families
from tests.simulation.families import Family, base_for_trouble
from tests.simulation.faults import TOUCHES, Strike
from tests.simulation.scenario import Scenario


def crashes(scenario: Scenario, dice: random.Random) -> None:
    """Processes die at named points and at any touch of database or network."""
    base_for_trouble(scenario, dice)
    if not scenario.bad_share:
        scenario.cue("batch_passed", "roll_back", 0.5)
    points = [*POINTS, *TOUCHES]
    # Each such world takes the next few points, so that every one gets its share.
    turn = scenario.seed // len(FAMILIES) * CRASHES + scenario.seed % len(FAMILIES) // EVERY
    for place in range(AT_ONCE):
        point = points[(turn * AT_ONCE + place) % len(points)]
        nth = 1 if point.startswith(("rollback.", "hands.", "lease.")) else dice.randint(1, 3)
        scenario.strikes.append(Strike("crash", point, nth=nth, seconds=dice.uniform(0.3, 2)))
    scenario.watches = dice.choice([1, 2, 2, 3])
    scenario.hands = dice.choice([1, 1, 2])


OTHERS: tuple[Family, ...] = (
    families.calm,
    families.agreed,
    families.breach,
    families.flaky,
    families.paused,
    families.held,
    families.handed,
    families.stubborn,
    families.agreed,
    families.missed,
    families.superseded,
    families.drifting,
    families.rivals,
    families.parts,
    families.late,
    families.held,
    families.interrupted,
    families.unhanded,
    families.quoted,
    families.agreed,
    families.frozen,
    families.flaky,
    families.busy,
    families.drifting,
    families.clocks,
    families.messages,
    families.handed,
    families.chaos,
)
EVERY = 3
"""Every third world is about crashes."""
AT_ONCE = 4
"""In how many points such a world may crash."""


def _mixed() -> tuple[Family, ...]:
    mixed: list[Family] = []
    for place, family in enumerate(OTHERS):
        mixed.append(family)
        if place % (EVERY - 1) == EVERY - 2:
            mixed.append(crashes)
    return tuple(mixed)


FAMILIES = _mixed()
CRASHES = sum(family is crashes for family in FAMILIES)


def scenario_of(seed: int, family: Family | None = None) -> Scenario:
    """Return the scenario of a seed: always the same one."""
    dice = random.Random(f"world {seed}")
    chosen = family or FAMILIES[seed % len(FAMILIES)]
    scenario = Scenario(seed, chosen.__name__, random.Random(f"life {seed}"))
    scenario.latency = dice.choice([0.05, 0.2, 0.2, 0.6])
    scenario.parallelism = dice.choice([2, 5, 5, 20])
    scenario.watches = dice.choice([1, 1, 2])
    chosen(scenario, dice)
    return scenario
