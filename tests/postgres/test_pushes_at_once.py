"""Many senders at the very same moment: nothing is lost and nothing counts twice."""

from datetime import timedelta

import pytest

from batches.metric_sources import SourceSpec
from batches.models import PipelineEvent, PushedSeries, PushedSource, PushReceipt
from batches.pushes.cdevents import PipelineNews
from batches.pushes.pipeline_events import take_event
from batches.pushes.points import PushedPoint
from batches.pushes.pushing import take_points
from plans.models import Event
from tests.builders import a_draft
from tests.postgres.at_once import at_once, won
from tests.web.api_scene import now, person

pytestmark = pytest.mark.django_db(transaction=True)
CROWD = 10
CI, PIPES = SourceSpec("ci", "push"), SourceSpec("pipes", "cdevents", {"points_per_second": 1000})


@pytest.fixture
def sender(scene):
    return person("Teo", console="telemetry")


@pytest.fixture(autouse=True)
def began(monkeypatch):
    """Let the points be of now, however long ago this file was read: late ones are refused."""
    monkeypatch.setitem(globals(), "BEGAN", now())


def pushing(sender, *points, **more):
    return lambda: take_points(spec=CI, points=points, by=sender, now=now(), **more)


def delta(value, second, tenant="acorn"):
    at = BEGAN + timedelta(milliseconds=second)
    return PushedPoint("requests", {"tenant": tenant}, "counter", (value,), at, delta=True)


BEGAN = now()


def test_senders_of_different_series_do_not_lose_each_others_points(sender):
    acts = [pushing(sender, delta(1, 0, f"t{n}")) for n in range(CROWD)]
    assert [answer["accepted"] for answer in won(at_once(*acts))] == [1] * CROWD
    assert PushedSeries.objects.count() == CROWD
    source = PushedSource.objects.get()
    assert (source.series, source.accepted) == (CROWD, CROWD)


def test_the_same_request_at_once_counts_once_and_is_answered_alike(sender):
    act = pushing(sender, delta(3, 0), delta(4, 1), key="k", digest="d")
    answers = won(at_once(*[act] * CROWD))
    assert len(answers) == CROWD
    assert all(answer == answers[0] for answer in answers)
    row = PushedSeries.objects.get()
    assert row.base[0] + row.raw[0] == 7
    assert PushReceipt.objects.count() == 1
    assert PushedSource.objects.get().accepted == 2


def test_the_same_event_at_once_is_told_once(scene, sender):
    plan = a_draft(scene)
    news = PipelineNews(
        "https://ci", "e1", "service", "deployed", "shop", now(), tenant="acorn", plan="pay-7"
    )
    answers = won(
        at_once(
            *[lambda: take_event(spec=PIPES, news=news, by=sender, now=now(), via="api")] * CROWD
        )
    )
    assert sorted(answer["known_already"] for answer in answers) == [False] + [True] * (CROWD - 1)
    assert PipelineEvent.objects.count() == 1
    assert PushedSeries.objects.get(metric="service_deployed_total").raw == [1.0]
    told = Event.objects.filter(stream__key=plan.stream_key, kind="pipeline_event")
    assert told.count() == 1
