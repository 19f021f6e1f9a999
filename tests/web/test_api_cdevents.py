"""REST: CDEvents in both modes of CloudEvents."""

import json

import pytest
from rest_framework.test import APIClient

from batches.models import PipelineEvent, PushedSeries
from tests.builders import a_draft
from tests.web.api_scene import DICTIONARY_TEXT, Scene, configure, now, person

pytestmark = pytest.mark.django_db
CDEVENTS = "/api/v1/cdevents/"
STRUCTURED = "application/cloudevents+json"
ATTRIBUTES = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "https://ci.example.org/shop",
    "type": "dev.cdevents.testsuiterun.finished.0.2.0",
}


def data():
    return {
        "context": {"timestamp": now().isoformat()},
        "subject": {
            "id": "run-7",
            "content": {"outcome": "pass", "environment": {"id": "acorn"}},
        },
        "customData": {"plugin": "pay", "version": "1.5.0"},
    }


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    settings.DICTIONARY_FILE.write_text(
        DICTIONARY_TEXT.replace(
            '{"fleet": {"kind": "simulated"}}',
            '{"fleet": {"kind": "simulated"}, "pipes": {"kind": "cdevents"}}',
        )
    )
    made = Scene()
    made.teo = person("Teo", console="telemetry")
    return made


@pytest.fixture
def teo(scene):
    return scene.client(scene.teo, scopes=["push"])


def structured(client, **changes):
    body = json.dumps(ATTRIBUTES | {"data": data()} | changes)
    return client.post(CDEVENTS, body, content_type=STRUCTURED)


def test_a_structured_event_counts_and_stands_on_the_plans_timeline(scene, teo):
    a_draft(scene)
    answer = structured(teo)
    assert answer.status_code == 202
    assert answer.json()["plans"] == ["pay-7"]
    assert "testsuiterun_pass_ratio" in answer.json()["metrics"]
    row = PushedSeries.objects.get(metric="testsuiterun_pass_ratio")
    assert (row.source, row.labels["tenant"], row.raw) == ("pipes", "acorn", [1.0])
    again = structured(teo)
    assert (again.status_code, again.json()["known_already"]) == (202, True)


def test_a_binary_event_is_the_same(teo):
    headers = {f"HTTP_CE_{name.upper()}": value for name, value in ATTRIBUTES.items()}
    headers["HTTP_CE_SOURCE"] = "https://ci.example.org/sh%20op"
    answer = teo.post(CDEVENTS, data(), format="json", **headers)
    assert answer.status_code == 202, answer.json()
    assert PipelineEvent.objects.get().origin == "https://ci.example.org/sh op"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"type": "com.example.done"}, "no type of a CDEvent"),
        ({"specversion": "2"}, "specversion"),
        ({"data": None}, "data: write the CDEvent"),
        ({"id": None}, "id: write a text"),
    ],
)
def test_each_mistake_is_named(teo, changes, said):
    answer = structured(teo, **changes)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert not PipelineEvent.objects.exists()


def test_batches_and_other_forms_are_refused(teo):
    assert teo.post(CDEVENTS, "[]", content_type=STRUCTURED).status_code == 422
    batch = "application/cloudevents-batch+json"
    assert teo.post(CDEVENTS, "[]", content_type=batch).status_code == 415
    assert teo.get(CDEVENTS).status_code == 405


def test_sending_takes_a_token_with_the_right(scene):
    for client, status in (
        (APIClient(), 401),
        (scene.client(scene.rita), 403),
        (scene.client(scene.nils), 403),
        (scene.client(scene.olga, scopes=["read"]), 403),
    ):
        assert structured(client).status_code == status
    assert not PipelineEvent.objects.exists()
