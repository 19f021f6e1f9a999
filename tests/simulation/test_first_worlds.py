"""The first half of the simulated worlds; two files, so that two processes share them."""

import pytest

from tests.simulation.shards import play
from tests.simulation.stage import Stage


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nothing_goes_wrong_in_the_first_half_of_the_worlds(
    stage: Stage, pytestconfig: pytest.Config
) -> None:
    play(stage, pytestconfig, 0, 2)
