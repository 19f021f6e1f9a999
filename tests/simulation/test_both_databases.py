"""The same world, played on SQLite and on PostgreSQL, is the same story to its end."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulation.scenario import Scenario
from tests.simulation.scenarios import scenario_of
from tests.simulation.stage import Stage
from tests.simulation.world import World

WORLDS = 10
"""The first ones to whose database nothing happens, and in which nobody counts statements."""


@pytest.fixture(scope="module")
def in_memory(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with django_db_blocker.unblock():
        yield Stage(tmp_path_factory.mktemp("memory"))


def undisturbed(scenario: Scenario) -> bool:
    return not scenario.strikes and all(t.what != "lock_database" for t in scenario.happenings)


def story(world: World) -> list[tuple[object, ...]]:
    """Return who said what when, without the fractions that a query more or less may cost."""
    return [(round(entry.at, 1), entry.stream, entry.seq, entry.kind) for entry in world.trail]


@pytest.mark.timeout(600)
def test_a_world_is_the_same_story_on_both(stage: Stage, in_memory: Stage) -> None:
    found = [seed for seed in range(100) if undisturbed(scenario_of(seed))]
    for seed in found[:WORLDS]:
        here, there = stage.play(seed), in_memory.play(seed)
        assert story(here) == story(there), f"seed {seed}"
        assert here.platform.sent == there.platform.sent, f"seed {seed}"
