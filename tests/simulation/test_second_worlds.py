"""The second half of the simulated worlds; two files, so that two processes share them."""

from collections.abc import Iterator

import pytest

from tests.simulation.shards import PARTS, Shard, shard_of
from tests.simulation.stage import Stage


@pytest.fixture(scope="module")
def half(pytestconfig: pytest.Config) -> Iterator[Shard]:
    with shard_of(pytestconfig, 1, 2) as shard:
        yield shard


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_goes_wrong_in_the_second_half_of_the_worlds(
    stage: Stage, half: Shard, part: int
) -> None:
    half.play(stage, part)
