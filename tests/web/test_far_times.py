"""Times at either end of the calendar are times like others: no page breaks on them."""

import pytest

from tests.web.api_scene import Scene, configure
from tests.web.page_scene import browser, submitted

pytestmark = pytest.mark.django_db
EARLIEST, LATEST = "0001-01-01", "9999-12-31"


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.mark.parametrize("form", ["", ".csv", ".jsonl"])
@pytest.mark.parametrize(
    "asked", [f"from={EARLIEST}", f"to={LATEST}", f"from={EARLIEST}&to={LATEST}"]
)
def test_the_trail(scene, form, asked):
    plan = submitted(scene)
    rita = browser(scene.rita)
    for page in ("/trail", f"/plans/{plan.pk}/trail"):
        answer = rita.get(f"{page}{form or '/'}?{asked}")
        assert answer.status_code == 200
        assert b"".join(answer) if answer.streaming else answer.content


@pytest.mark.parametrize(
    "asked",
    [
        f"since={EARLIEST}T00:00:00Z",
        f"until={LATEST}T23:59:59.999999Z",
        f"since={EARLIEST}T00:00:00%2B14:00",
        f"until={LATEST}T23:59:59-12:00",
    ],
)
def test_an_export(scene, asked):
    answer = scene.client(scene.rita).get(f"/api/v1/trail/export?{asked}")
    assert answer.status_code in {200, 400}
    assert b"".join(answer) if answer.streaming else answer.content


@pytest.mark.parametrize("at", [EARLIEST, f"{EARLIEST}T00:00:00%2B14:00", f"{EARLIEST}T00:00:00Z"])
def test_an_access_review(scene, at):
    rita = browser(scene.rita)
    for page in ("/access/", "/access.csv"):
        assert rita.get(f"{page}?at={at}").status_code in {200, 302, 422}
