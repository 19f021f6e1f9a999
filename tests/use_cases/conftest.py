"""What the use cases start from."""

from pathlib import Path
from typing import Any

import pytest

from tests.builders import FOREST, tenants
from tests.web.api_scene import Scene, configure


@pytest.fixture
def scene(db: Any, settings: Any, tmp_path: Path) -> Scene:
    """Return the cast, a trusted release, a policy and the tenants acorn to fir."""
    configure(settings, tmp_path)
    made = Scene()
    tenants(*FOREST)
    return made
