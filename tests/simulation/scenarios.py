"""From a seed to its scenario, always the same one. Every third is about crashes."""

import random
from collections.abc import Mapping

from plans.failpoints import POINTS
from tests.simulation import families, families_of_choices, families_of_trouble
from tests.simulation.families import Family
from tests.simulation.families_of_trouble import base_for_trouble
from tests.simulation.faults import TOUCHES, Strike
from tests.simulation.scenario import Scenario

LEADS_TO: Mapping[str, Family] = {
    "adjust.restoring": families_of_choices.loosened,
    "aftermath.judged": families.breach,
    "drill.called": families_of_choices.rehearsed,
}
"""Points to which only some stories lead."""
RARE = (
    *("rollback.", "hands.", "lease.", "adjust.", "aftermath.", "drill."),
    *("effects.looks_noted", "ledger.flushed"),
)


def crashes(scenario: Scenario, dice: random.Random) -> None:
    """Processes die at named points and at any touch of database or network."""
    points = [*POINTS, *TOUCHES]
    # Each such world takes the next point and some that are far from it in the list, so that every
    # one gets its share, and neighbours that need different stories do not meet in one world.
    turn = scenario.seed // len(FAMILIES) * CRASHES + scenario.seed % len(FAMILIES) // EVERY
    apart = len(points) // AT_ONCE
    mine = [points[(turn + place * apart) % len(points)] for place in range(AT_ONCE)]
    led = [LEADS_TO[point] for point in mine if point in LEADS_TO]
    base = led[turn % len(led)] if led else base_for_trouble
    base(scenario, dice)
    if not scenario.bad_share and base is base_for_trouble:
        scenario.cue("batch_passed", "roll_back", 0.5)
    for point in mine:
        nth = 1 if point.startswith(RARE) else dice.randint(1, 3)
        scenario.strikes.append(Strike("crash", point, nth=nth, seconds=dice.uniform(0.3, 2)))
    scenario.watches = dice.choice([1, 2, 2, 3])
    scenario.hands = dice.choice([1, 1, 2])


OTHERS: tuple[Family, ...] = (
    families.calm,
    families.agreed,
    families_of_choices.stopped,
    families.breach,
    families.flaky,
    families_of_choices.retried,
    families.paused,
    families.held,
    families_of_choices.left_out,
    families.handed,
    families.stubborn,
    families.agreed,
    families_of_choices.adjusted,
    families.missed,
    families.superseded,
    families_of_choices.one_way,
    families.drifting,
    families.rivals,
    families_of_choices.drilled,
    families.parts,
    families.late,
    families.agreed,
    families_of_choices.closed,
    families_of_choices.stopped,
    families.interrupted,
    families.unhanded,
    families.quoted,
    families_of_choices.distrusted,
    families_of_trouble.frozen,
    families_of_choices.retried,
    families_of_trouble.busy,
    families.drifting,
    families_of_trouble.clocks,
    families.agreed,
    families_of_choices.left_out,
    families_of_trouble.messages,
    families.handed,
    families_of_trouble.chaos,
    families.lapsed,
    families_of_choices.settled,
    families_of_choices.lost,
    families_of_choices.called_off,
    families_of_choices.settled,
    families_of_choices.lost,
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
    scenario.shared = scenario.watches > 1 and dice.random() < 0.4
    return scenario
