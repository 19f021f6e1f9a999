"""The API does what its own OpenAPI document says, whatever is sent to it, and by whom.

What is sent is made of the document: values of the right kind, and among them what breaks parsers.
No answer is an error of ours, none is of a status or a form that the document does not name.
"""

import json
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.db import transaction
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from tests.web.access_scene import OTHER, OWN, TwoSides
from tests.web.api_scene import configure

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
TRIES = 120
# What the doors before an endpoint answer, the same at each of them.
OF_THE_DOORS = {"401", "403", "404", "405", "406", "411", "413", "415", "429"}
MALICE = st.sampled_from(
    [
        *(None, True, False, 0, -1, 10**30, -(10**19), 1e308, float("inf"), float("nan"), 0.1),
        *("", " ", "\x00", "\ud800", "x" * 5000, "'\"><xss>", "' OR 1=1 --", "../../etc/passwd"),
        *("NaN", "1e999", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "\u202etxt.exe"),
        *([], {}, [[]], [None], {"": None}, {"$ref": "#"}, {"a": {"b": {"c": []}}}),
    ]
)


@cache
def document() -> dict[str, Any]:
    told: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return told


@cache
def operations() -> list[tuple[str, str]]:
    return [(path, method) for path, entry in document()["paths"].items() for method in entry]


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def fitting(schema: dict[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    """Return values that the schema means, with malice here and there inside."""
    schema = resolved(schema)
    for several in ("oneOf", "anyOf", "allOf"):
        if several in schema:
            return st.one_of([fitting(one, depth + 1) for one in schema[several]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object" or "properties" in schema:
        return _object(schema, depth)
    if kind == "array":
        return st.lists(part(schema.get("items", {}), depth + 1), max_size=3)
    if kind == "integer":
        return st.integers(schema.get("minimum", -5), schema.get("maximum", 10**6))
    if kind == "number":
        return st.floats(-10, 10**6)
    if kind == "boolean":
        return st.booleans()
    return {
        "date-time": st.datetimes().map(lambda at: f"{at.isoformat()}Z"),
        "uuid": st.uuids().map(str),
        "email": st.emails(),
    }.get(
        schema.get("format", ""),
        st.one_of(st.text(max_size=30), st.sampled_from(["pay", "1.5.0", "acorn", "fleet"])),
    )


def part(schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    if depth > 4:
        return MALICE
    # One in four is wrong: were each as likely, hardly a body would be right in all but one place.
    fits = fitting(schema, depth)
    return st.integers(0, 3).flatmap(lambda dice: MALICE if dice == 0 else fits)


def _object(schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    properties, required = schema.get("properties", {}), set(schema.get("required", ()))
    if not properties:
        return st.dictionaries(st.text(max_size=8), MALICE, max_size=2)
    made = {name: part(inner, depth + 1) for name, inner in properties.items()}
    return st.fixed_dictionaries(
        {name: one for name, one in made.items() if name in required},
        optional={name: one for name, one in made.items() if name not in required},
    )


def names_something(text: str) -> bool:
    """Tell whether an address with this part is not another address."""
    return bool(text.strip("/."))


class Sender:
    """Sends to an operation and says what is wrong with the answer."""

    def __init__(self, scene: TwoSides, who: Any) -> None:
        self.client = Client(raise_request_exception=False)
        self.client.force_login(who)
        self.names: dict[str, list[Any]] = {
            "plan": [scene.plans[OWN].pk, scene.plans[OTHER].pk, scene.waiting[OWN].pk, "in-eu"],
            "release": [scene.release.pk],
            "schedule": [scene.schedules[OWN].pk],
            "drill": [scene.drills[OWN].pk],
            "freeze": [scene.freezes[OWN].pk],
            "asked": [scene.request.pk],
            "person": ["nils@example.org"],
            "kpi": ["error_rate"],
            "name": ["safe-rollout"],
            "key": [scene.key.key_id],
            "source": ["fleet"],
        }

    def send(self, draw: Any, path: str, method: str) -> str:
        operation = document()["paths"][path][method]
        headers, query, where = {"accept": "application/json"}, {}, path
        for given_as in operation.get("parameters", ()):
            name, schema = given_as["name"], given_as.get("schema", {})
            if given_as["in"] == "path":
                # Half of them are there: else little but 404 would be tried.
                odd = st.one_of(fitting(schema), MALICE).map(str).filter(names_something)
                there: list[Any] = self.names.get(name, ["nowhere"])
                known = st.sampled_from(there).map(str)
                value = draw(known) if draw(st.booleans()) else draw(odd)
                part_of = quote(value.encode(errors="replace"), safe="")
                where = where.replace(f"{{{name}}}", part_of)
            elif given_as["in"] == "query" and draw(st.booleans()):
                query[name] = str(draw(part(schema, 1))).encode(errors="replace")
        if query:
            where += f"?{urlencode(query)}"
        content = operation.get("requestBody", {}).get("content", {})
        kind = draw(st.sampled_from(sorted(content))) if content else "application/json"
        schema = content.get(kind, {}).get("schema", {})
        body = draw(st.one_of(fitting(schema), MALICE)) if method != "get" else None
        data = b"" if body is None else _bytes(body, kind)
        # As pytest's own: a code is used up in a transaction that must be the product's outermost.
        block = transaction.atomic()
        block._from_testcase = True
        with block:
            answer = self.client.generic(
                method.upper(), where, data, content_type=kind, headers=headers
            )
            text = b"".join(answer.streaming_content) if answer.streaming else answer.content
            transaction.set_rollback(True)
        wrong = judged(operation, answer, text)
        return f"{method.upper()} {where} {data[:300]!r}: {wrong}" if wrong else ""


def _bytes(body: Any, kind: str) -> bytes:
    if "json" in kind or not isinstance(body, str):
        return json.dumps(body).encode()
    return body.encode(errors="replace")


def judged(operation: dict[str, Any], answer: Any, text: bytes) -> str:
    """Return what is wrong with an answer, nothing when it is as the document says."""
    status, kind = str(answer.status_code), answer.get("Content-Type", "").partition(";")[0]
    if answer.status_code >= 500 and status not in operation["responses"]:
        return f"{status} {text[:300]!r}"
    if status not in operation["responses"]:
        return "" if status in OF_THE_DOORS else f"{status} is not in the document: {text[:300]!r}"
    content = operation["responses"][status].get("content", {})
    if not content:
        return ""
    if kind not in content:
        # Whatever an endpoint answers, its door refuses as a problem.
        return "" if kind == "application/problem+json" else f"{status} is {kind}"
    if kind not in ("application/json", "application/problem+json"):
        return ""
    schema = content[kind].get("schema", {}) | {"components": document()["components"]}
    error = next(Draft202012Validator(schema).iter_errors(json.loads(text)), None)
    if error is None:
        return ""
    return f"{status} is not as the document says: {error.message[:300]} at {error.json_path}"


@pytest.fixture
def scene(settings, tmp_path) -> TwoSides:
    configure(settings, tmp_path)
    return TwoSides()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ["administrator", "release_manager", "operator", "auditor"])
def test_the_api_answers_as_its_document_says(scene, role):
    sender = Sender(scene, scene.ada if role == "administrator" else scene.people[role])
    wrong: list[str] = []

    @settings(
        max_examples=TRIES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def send_something(data: st.DataObject) -> None:
        path, method = data.draw(st.sampled_from(operations()))
        if found := sender.send(data.draw, path, method):
            wrong.append(found)

    send_something()
    assert not wrong, f"{len(wrong)} answers are wrong:\n" + "\n".join(wrong[:20])


@pytest.mark.timeout(300)
def test_every_operation_is_tried_at_least_once(scene):
    sender = Sender(scene, scene.ada)
    wrong: list[str] = []

    @settings(
        max_examples=2,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def send_to_each(data: st.DataObject) -> None:
        for path, method in operations():
            if found := sender.send(data.draw, path, method):
                wrong.append(found)

    assert len(operations()) > 80
    send_to_each()
    assert not wrong, f"{len(wrong)} answers are wrong:\n" + "\n".join(wrong[:20])


def test_a_token_that_nobody_gave_opens_nothing(scene):
    opened = []
    for path, method in operations():
        where = path.replace("{plan}", str(scene.plans[OWN].pk)).replace("{", "").replace("}", "")
        answer = Client().generic(method.upper(), where, headers={"authorization": "Bearer no"})
        if answer.status_code not in (401, 404):
            opened.append(f"{method} {where}: {answer.status_code}")
    assert not opened
