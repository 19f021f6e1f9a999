"""The stage on which the worlds are played."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from tests.simulation.simulated_postgresql import OnServer, WorldOnServer
from tests.simulation.stage import Stage

GIVING_WAY = 5
"""Steps of `nice`: a third of what the others get, where these want all."""

if connection.vendor != "postgresql":
    collect_ignore = ["test_both_databases.py", "test_server_away.py"]


@pytest.fixture(scope="session")
def built(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """Return the stage on which this process plays its worlds; built once.

    The worlds' database is of the same kind as that of the other tests of the run.
    """
    with django_db_blocker.unblock():
        folder = tmp_path_factory.mktemp("stage")
        if connection.vendor == "postgresql":
            made = Stage(folder, OnServer(), WorldOnServer)
        else:
            made = Stage(folder)
    yield made
    with django_db_blocker.unblock():
        made.close()


@pytest.fixture(autouse=True)
def _others_first() -> Iterator[None]:
    """Leave the machine to tests that run against the real clock: a world knows none.

    Only where that can be taken back, for the next tests of this process may be such tests.
    """
    if os.geteuid() != 0:
        yield
        return
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, before + GIVING_WAY)
    yield
    os.setpriority(os.PRIO_PROCESS, 0, before)


@pytest.fixture
def stage(built: Stage, django_db_blocker: Any) -> Iterator[Stage]:
    """Return the stage."""
    with django_db_blocker.unblock():
        yield built
