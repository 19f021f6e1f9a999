"""REST: what an address asks and nobody reads, or nobody can, is refused with its name."""

import re
import uuid
from typing import Any

import pytest
from drf_spectacular.generators import SchemaGenerator

from plans.api.access import ConsoleView
from tests.web.api_scene import Scene, configure

pytestmark = pytest.mark.django_db
LISTS = ("plans", "releases", "tokens", "freezes", "drills")


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


def reading() -> dict[str, type[ConsoleView]]:
    """Return the view behind each address that can be read."""
    generator = SchemaGenerator()
    generator.parse(None, True)
    return {
        path: type(view)
        for path, _regex, method, view in generator._get_paths_and_endpoints()
        if method == "GET" and isinstance(view, ConsoleView)
    }


def problems(answer: Any) -> list[str]:
    assert answer.status_code == 400, answer.content
    return [error["field"] for error in answer.json()["errors"]]


def test_no_address_ignores_what_it_does_not_know(scene):
    client = scene.client(scene.ada)
    addresses = reading()
    assert len(addresses) > 30
    for path in addresses:
        where = re.sub(r"\{\w+\}", str(uuid.uuid4()), path)
        answer = client.get(where, {"nonsense": "1"})
        assert answer.status_code == 400, where
        assert problems(answer) == ["nonsense"]


def test_the_document_offers_what_is_read_and_nothing_else():
    document = SchemaGenerator().get_schema(request=None, public=True)
    for path, view in reading().items():
        told = document["paths"][path]["get"].get("parameters", [])
        offered = {one["name"] for one in told if one["in"] == "query"}
        forms = {"format"} if len(view.renderer_classes) > 1 else set()
        assert offered == set(view.query().fields) | forms, path


@pytest.mark.parametrize("name", LISTS)
def test_every_list_says_what_is_wrong_with_the_page_that_is_asked_for(scene, name):
    client, where = scene.client(scene.ada), f"/api/v1/{name}/"
    onwards = {"offset": "-1"} if name == "drills" else {"cursor": "rubbish"}

    assert client.get(where, {"limit": "200"}).status_code == 200
    for limit in ("0", "-1", "201", "many"):
        assert problems(client.get(where, {"limit": limit})) == ["limit"]
    assert problems(client.get(where, onwards)) == list(onwards)
    assert problems(client.get(f"{where}?limit=1&limit=2")) == ["limit"]
    told = client.get(where, {"stat": "draft", "limit": "x"})
    assert sorted(problems(told)) == ["limit", "stat"]


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("plans", {"state": "gone"}),
        ("plans", {"rehearsals": "perhaps"}),
        ("releases", {"state": "gone"}),
        ("freezes", {"stage": "gone"}),
        ("tokens", {"of": "nobody"}),
    ],
)
def test_a_filter_that_means_nothing_is_named(scene, name, asked):
    assert problems(scene.client(scene.ada).get(f"/api/v1/{name}/", asked)) == list(asked)


def test_a_page_goes_on_by_its_own_cursor(scene):
    client = scene.client(scene.ada)
    scene.client(scene.olga)
    first = client.get("/api/v1/tokens/", {"limit": "1", "of": "everybody"}).json()
    second = client.get(first["next"])
    assert second.status_code == 200
    assert second.json()["results"] != first["results"]
