"""The stage on which the worlds are played."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.simulation.stage import Stage


@pytest.fixture(scope="session")
def built(django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Return the stage on which this process plays its worlds; built once."""
    with django_db_blocker.unblock():
        return Stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture
def stage(built: Stage, django_db_blocker: Any) -> Iterator[Stage]:
    """Return the stage."""
    with django_db_blocker.unblock():
        yield built
