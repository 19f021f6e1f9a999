"""The main navigation shows the places that somebody may open, and says where one is."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from plans.models.rights import bindings_read_once
from plans.people.permissions import may
from plans.templatetags.console_words import browser_words, counted
from tests.web.api_scene import Scene
from tests.web.page_scene import browser, text_of


@pytest.fixture
def scene(db) -> Scene:
    return Scene()


def places(client: Client) -> set[str]:
    shown = text_of(client.get("/plans/"))
    nav = shown[shown.index('aria-label="Main"') : shown.index("</nav>")]
    return {part.partition('"')[0] for part in nav.split('href="')[1:]}


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("olga", set()),
        ("rita", {"/trail/", "/access/"}),
        ("ada", {"/trail/", "/access/", "/admin/"}),
    ],
)
def test_each_place_that_is_shown_opens_and_no_other_is(scene, name, more):
    client = browser(getattr(scene, name))
    shown = places(client)
    assert shown & {"/trail/", "/access/", "/admin/"} == more
    assert {"/plans/", "/approvals/", "/sources/", "/break-glass/", "/api/docs/"} < shown
    for place in shown:
        assert client.get(place).status_code == 200, place


@pytest.mark.parametrize("place", ["/approvals/", "/kpis/", "/calibration/", "/trail/"])
def test_the_place_where_one_is_is_marked(scene, place):
    shown = text_of(browser(scene.rita).get(place))
    assert f'<a href="{place}" aria-current="page">' in shown
    assert shown.count('aria-current="page"') == 1


def test_one_of_a_kind_is_said_in_the_singular():
    told = [counted(1, "tenants"), counted(3, "tenants"), counted(0, "plans"), counted(1, "people")]
    assert told == ["1 tenant", "3 tenants", "0 plans", "1 person"]
    assert counted(1, "batches") == "1 batch"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
            " Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
            "Firefox on Linux",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15"
            " (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        ("curl/8.1", "curl"),
        ("something else", "something else"),
        ("", "unknown"),
    ],
)
def test_a_session_names_its_browser_as_people_do(agent, words):
    assert browser_words(agent) == words


def test_the_frame_of_a_page_reads_roles_once_however_much_waits(scene):
    client = browser(scene.aram)
    with CaptureQueriesContext(connection) as asked:
        assert client.get("/nowhere/").status_code == 404
    roles = [one["sql"] for one in asked if 'FROM "plans_rolebinding"' in one["sql"]]
    assert len(roles) == 1, roles


def test_what_is_read_once_counts_no_longer_than_it_is_shown(scene):
    with bindings_read_once():
        assert may(scene.rita, "read_trail")
        scene.rita.role_bindings.update(ended_at=timezone.now())
        assert may(scene.rita, "read_trail")
    assert not may(scene.rita, "read_trail")
