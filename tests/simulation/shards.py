"""Play many worlds in a few tests, and tell of all that went wrong with its replay command."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from django.db import connection

from tests.simulation.coverage import LEAST, Coverage
from tests.simulation.scenarios import scenario_of
from tests.simulation.stage import Stage

AGAIN = {"sqlite": "./console test", "postgresql": ".venv/bin/python -m tests.postgres"}
FULL = 1000
"""From so many worlds on, the coverage is asked for."""
MOST_SHOWN = 10
PARTS = 4
"""Tests of a shard. With fewer than three left, a process of pytest-xdist takes the next file to
itself, which would wait for the worlds although others had the time for it."""


def seeds_of(config: pytest.Config, shard: int, shards: int) -> Sequence[int]:
    """Return the seeds of one shard; those of all shards are all."""
    only = config.getoption("--world-seed")
    if only is not None:
        return [only] if shard == 0 else []
    worlds = config.getoption("--worlds")
    return range(worlds * shard // shards, worlds * (shard + 1) // shards)


class Shard:
    """A share of the worlds, played in parts."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.coverage = Coverage()
        self.parts_played = 0
        self._seeds = seeds

    def play(self, stage: Stage, part: int) -> None:
        """Play a part's worlds; fail with the seeds in which something did not hold."""
        seeds, found = self._seeds[part::PARTS], []
        for seed in seeds:
            world = stage.play(seed)
            self.coverage.add(world)
            if world.problems:
                told = "".join(f"\n    {problem}" for problem in world.problems[:MOST_SHOWN])
                found.append(
                    f"seed {seed} ({scenario_of(seed).family}):{told}\n"
                    f"  again: {AGAIN[connection.vendor]} tests/simulation --world-seed {seed}"
                )
        self.parts_played += 1
        if found:
            shown = "\n".join(found[:MOST_SHOWN])
            pytest.fail(f"{len(found)} of {len(seeds)} worlds went wrong:\n{shown}", pytrace=False)


@contextmanager
def shard_of(config: pytest.Config, shard: int, shards: int) -> Iterator[Shard]:
    """Let a shard be played; when all of it was, its share of the coverage is asked for."""
    made = Shard(seeds_of(config, shard, shards))
    yield made
    all_of_it = config.getoption("--world-seed") is None and made.parts_played == PARTS
    if all_of_it and config.getoption("--worlds") >= FULL:
        rare = made.coverage.rare(LEAST // shards)
        assert not rare, f"met too rarely: {rare}\n{made.coverage.report()}"
