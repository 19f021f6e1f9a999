"""What pipelines tell: series of Kpis, timelines of the plans that are meant, each event once."""

from datetime import timedelta
from typing import Any

import pytest

from batches.metric_sources import SourceSpec
from batches.models import PipelineEvent, PipelineRun, PushedSeries
from batches.pushes.cdevents import PipelineNews
from batches.pushes.pipeline_events import take_event
from batches.pushes.pushing import TooFast
from batches.pushes.series import KeptSeries
from plans.models import Event, Plan, RoleBinding
from plans.refusal import BadInput, NotAllowed
from tests.builders import a_draft, artifact, kinds
from tests.web.api_scene import now, person

pytestmark = pytest.mark.django_db
PIPES = SourceSpec("pipes", "cdevents")


@pytest.fixture
def sender(scene):
    return person("Teo", console="telemetry")


_number = iter(range(1_000_000))


def news(subject="testsuiterun", predicate="finished", **more):
    values: dict[str, Any] = {
        "origin": "https://ci.example.org",
        "event_id": f"e{next(_number)}",
        "subject_id": "run-7",
        "at": now(),
        "tenant": "acorn",
    } | more
    return PipelineNews(subject=subject, predicate=predicate, **values)


def tell(sender, event, *, spec=PIPES, at=None):
    return take_event(spec=spec, news=event, by=sender, now=at or now(), via="api")


def seen(*names):
    found = KeptSeries().current("pipes", names, stale_seconds=3600)
    return {name: [one.value for one in series] for name, series in found.items()}


def test_the_cases_of_a_suite_make_its_pass_ratio_and_its_run_a_duration(sender):
    begun = now() - timedelta(seconds=30)
    tell(sender, news(predicate="started", at=begun))
    for outcome in ("pass", "pass", "fail", "cancel", "pass"):
        tell(sender, news("testcaserun", outcome=outcome, suite_run="run-7", subject_id="case"))
    answer = tell(sender, news(outcome="fail", at=begun + timedelta(seconds=20)))
    assert "testsuiterun_pass_ratio" in answer["metrics"]
    assert seen(
        "testsuiterun_pass_ratio", "testsuiterun_duration_seconds", "testcaserun_failed_total"
    ) == {
        "testsuiterun_pass_ratio": [0.75],
        "testsuiterun_duration_seconds": [20],
        "testcaserun_failed_total": [1],
    }


def test_an_older_run_that_is_told_of_later_says_nothing_about_now(sender):
    tell(sender, news(outcome="pass"))
    tell(sender, news(outcome="fail", at=now() - timedelta(minutes=5)))
    assert seen("testsuiterun_pass_ratio", "testsuiterun_finished_total") == {
        "testsuiterun_pass_ratio": [1],
        "testsuiterun_finished_total": [2],
    }


def test_a_gauge_of_a_new_version_takes_the_place_of_the_old_one(sender):
    tell(sender, news(outcome="pass", version="1.4"))
    tell(sender, news(outcome="fail", version="1.5"))
    row = PushedSeries.objects.get(metric="testsuiterun_pass_ratio")
    assert (row.raw, row.labels) == ([0.0], {"tenant": "acorn", "version": "1.5"})


def test_the_same_event_counts_once(sender):
    event = news(outcome="pass")
    first, again = tell(sender, event), tell(sender, event)
    assert (first["known_already"], again["known_already"]) == (False, True)
    assert first["event"] == again["event"]
    assert seen("testsuiterun_finished_total") == {"testsuiterun_finished_total": [1]}


@pytest.mark.parametrize(
    "named",
    [
        {"plugin": "pay", "version": "1.5.0"},
        {"digest": artifact("pay", "1.5.0")},
        {"plan": "pay-7"},
    ],
)
def test_the_timeline_of_the_plan_that_is_meant_tells_of_it(scene, sender, named):
    plan = a_draft(scene)
    answer = tell(sender, news("service", "deployed", name="shop", **named))
    assert answer["plans"] == ["pay-7"]
    event = Event.objects.get(stream__key=plan.stream_key, kind="pipeline_event")
    assert event.sentence == "Service shop deployed in acorn, says https://ci.example.org."
    assert event.actor == sender
    assert event.payload["type"] == "service.deployed"


def test_other_plans_and_plans_that_are_over_are_left_in_peace(scene, sender):
    plan = a_draft(scene)
    assert tell(sender, news(plugin="pay", version="1.6.0"))["plans"] == []
    assert tell(sender, news(digest="00" * 32))["plans"] == []
    Plan.objects.filter(pk=plan.pk).update(state="cancelled")
    assert tell(sender, news(plugin="pay", version="1.5.0"))["plans"] == []
    assert "pipeline_event" not in kinds(plan)


def test_single_test_cases_count_but_do_not_flood_a_timeline(scene, sender):
    plan = a_draft(scene)
    answer = tell(sender, news("testcaserun", plan="pay-7", outcome="pass"))
    assert answer["plans"] == []
    assert answer["metrics"]
    assert "pipeline_event" not in kinds(plan)


def test_whoever_may_push_for_some_tenants_only_reaches_no_other_plan(scene, sender):
    a_draft(scene)
    RoleBinding.objects.filter(user=sender).update(selector={"region": "mars"})
    with pytest.raises(NotAllowed, match="region=mars only"):
        tell(sender, news("service", "deployed", plan="pay-7"))
    assert not PipelineEvent.objects.exists()
    assert tell(sender, news("service", "deployed", plan="pay-7", tenant=""))["plans"] == []


def test_sending_takes_a_permission_of_its_own(scene):
    with pytest.raises(NotAllowed, match="telemetry"):
        tell(scene.rita, news())
    assert not PipelineEvent.objects.exists()


def test_late_and_future_events_are_refused_by_name(sender):
    with pytest.raises(BadInput, match="future"):
        tell(sender, news(at=now() + timedelta(minutes=1)))
    with pytest.raises(BadInput, match="late"):
        tell(sender, news(at=now() - timedelta(hours=25)))
    assert not PipelineRun.objects.exists()


def test_a_pipeline_that_tells_too_much_is_told_to_wait(sender):
    slow = SourceSpec("pipes", "cdevents", {"points_per_second": 1})
    at = now()
    for _event in range(10):
        tell(sender, news(at=at), spec=slow, at=at)
    with pytest.raises(TooFast):
        tell(sender, news(at=at), spec=slow, at=at)
    assert PipelineEvent.objects.count() == 10


def test_only_so_many_series_are_kept_and_the_event_still_counts_as_told(sender):
    tight = SourceSpec("pipes", "cdevents", {"max_series": 1})
    tell(sender, news("build", outcome="pass"), spec=tight)
    assert PushedSeries.objects.count() == 1
    assert PipelineEvent.objects.count() == 1
