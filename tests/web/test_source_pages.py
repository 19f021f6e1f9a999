"""The page and the endpoint of the metric sources."""

from datetime import timedelta

import pytest

from batches.models import PipelineEvent, PushedSource, SourceState
from tests.builders import a_draft
from tests.web.api_scene import DICTIONARY_TEXT, Scene, configure, now, person
from tests.web.page_scene import browser, text_of

pytestmark = pytest.mark.django_db
PAGE, API = "/sources/", "/api/v1/sources/"
SOURCES = """{"fleet": {"kind": "prometheus", "url": "https://prom.example.org/x?key=s3cret"},
 "ci": {"kind": "push", "max_series": 100}, "pipes": {"kind": "cdevents"}}"""


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    settings.DICTIONARY_FILE.write_text(
        DICTIONARY_TEXT.replace('{"fleet": {"kind": "simulated"}}', SOURCES)
    )
    return Scene()


def state(**more):
    values = {"name": "fleet", "since": now(), "read_at": now(), "answered_at": now()} | more
    return SourceState.objects.create(**values)


def test_every_source_is_shown_with_what_it_is_for(scene):
    state()
    page = text_of(browser(scene.rita).get(PAGE))
    assert "Answers" in page
    assert "error_rate" in page
    assert "/otlp/ci/v1/metrics" in page
    assert "Nothing was sent yet" in page
    assert "s3cret" not in page
    shown = {one["name"]: one for one in scene.client(scene.rita).get(API).json()}
    assert list(shown) == ["fleet", "ci", "pipes"]
    assert shown["fleet"]["where"] == "https://prom.example.org/x"
    assert shown["fleet"]["kpis"] == ["error_rate"]
    assert (shown["fleet"]["health"], shown["fleet"]["state"]["breaker"]) == ("fine", "closed")
    assert shown["ci"]["pushed"] is None


def test_a_source_that_is_left_alone_says_so_and_why(scene):
    state(state="open", failures=7, cause="source_down", sentence="HTTP 503", answered_at=None)
    page = text_of(browser(scene.olga).get(PAGE))
    assert "Down" in page
    assert "HTTP 503" in page
    assert "left alone after 7 failures" in page
    [fleet, *_] = scene.client(scene.olga).get(API).json()
    assert (fleet["health"], fleet["state"]["cause"]) == ("no_data", "source_down")


def test_a_source_that_nobody_reads_now_is_not_called_good(scene):
    state(read_at=now() - timedelta(minutes=5))
    assert "Not read now" in text_of(browser(scene.olga).get(PAGE))


def test_what_was_sent_and_refused_is_shown(scene):
    PushedSource.objects.create(
        name="ci", series=12, accepted=34567, refused=2, last_refusal="late: too old",
        last_at=now(), last_by="Teo",
    )  # fmt: skip
    page = text_of(browser(scene.rita).get(PAGE))
    assert "34,567" in page
    assert "2 refused, the last: late: too old" in page
    ci = scene.client(scene.rita).get(API).json()[1]
    assert (ci["pushed"]["accepted"], ci["pushed"]["last_by"]) == (34567, "Teo")


@pytest.mark.parametrize(
    ("name", "ago", "health", "label"),
    [
        ("ci", 80, "fine", "Receives"),
        ("ci", 100, "no_data", "Silent"),
        ("pipes", 100, "fine", "Receives"),
        ("pipes", 3700, "undecided", "Nothing sent lately"),
    ],
)
def test_a_source_that_is_sent_to_is_as_good_as_what_came_last(scene, name, ago, health, label):
    state(name=name, cause="" if health == "fine" else "name_gone")
    PushedSource.objects.create(name=name, last_at=now() - timedelta(seconds=ago))
    shown = {one["name"]: one for one in scene.client(scene.rita).get(API).json()}
    assert (shown[name]["health"], shown[name]["label"]) == (health, label)


def test_what_pipelines_told_is_shown_to_those_who_may_see_the_plan(scene):
    a_draft(scene)
    PipelineEvent.objects.create(
        origin="ci", event_id="1", kind="build.finished", sentence="Build x finished.",
        at=now(), received_at=now(), plans=["pay-7"],
    )  # fmt: skip
    page = text_of(browser(scene.rita).get(PAGE))
    assert "Build x finished." in page
    assert ">pay-7</a>" in page
    eve = person("Eve", console="viewer")
    eve.role_bindings.update(selector={"region": "mars"})
    assert "Build x finished." not in text_of(browser(eve).get(PAGE))


def test_a_broken_dictionary_is_told_with_its_problems(scene, settings):
    settings.DICTIONARY_FILE.write_text("{")
    page = text_of(browser(scene.rita).get(PAGE))
    assert "cannot be used" in page
    assert "not JSON" in page
    assert scene.client(scene.rita).get(API).status_code == 422


def test_the_page_is_for_people_who_may_look(scene, client):
    assert client.get(PAGE).status_code == 302
    assert browser(scene.nils).get(PAGE).status_code == 403
    assert browser(person("Teo", console="telemetry")).get(PAGE).status_code == 403
    assert scene.client(scene.nils).get(API).status_code == 403
    assert browser(scene.rita).post(PAGE).status_code == 405
    assert scene.client(scene.rita).post(API).status_code == 405
