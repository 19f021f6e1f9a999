"""Secrets that older installations kept in the clear are sealed by the migration, and back."""

from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from plans.sealed_secrets import open_sealed

pytestmark = pytest.mark.django_db(transaction=True)
SECRET = "hook-s3cret-of-an-older-version"


def _executor() -> MigrationExecutor:
    """Return what knows the single migrations, as `migrate reports 0002` does, not their sum."""
    executor = MigrationExecutor(connection)
    executor.loader.replace_migrations = False
    executor.loader.build_graph()
    return executor


def _names() -> tuple[str, str]:
    """Return the migration that seals, and the one before it."""
    graph = _executor().loader.graph
    sealing = next(key for key in graph.nodes if key[1].endswith("endpoint_secrets_are_sealed"))
    (before,) = [key for key in graph.node_map[sealing].parents if key[0] == "reports"]
    return sealing[1], before.key[1]


def _migrate(name: str) -> Any:
    _executor().migrate([("reports", name)])
    return _executor().loader.project_state([("reports", name)]).apps


def test_a_secret_of_before_is_sealed_and_can_be_taken_back(tmp_path: Path, settings: Any) -> None:
    settings.SEALING_KEYS_FILE = tmp_path / "sealing_keys"
    sealing, before = _names()
    try:
        old = _migrate(before).get_model("reports", "Endpoint")
        old.objects.create(name="pager", url="https://example.com/hook", secret=SECRET)
        old.objects.create(name="unsigned", url="https://example.com/other", secret="")
        new = _migrate(sealing).get_model("reports", "Endpoint")
        stored = dict(new.objects.values_list("name", "sealed_secret"))
        assert stored["unsigned"] == ""
        assert SECRET not in stored["pager"]
        assert open_sealed(stored["pager"]) == SECRET
        old = _migrate(before).get_model("reports", "Endpoint")
        assert old.objects.get(name="pager").secret == SECRET
    finally:
        _executor().migrate([("reports", sealing)])
