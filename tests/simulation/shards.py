"""Play many worlds in one test, and tell of everything that went wrong with its replay command."""

from collections.abc import Sequence

import pytest
from django.db import connection

from tests.simulation.coverage import LEAST, Coverage
from tests.simulation.scenarios import scenario_of
from tests.simulation.stage import Stage

AGAIN = {"sqlite": "./console test", "postgresql": ".venv/bin/python -m tests.postgres"}
FULL = 1000
"""From so many worlds on, the coverage is asked for."""
MOST_SHOWN = 10


def seeds_of(config: pytest.Config, shard: int, shards: int) -> Sequence[int]:
    """Return the seeds of one shard; those of all shards are all."""
    only = config.getoption("--world-seed")
    if only is not None:
        return [only] if shard == 0 else []
    worlds = config.getoption("--worlds")
    return range(worlds * shard // shards, worlds * (shard + 1) // shards)


def play(stage: Stage, config: pytest.Config, shard: int, shards: int) -> None:
    """Play a shard's worlds; fail with the seeds in which something did not hold."""
    seeds = seeds_of(config, shard, shards)
    coverage, found = Coverage(), []
    for seed in seeds:
        world = stage.play(seed)
        coverage.add(world)
        if world.problems:
            told = "".join(f"\n    {problem}" for problem in world.problems[:MOST_SHOWN])
            found.append(
                f"seed {seed} ({scenario_of(seed).family}):{told}\n"
                f"  again: {AGAIN[connection.vendor]} tests/simulation --world-seed {seed}"
            )
    if found:
        shown = "\n".join(found[:MOST_SHOWN])
        pytest.fail(f"{len(found)} of {len(seeds)} worlds went wrong:\n{shown}", pytrace=False)
    if config.getoption("--worlds") >= FULL and config.getoption("--world-seed") is None:
        rare = coverage.rare(LEAST // shards)
        assert not rare, f"met too rarely: {rare}\n{coverage.report()}"
