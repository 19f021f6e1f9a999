"""From a seed to its scenario, always the same one. Every third is about crashes."""

import random

from plans.failpoints import POINTS
from tests.simulation import families, families_of_choices, families_of_trouble
from tests.simulation.families import Family
from tests.simulation.families_of_trouble import base_for_trouble
from tests.simulation.faults import TOUCHES, Strike
from tests.simulation.scenario import Scenario

LED: tuple[tuple[Family, tuple[str, ...]], ...] = (
    (families_of_choices.loosened, ("adjust.restoring",)),
    (families.recovered, ("rollback.restored", "rollback.checked", "aftermath.judged")),
    (families_of_choices.rehearsed, ("drill.called",)),
    (base_for_trouble, ("hands.ending",)),
)
"""Stories that lead to points which most others miss, and those points."""
CHECKPOINTED = "trail.checkpointed"
ANYWHERE = tuple(
    point for point in (*POINTS, *TOUCHES) if all(point not in points for _, points in LED)
)
"""Points that nearly every story comes to."""
RARE = (
    *("rollback.", "hands.", "lease.", "adjust.", "aftermath.", "drill.", "effects.looks_noted"),
    CHECKPOINTED,
)


def crashes(scenario: Scenario, dice: random.Random) -> None:
    """Processes die at named points and at any touch of database or network."""
    turn = scenario.seed // len(FAMILIES) * CRASHES + scenario.seed % len(FAMILIES) // EVERY
    # Every second such world is for points that need a story of their own.
    base, led = LED[turn // 2 % len(LED)] if turn % 2 else (base_for_trouble, ())
    base(scenario, dice)
    if not scenario.bad_share and base is base_for_trouble:
        scenario.cue("batch_passed", "roll_back", 0.5)
    # The others come in turns, so that each gets its share, and some that are far from each other.
    count = AT_ONCE - len(led)
    others = [
        ANYWHERE[(turn + place * len(ANYWHERE) // count) % len(ANYWHERE)] for place in range(count)
    ]
    for point in (*led, *others):
        nth = 1 if point.startswith((*RARE, "ledger.flushed")) else dice.randint(1, 3)
        strike = Strike("crash", point, nth=nth, seconds=dice.uniform(0.3, 2))
        if "hands.ending" in led and point not in led:
            # Hands that died before would never come to their end.
            strike.kind = "watch"
        scenario.strikes.append(strike)
    if any(strike.at == CHECKPOINTED for strike in scenario.strikes):
        scenario.chores = (*scenario.chores, "checkpoints")
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
    families_of_choices.settled,
    families_of_choices.called_off,
    families.weighed,
    families.lapsed,
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
