"""Whatever people, platforms and machines write is text wherever it is shown.

Every column that holds words of others is filled; then every page is read by a parser, which finds
none of it as an element, a handler or a link, and most of it as text. That browsers read the pages
as the parser does: tests/journeys/test_inert_in_a_browser.py.
"""

import csv
import io
from html.parser import HTMLParser
from typing import Any

import pytest
from django.apps import apps

from plans.people.access_review import access_review, as_csv
from tests.web.access_scene import OWN
from tests.web.api_scene import now
from tests.web.hostile_text import (
    ELSEWHERE,
    FORMULAS,
    JSON,
    JSON_KEPT,
    KEPT,
    PIECES,
    SHORT,
    be_everything,
    fill,
    hostile,
    json_columns,
    text_columns,
)
from tests.web.test_access_matrix import ENDPOINTS, TOKEN, Asker, asker

__all__ = ["asker"]
pytestmark = pytest.mark.django_db
SHOWN_AT_LEAST = 25
"""Pages on which the markup must stand as text; fewer, and the pages were not looked at."""
NO_TEXT = {"access-review-pdf", "api-schema"}
"""Slow to make, and a browser reads neither as a page (the PDF: tests/reports)."""
LEADS = {"href", "src", "action", "formaction", "xlink:href", "hx-get", "hx-post", "data", "poster"}


class Elements(HTMLParser):
    """Finds what of the text became an element, a handler or a link, and counts it as text."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: list[str] = []
        self.as_text = 0
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        leads = [str(given[name]).strip().lower() for name in LEADS & set(given)]
        if (
            tag == "xss"
            or any(name.startswith("on") for name in given)
            or any(to.startswith("javascript:") or f"//{ELSEWHERE}" in to for to in leads)
        ):
            self.alive.append(self.get_starttag_text() or tag)
        self.as_text += sum("<xss" in (value or "") for value in given.values())
        if tag == "form":
            self.forms.append(Form(given.get("action") or "", given.get("method") or "get"))
        elif self.forms and tag in ("input", "textarea", "select") and given.get("name"):
            self.forms[-1].take(tag, given)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form" and self.forms:
            self.forms[-1].closed = True

    def handle_data(self, data: str) -> None:
        self.as_text += data.count("<xss")


class Form:
    """A form of a page: where it goes, and what of it is text that somebody types."""

    def __init__(self, action: str, method: str) -> None:
        self.action, self.method, self.closed = action, method.lower(), False
        self.kept: dict[str, str] = {}
        self.typed: set[str] = set()

    def take(self, tag: str, given: dict[str, str | None]) -> None:
        kind = given.get("type") or "text"
        if self.closed or kind in ("submit", "button", "file", "password"):
            return
        if kind in ("hidden", "checkbox", "radio"):
            self.kept[str(given["name"])] = given.get("value") or ""
        else:
            self.typed.add(str(given["name"]))


def read(page: str) -> Elements:
    found = Elements()
    found.feed(page)
    found.close()
    return found


def pages(asker: Asker) -> list[tuple[str, str, Any]]:
    """Return the name, the address and the answer of every page, the admin's lists too."""
    ada, answers = asker.browser(asker.scene.ada), []
    for name, endpoint in sorted(ENDPOINTS.items()):
        if "GET" in endpoint.methods and name not in NO_TEXT:
            given = {key: asker.sample(value) for key, value in endpoint.given.items()}
            where = asker.address(name, OWN, asker.scene.ada)
            answers.append((name, where, ada.get(where, given)))
    for model in apps.get_models():
        label = model._meta.app_label
        if label in ("plans", "batches", "reports"):
            where = f"/admin/{label}/{model._meta.model_name}/"
            answers.append((f"admin {label}", where, ada.get(where)))
    return answers


@pytest.fixture
def everything(asker) -> Asker:
    """Let no page be closed to Ada."""
    be_everything(asker.scene.ada)
    return asker


def is_page(answer: Any) -> bool:
    return str(answer.get("Content-Type", "")).startswith("text/html")


def body(answer: Any) -> str:
    return b"".join(answer).decode() if answer.streaming else answer.content.decode()


def test_every_column_is_filled_or_said_to_hold_no_words():
    """A new column is filled by itself; KEPT and JSON say why one is not."""
    known = {f"{model.__name__}.{field.name}" for model, field in text_columns()}
    assert set(KEPT) - known == set()
    in_json = JSON_KEPT | set(JSON) | {"Event.payload"}
    assert json_columns() ^ in_json == set()


def test_what_people_write_is_text_on_every_page(everything):
    asker = everything
    assert fill(asker.scene) == []
    asker.scene.ada.refresh_from_db()
    alive, shown = {}, set()
    for name, where, answer in pages(asker):
        assert answer.status_code < 500 or name == "report", where  # whose file is not there
        if not is_page(answer):
            continue
        found = read(answer.content.decode())
        if found.alive:
            alive[name] = found.alive
        if found.as_text:
            shown.add(name)
    assert alive == {}
    assert len(shown) >= SHOWN_AT_LEAST, sorted(shown)


def test_what_is_typed_into_any_field_of_any_form_comes_back_as_text(everything):
    """The fields are those of the pages themselves; what is wrong with them is said in text."""
    asker = everything
    client, said = asker.browser(asker.scene.ada), 0
    for name, where, answer in pages(asker):
        if not is_page(answer) or name.startswith("admin"):
            continue
        for form in read(answer.content.decode()).forms:
            if not form.typed:
                continue
            sent = form.kept | dict.fromkeys(form.typed, hostile(100))
            ask = client.post if form.method == "post" else client.get
            client.cookies["csrftoken"] = TOKEN
            sent["csrfmiddlewaretoken"] = TOKEN
            back = ask(form.action or where, sent, follow=True, HTTP_X_CSRFTOKEN=TOKEN)
            assert back.status_code < 500, (name, form.action)
            if is_page(back):
                found = read(back.content.decode())
                assert found.alive == [], (name, form.action)
                said += bool(found.as_text)
    assert said > 10


def test_text_that_is_alive_would_be_found():
    assert read(f'<p title="{SHORT}">').alive
    assert read(f'<a href="{PIECES[0][:20]}">').alive
    assert not read("<p>&lt;xss onload=x&gt;").alive
    assert read('<form><input name="q"><textarea name="t"></form>').forms[0].typed == {"q", "t"}


def tables(asker: Asker) -> list[tuple[str, Any]]:
    """Return every address that answers with CSV, whichever there are."""
    ways = [({}, name, where) for name, where, answer in pages(asker) if is_csv(answer)]
    ways += [({"form": "csv"}, name, asker.address(name, OWN, asker.scene.ada))
             for name in ("api-trail-export", "api-plan-trail")]  # fmt: skip
    return [(f"{where} {given}", given | {"": where}) for given, _name, where in ways]


def is_csv(answer: Any) -> bool:
    return str(answer.get("Content-Type", "")).startswith("text/csv")


def test_no_cell_of_any_table_that_is_downloaded_is_a_formula(asker):
    ada, found = asker.browser(asker.scene.ada), tables(asker)
    assert len(found) >= 5
    for begins in FORMULAS:
        text = f"{begins}HYPERLINK(1)"
        fill(asker.scene, text=text)
        for name, asked in found:
            given = {key: value for key, value in asked.items() if key}
            answer = ada.get(asked[""], given)
            assert is_csv(answer), name
            lines = csv.reader(io.StringIO(body(answer), newline=""))
            cells = [cell for line in lines for cell in line]
            assert f"'{text}" in cells, name
            assert not [cell for cell in cells if cell.startswith(FORMULAS)], name


def test_no_cell_of_a_review_is_a_formula(asker):
    asker.scene.ada.name = "=1+1"
    asker.scene.ada.save()
    told = as_csv(access_review(at=now()))
    assert "'=1+1" in told
    assert ",=1+1" not in told
