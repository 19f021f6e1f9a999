"""What all tests share."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the number of worlds, or one seed, be chosen."""
    group = parser.getgroup("simulation")
    group.addoption("--worlds", type=int, default=1000, help="how many simulated worlds to play")
    group.addoption("--world-seed", type=int, default=None, help="play only the world of this seed")


@pytest.fixture(autouse=True, scope="session")
def _flush_spares_no_trail() -> Iterator[None]:
    """Let transactional tests empty the trail after themselves, which its triggers refuse."""
    triggers = import_module("plans.migrations.0002_trail_is_append_only")
    operations = type(connection.ops)
    original = operations.execute_sql_flush

    def flush(self: Any, sql_list: list[str]) -> None:
        with self.connection.schema_editor() as editor:
            triggers.drop_triggers(apps, editor)
        original(self, sql_list)
        with self.connection.schema_editor() as editor:
            triggers.create_triggers(apps, editor)

    operations.execute_sql_flush = flush  # type: ignore[assignment,method-assign]
    yield
    operations.execute_sql_flush = original  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def _own_data_folder(tmp_path: Path, settings: Any) -> None:
    """Keep what a test writes beside the database (reports, mail) out of the checkout."""
    settings.REPORTS_DIR = tmp_path / "reports"
    settings.EMAIL_FILE_PATH = str(tmp_path / "mail")
