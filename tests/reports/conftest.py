"""What the tests of reports share."""

import pytest

from tests.reports.scene import Scene


@pytest.fixture
def scene(db, settings, tmp_path) -> Scene:
    """Return the cast with folders of their own."""
    settings.REPORTS_DIR = tmp_path / "reports"
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.ALERT_EVENT_URLS = []
    settings.DEPLOYERS_FILE = tmp_path / "deployers.yaml"
    settings.DEPLOYERS_FILE.write_text("deployers:\n  fleet: {kind: simulated}\n")
    return Scene()
