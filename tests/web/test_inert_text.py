"""Whatever people, platforms and machines write is text wherever it is shown.

Every column that holds words of others is filled with markup; then every page is read by a parser,
which finds none of it as an element, and most of it as text.
"""

from html.parser import HTMLParser
from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, models, transaction

from plans import events
from plans.access_review import access_review, as_csv
from tests.web.access_scene import OWN
from tests.web.api_scene import now
from tests.web.test_access_matrix import ENDPOINTS, Asker, asker

__all__ = ["asker"]
pytestmark = pytest.mark.django_db
MARKUP = "'\"><xss onload=x>"
WORDS = {
    *("name", "why", "ended_why", "decided_why", "owner_name", "notes", "note", "excluded_why"),
    *("comment", "reason", "sentence", "lifted_why", "voided_why", "review", "revoked_why"),
    *("state_why", "held_reason", "owner", "last_error", "set_aside_why", "answer", "problem"),
    *("trouble", "last_refusal", "last_by", "aftermath_sentence", "error", "version_observed"),
    *("outcome", "subject_id", "cause", "waiting_for", "source"),
}
# What these hold is a name that the console itself looks up again.
LOOKED_UP = {("Policy", "name"), ("Event", "sentence"), ("Event", "reason"), ("KpiFit", "source")}
SHOWN_AT_LEAST = 12
"""Pages on which the markup must stand as text; fewer, and the pages were not looked at."""


class Elements(HTMLParser):
    """Finds what of the markup became an element or an attribute, and counts it as text."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: list[str] = []
        self.as_text = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "xss" or any(name == "onload" for name, _value in attrs):
            self.alive.append(self.get_starttag_text() or tag)
        self.as_text += sum("<xss" in (value or "") for _name, value in attrs)

    def handle_data(self, data: str) -> None:
        self.as_text += data.count("<xss")


def read(page: str) -> Elements:
    found = Elements()
    found.feed(page)
    found.close()
    return found


def columns() -> list[tuple[type[models.Model], str]]:
    """Return the columns that hold words of others."""
    return [
        (model, field.name)
        for label in ("plans", "batches", "reports")
        for model in apps.get_app_config(label).get_models()
        for field in model._meta.fields
        if isinstance(field, models.CharField | models.TextField)
        and field.name in WORDS
        and not (field.choices or field.unique)
        and (model.__name__, field.name) not in LOOKED_UP
        and (field.max_length or 1000) > len(MARKUP)
    ]


def fill(scene: Any) -> int:
    """Write the markup past all forms, as if each of them had let it through."""
    filled, kept = 0, []
    for model, name in columns():
        try:
            with transaction.atomic():
                filled += model._base_manager.update(**{name: MARKUP})
        except DatabaseError:
            # What the database itself keeps as it is, nobody can write.
            kept.append(model.__name__)
    for plan in scene.plans.values():
        with transaction.atomic():
            events.record(
                stream=plan, kind="remark", sentence=MARKUP, actor=scene.ada, via="page",
                now=now(), payload={"note": MARKUP},
            )  # fmt: skip
    assert len(kept) < 10, kept
    return filled


def pages(asker: Asker) -> list[tuple[str, Any]]:
    ada, answers = asker.browser(asker.scene.ada), []
    for name, endpoint in sorted(ENDPOINTS.items()):
        if "GET" in endpoint.methods:
            given = {key: asker.sample(value) for key, value in endpoint.given.items()}
            answers.append((name, ada.get(asker.address(name, OWN, asker.scene.ada), given)))
    lists = [(m, m._meta.app_label) for m in apps.get_models() if m._meta.app_label in
             ("plans", "batches", "reports")]  # fmt: skip
    for model, label in lists:
        answers.append((f"admin {label}", ada.get(f"/admin/{label}/{model._meta.model_name}/")))
    answers.append(("plan-list", ada.get("/plans/", {"q": MARKUP})))
    answers.append(("trail", ada.get("/trail/", {"q": MARKUP})))
    return answers


def test_what_people_write_is_text_on_every_page(asker):
    assert fill(asker.scene) > 30
    asker.scene.ada.refresh_from_db()
    alive, shown = {}, set()
    for name, answer in pages(asker):
        assert answer.status_code < 500 or ENDPOINTS[name].own_is, name
        if not answer.get("Content-Type", "").startswith("text/html"):
            continue
        found = read(answer.content.decode())
        if found.alive:
            alive[name] = found.alive
        if found.as_text:
            shown.add(name)
    assert alive == {}
    assert len(shown) >= SHOWN_AT_LEAST, shown


def test_what_a_form_sends_back_is_text(asker):
    client = asker.browser(asker.scene.ada)
    sent = {"name": MARKUP, "key": MARKUP, "labels": MARKUP, "text": MARKUP, "reason": MARKUP}
    for where in ("/tenants/new/", "/policies/check/", "/freezes/new/", "/tokens/new/"):
        answer = client.post(where, sent, follow=True, HTTP_X_CSRFTOKEN="t" * 32)
        assert answer.status_code == 200, where
        found = read(answer.content.decode())
        assert found.alive == [], where
        assert found.as_text, where


def test_markup_that_is_alive_would_be_found():
    assert read(f'<p title="{MARKUP}">').alive
    assert not read("<p>&lt;xss onload=x&gt;").alive


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_a_review_is_a_formula(asker, begins):
    asker.scene.ada.name = f"{begins}1+1"
    asker.scene.ada.save()
    told = as_csv(access_review(at=now()))
    assert f"'{begins}1+1" in told
    assert f",{begins}1+1" not in told
