"""The simulator finds what it is there for: each fault that is planted turns a world red."""

import pytest

from tests.simulation.planted_faults import FAULTS, Planted
from tests.simulation.scenarios import scenario_of
from tests.simulation.stage import Stage

TRIES = 12


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_planted_fault_turns_a_world_red(stage: Stage, name: str) -> None:
    planted = FAULTS[name]
    for seed in range(planted.first_seed, planted.first_seed + TRIES):
        family = planted.families[seed % len(planted.families)]
        with planted.plant():
            world = stage.play(scenario_of(seed, family))
        if any(says in problem for problem in world.problems for says in planted.says):
            return
    pytest.fail(f"{name} was not found in {TRIES} worlds of {planted.families}")


def test_at_least_twelve_faults_are_planted() -> None:
    assert len(FAULTS) >= 12
    assert all(isinstance(fault, Planted) and fault.says for fault in FAULTS.values())
