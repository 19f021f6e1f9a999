"""The trail's pages: the chain's check, filters and the export."""

import csv
import io

import pytest
from django.test import Client
from django.urls import reverse

from plans import approval
from plans.models import Event, Stream
from plans.pages_trail import guarded
from tests.web.api_scene import Scene, configure, now
from tests.web.page_scene import browser, draft, submitted, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


@pytest.fixture
def rita(scene: Scene) -> Client:
    return browser(scene.rita)


def rows_of(answer) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(answer.content.decode())))


def test_an_auditor_sees_the_systems_trail_and_that_it_is_intact(rita):
    shown = text_of(rita.get("/trail/"))
    assert "The chain is intact." in shown
    assert "pay 1.5.0 was registered" in shown


def test_a_head_that_does_not_fit_is_told_with_its_place(rita):
    length = Event.objects.filter(stream__key="system").count()
    Stream.objects.filter(key="system").update(head_seq=length + 1)
    shown = text_of(rita.get("/trail/"))
    assert f"The chain is broken at event {length + 1}: the tail was cut." in shown


def test_a_long_chain_is_checked_when_asked(rita, monkeypatch):
    monkeypatch.setattr("plans.pages_trail.CHECKED_UNASKED", 1)
    assert "Check the chain now" in text_of(rita.get("/trail/"))
    assert "The chain is intact." in text_of(rita.get("/trail/?check=1"))


def test_a_plans_trail_is_for_all_who_see_the_plan(scene):
    plan = submitted(scene)
    shown = text_of(browser(scene.olga).get(reverse("plan-trail", args=[plan.pk])))
    assert "Mara drafted winter" in shown
    assert "The chain is intact." in shown


def test_filters_narrow_by_kind_person_and_words(scene, rita):
    plan = submitted(scene)
    approval.approve(plan_id=plan.pk, approver=scene.aram, now=now(), via="page")
    trail = reverse("plan-trail", args=[plan.pk])

    def kinds(query: str) -> list[str]:
        return [event.kind for event in rita.get(f"{trail}?{query}").context["page"]]

    assert kinds("") == ["approval_given", "plan_submitted", "plan_drafted"]
    assert kinds("who=Aram") == ["approval_given"]
    assert kinds("kind=plan_drafted") == ["plan_drafted"]
    assert kinds("q=asked+for") == ["plan_submitted"]


def test_the_export_holds_the_filtered_events_oldest_first_with_their_hashes(scene, rita):
    plan = submitted(scene)
    export = reverse("plan-trail-csv", args=[plan.pk])
    answer = rita.get(export)
    rows = rows_of(answer)
    assert [row["seq"] for row in rows] == ["1", "2"]
    assert rows[1]["prev_hash"] == rows[0]["hash"]
    assert answer["Content-Disposition"].startswith('attachment; filename="trail-winter-')
    assert [row["kind"] for row in rows_of(rita.get(f"{export}?kind=plan_drafted"))] == [
        "plan_drafted"
    ]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@sum", "\t=1", "\r=1"])
def test_no_cell_of_the_export_is_a_formula(cell):
    assert guarded(cell) == f"'{cell}"
    assert guarded("a=1") == "a=1"


def test_a_reason_that_is_a_formula_leaves_the_export_guarded(scene, rita):
    scene.mara.name = "=HYPERLINK(1)"
    scene.mara.save()
    plan = draft(scene)
    (row,) = rows_of(rita.get(reverse("plan-trail-csv", args=[plan.pk])))
    assert row["actor"] == "'=HYPERLINK(1)"
    assert row["sentence"].startswith("'=HYPERLINK(1) drafted")


def test_the_systems_trail_is_for_auditors_and_administrators(scene):
    for person in (scene.mara, scene.olga, scene.nils):
        client = browser(person)
        assert client.get("/trail/").status_code == 403
        assert client.get("/trail.csv").status_code == 403
    assert browser(scene.ada).get("/trail.csv").status_code == 200


def test_a_stranger_does_not_learn_that_a_plan_has_a_trail(scene, rita):
    plan = draft(scene)
    nils = browser(scene.nils)
    assert nils.get(reverse("plan-trail", args=[plan.pk])).status_code == 404
    assert nils.get(reverse("plan-trail-csv", args=[plan.pk])).status_code == 404
    assert rita.post("/trail/").status_code == 405
