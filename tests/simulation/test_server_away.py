"""The server goes away, ends a connection within a transaction, or commits and nobody is told."""

import random
from collections import Counter

import pytest

from tests.simulation.families_of_trouble import base_for_trouble
from tests.simulation.faults import Strike
from tests.simulation.scenario import Scenario
from tests.simulation.scenarios import scenario_of
from tests.simulation.simulated_postgresql import WorldOnServer
from tests.simulation.stage import Stage

WORLDS = 20


def cut_off(scenario: Scenario, dice: random.Random) -> None:
    """Connections end again and again, at any statement or commit; sometimes all of them."""
    base_for_trouble(scenario, dice)
    scenario.watches = dice.choice([1, 2])
    if dice.random() < 0.5:
        scenario.happen(dice.uniform(0, 25), "lock_database", dice.choice([0.5, 3.0, 12.0]))
    for _one in range(8):
        kind, at = dice.choice(["", "watch", "hands", "web"]), dice.choice(["statement", "commit"])
        nth = dice.randint(1, 120 if at == "statement" else 20)
        scenario.strikes.append(Strike("busy", at, kind=kind, nth=nth))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_goes_wrong_when_connections_end_at_any_statement(stage: Stage) -> None:
    cut: Counter[str] = Counter()
    problems: list[str] = []
    for seed in range(WORLDS):
        world = stage.play(scenario_of(seed, cut_off))
        assert isinstance(world, WorldOnServer)
        problems += [f"seed {seed}: {problem}" for problem in world.problems[:10]]
        cut += world.cut
    assert not problems, "\n".join(problems)
    # Of each kind there were some, else this has shown nothing.
    assert min(cut[kind] for kind in ("between", "within", "answer")) >= 5, cut
