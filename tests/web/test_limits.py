"""How much of a request is read, and how often one may ask; holding back is never refused."""

from typing import Any

import pytest
from django.core.cache import cache
from rest_framework.test import APIClient

from plans.api import throttle
from plans.api.throttle import COUNTS, SHARED_EVERY, Counts
from tests.web.api_scene import Scene, configure, started
from upgradeconsole.request_limits import LARGEST_BODY

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture
def still(monkeypatch):
    """Let the minute of the counts not end meanwhile."""
    monkeypatch.setattr(throttle.time, "time", lambda: 6_000_006.0)
    COUNTS.forget()
    yield
    COUNTS.forget()


def client_of(person) -> Any:
    client = APIClient()
    client.force_login(person)
    return client


def test_a_body_that_is_too_large_is_refused_before_it_is_read(scene):
    client = client_of(scene.mara)
    answer = client.generic(
        "POST", "/api/v1/releases/", b'{"a": "' + b"x" * LARGEST_BODY + b'"}',
        content_type="application/json",
    )  # fmt: skip
    assert (answer.status_code, answer["Content-Type"]) == (413, "application/problem+json")
    assert answer.json()["code"] == "too_large"
    page = client.post("/policies/check/", {"text": "x" * LARGEST_BODY})
    assert page.status_code == 413
    assert "larger than 1 MB; no more is taken here" in page.content.decode()
    assert "Nothing was carried out" in page.content.decode()


def test_a_body_of_unknown_length_is_refused(scene):
    answer = client_of(scene.mara).generic(
        "POST", "/api/v1/releases/", b"", headers={"transfer-encoding": "chunked"}
    )
    assert (answer.status_code, answer.json()["code"]) == (411, "length_required")


def test_a_length_that_is_no_number_is_refused(scene):
    answer = client_of(scene.mara).generic("POST", "/plans/new/", b"", CONTENT_LENGTH="many")
    assert answer.status_code == 413


def test_a_file_of_tenants_may_be_larger(scene):
    body = b"tenant,name\n" + b"acorn," + b"x" * LARGEST_BODY
    answer = client_of(scene.mara).generic(
        "POST", "/api/v1/tenants/import?dry_run=true", body, content_type="text/csv"
    )
    assert answer.status_code == 422, answer.content[:300]


@pytest.mark.usefixtures("still")
def test_who_asks_too_often_is_told_when_to_come_again(scene, settings):
    settings.API_PER_MINUTE = 3
    mara, olga = client_of(scene.mara), client_of(scene.olga)
    assert [mara.get("/api/v1/plans/").status_code for _ in range(4)] == [200, 200, 200, 429]
    answer = mara.get("/api/v1/plans/")
    assert answer.json()["code"] == "throttled"
    assert 0 < int(answer["Retry-After"]) <= 60
    assert olga.get("/api/v1/plans/").status_code == 200, "another person is not held up"


@pytest.mark.usefixtures("still")
def test_pausing_and_taking_back_are_never_refused_for_asking_too_often(scene, settings):
    plan = started(scene)
    settings.API_PER_MINUTE = 1
    olga = client_of(scene.olga)
    assert [olga.get("/api/v1/plans/").status_code for _ in range(2)] == [200, 429]
    for act in ("pause", "rollback", "stop"):
        answer = olga.post(f"/api/v1/plans/{plan.pk}/{act}", {"reason": "now"}, format="json")
        assert answer.status_code != 429, act
    assert olga.post(f"/api/v1/plans/{plan.pk}/resume", {}, format="json").status_code == 429


def test_processes_count_together():
    cache.clear()
    one, other = Counts(), Counts()
    for _ in range(SHARED_EVERY):
        counted = one.add("person-1", minute=7)
    assert counted == SHARED_EVERY
    assert other.add("person-1", minute=7) == SHARED_EVERY + 1
    assert other.add("person-2", minute=7) == 1
    assert other.add("person-1", minute=8) == 1, "a new minute begins anew"
