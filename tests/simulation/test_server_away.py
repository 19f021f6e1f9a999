"""The server goes away, ends a connection within a transaction, or commits and nobody is told."""

from collections import Counter

import pytest

from tests.simulation.families_of_trouble import busy
from tests.simulation.scenarios import scenario_of
from tests.simulation.simulated_postgresql import WorldOnServer
from tests.simulation.stage import Stage

WORLDS = 24


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_goes_wrong_when_connections_end_at_any_statement(stage: Stage) -> None:
    cut: Counter[str] = Counter()
    for seed in range(WORLDS):
        world = stage.play(scenario_of(seed, busy))
        assert isinstance(world, WorldOnServer)
        assert not world.problems, f"seed {seed}: {world.problems[:10]}"
        cut += world.cut
    # Of each kind there was one, else this has shown nothing.
    assert set(cut) == {"between", "within", "answer"}, cut
