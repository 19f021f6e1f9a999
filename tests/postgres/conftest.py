"""These tests need PostgreSQL: `python -m tests.postgres` gives them a server."""

from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from tests.builders import FOREST, tenants
from tests.web.api_scene import Scene, configure

if connection.vendor != "postgresql":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture
def scene(transactional_db: Any, settings: Any, tmp_path: Path) -> Scene:
    """Return the cast, a trusted release, a policy and the tenants acorn to fir, all committed."""
    configure(settings, tmp_path)
    made = Scene()
    tenants(*FOREST)
    return made
