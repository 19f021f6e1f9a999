"""A database that takes no write: whoever asks for something is told so and what to do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client

from plans.models import Plan
from plans.refusal import NO_ANSWER
from tests.web.api_scene import Scene, configure, post, started, url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@contextmanager
def nothing_is_written() -> Iterator[None]:
    """Let the driver refuse every change, as it does while somebody else holds the lock."""

    def refuse(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith(("INSERT", "UPDATE", "DELETE")):
            raise OperationalError("database is locked")
        return execute(sql, *rest)

    with connection.execute_wrapper(refuse):
        yield


def test_fault_04_the_api_answers_503_and_nothing_has_changed(scene):
    started(scene)
    olga = scene.client(scene.olga)
    with nothing_is_written():
        answer = post(olga, url("pause"))
    assert (answer.status_code, answer.json()["code"]) == (503, "database_away")
    assert answer.json()["detail"] == NO_ANSWER
    assert answer["Retry-After"] == "1"
    assert Plan.objects.get().state == "running"
    assert post(olga, url("pause")).status_code == 200


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_fault_04_a_page_says_it_to_people_and_to_its_script(scene, accept):
    plan = started(scene)
    olga = Client()
    olga.force_login(scene.olga)
    with nothing_is_written():
        answer = olga.post(f"/plans/{plan.pk}/pause/", headers={"accept": accept})
    assert answer.status_code == 503
    assert answer["Retry-After"] == "1"
    if accept == "text/html":
        assert "The database does not answer" in answer.content.decode()
        assert "Try again in a moment" in answer.content.decode()
    else:
        assert answer.json() == {"refused": True, "sentence": NO_ANSWER}
    assert Plan.objects.get().state == "running"


@contextmanager
def nothing_is_read() -> Iterator[None]:
    """Let the driver refuse everything, as it does when the server is away."""

    def refuse(*_call: Any) -> Any:
        raise OperationalError("unable to open database file")

    with connection.execute_wrapper(refuse):
        yield


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("/plans/", "The database does not answer"),
        ("/api/v1/plans/", NO_ANSWER),
    ],
)
def test_fault_04_a_database_that_is_away_altogether_is_no_mistake_of_the_console(
    scene, address, told
):
    started(scene)
    # Whoever is logged in: their session is read before any view is reached.
    olga = Client(raise_request_exception=False)
    olga.force_login(scene.olga)
    with nothing_is_read():
        answer = olga.get(address)
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    assert told in answer.content.decode()
