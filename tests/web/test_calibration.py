"""Calibration: measured beside quoted, for those who may see the plans."""

from datetime import timedelta

import pytest

from batches.models import DeployerMeasurement, Rollback
from plans.models import Plan, RoleBinding
from tests.web.api_scene import Scene, configure, now, started
from tests.web.page_scene import browser, text_of

pytestmark = pytest.mark.django_db
PAGE = "/calibration/"
API = "/api/v1/calibration"


@pytest.fixture
def scene(settings, tmp_path) -> Scene:
    configure(settings, tmp_path)
    return Scene()


def went_back(plan: Plan, seconds: float | None, *, quoted: float | None = 30.0, **more) -> None:
    at = now() - timedelta(minutes=5)
    values = {
        "scope": "plan",
        "trigger": "breach",
        "via": "watch",
        "reason": "bad",
        "triggered_at": at,
        "clock_from": at,
        "deadline": at + timedelta(seconds=180),
        "touched": 3,
        "quote_seconds": quoted,
        "expected_seconds": 9.0,
        "verified_at": at + timedelta(seconds=seconds) if seconds is not None else None,
        "finished_at": at + timedelta(seconds=200),
    }
    Rollback.objects.create(plan=plan, **(values | more))


def test_before_the_first_rollback_the_page_says_so_and_what_counts_until_then(scene):
    page = text_of(browser(scene.rita).get(PAGE))
    assert "No rollback yet" in page
    assert "20 more calls until the measured ones count" in page


def test_measured_stands_beside_quoted_with_what_went_wrong(scene):
    plan = started(scene)
    went_back(plan, 10.0)
    went_back(plan, 40.0)
    went_back(plan, None, missed_at=now())
    page = text_of(browser(scene.rita).get(PAGE))
    assert "10.0 s" in page
    assert "40.0 s, longer than quoted" in page
    assert "not all were read back" in page
    assert page.count("scatter-mark is-") == 2
    assert '1 <span class="muted small">of 2</span>' in page


def test_rollbacks_without_a_quote_or_still_running_are_left_out(scene):
    plan = started(scene)
    went_back(plan, 10.0, quoted=None)
    went_back(plan, 10.0, finished_at=None)
    assert "No rollback yet" in text_of(browser(scene.rita).get(PAGE))


def test_a_drill_is_marked(scene):
    went_back(started(scene), 10.0, trigger="drill")
    assert '<span class="chip">drill</span>' in text_of(browser(scene.rita).get(PAGE))


def test_the_same_over_rest(scene):
    went_back(started(scene), 40.0)
    DeployerMeasurement.objects.create(
        deployer="fleet", direction="restore", count=25, durations=[0.5] * 25
    )
    (told,) = scene.client(scene.rita).get(API).json()
    assert (told["deployer"], told["calls_missing"]) == ("fleet", 0)
    assert told["restore"] == {"worst": 0.5, "usual": 0.5, "measured": 25}
    assert told["look"] is None
    assert told["accuracy"]["over_quote"] == 1
    assert told["past"][0]["seconds"] == 40.0
    assert told["past"][0]["quote_seconds"] == 30.0


def test_who_may_see_nothing_sees_nothing(scene, client):
    assert client.get(PAGE).status_code == 302
    assert browser(scene.nils).get(PAGE).status_code == 403
    assert scene.client(scene.nils).get(API).status_code == 403
    assert client.get(API).status_code in {401, 403}


def test_it_is_for_reading_only(scene):
    assert browser(scene.rita).post(PAGE).status_code == 405
    assert scene.client(scene.rita).post(API).status_code == 405


def test_a_plan_that_is_not_theirs_to_see_is_not_in_it(scene):
    went_back(started(scene), 10.0)
    RoleBinding.objects.create(
        user=scene.nils, kind="console", role="viewer", selector={"region": "nowhere"}
    )
    assert "No rollback yet" in text_of(browser(scene.nils).get(PAGE))


def test_a_broken_deployers_file_still_shows_what_was_measured(scene, settings):
    went_back(started(scene), 10.0)
    settings.DEPLOYERS_FILE.write_text("deployers: [")
    page = text_of(browser(scene.rita).get(PAGE))
    assert "10.0 s" in page
    assert "not configured any more" in page
