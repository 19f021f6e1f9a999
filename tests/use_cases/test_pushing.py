"""What is pushed: kept once, read as increments, within limits, forgotten in time."""

from datetime import timedelta

import pytest

from batches.metric_sources import MetricUnavailable, SourceSpec
from batches.models import PushedSeries, PushedSource, PushReceipt
from batches.pushes import pushing, retention
from batches.pushes.points import PushedPoint
from batches.pushes.pushing import KeyUsedOtherwise, TooFast, take_points
from batches.pushes.series import KeptSeries
from plans.refusal import NotAllowed
from tests.web.api_scene import now, person

pytestmark = pytest.mark.django_db
CI = SourceSpec("ci", "push")


@pytest.fixture
def sender():
    return person("Teo", console="telemetry")


def count(value, tenant="acorn", *, at=None, **more):
    return PushedPoint(
        "requests_total", {"tenant": tenant}, "counter", (value,), at or now(), **more
    )


def push(sender, *points, spec=CI, at=None, **more):
    return take_points(spec=spec, points=points, by=sender, now=at or now(), **more)


def seen(*names, stale=90.0, source="ci"):
    found = KeptSeries().current(source, names, stale_seconds=stale)
    return {
        name: {(one.labels.get("tenant"), one.labels.get("le")): one.value for one in series}
        for name, series in found.items()
    }


def test_counters_are_seen_as_what_was_counted_since_they_are_known(sender):
    at = now() - timedelta(seconds=20)
    push(sender, count(1000, at=at), count(50, "birch", at=at))
    push(sender, count(1007, at=at + timedelta(seconds=5)))
    assert seen("requests_total", "other") == {
        "requests_total": {("acorn", None): 7, ("birch", None): 0},
        "other": {},
    }


def test_a_histogram_is_seen_as_buckets_that_add_up_and_as_a_count(sender):
    at = now() - timedelta(seconds=20)
    one = PushedPoint(
        "latency", {"tenant": "acorn"}, "histogram", (2, 1, 4), at, (0.1, 0.5), delta=True
    )
    push(sender, one)
    buckets = {("acorn", "0.1"): 2, ("acorn", "0.5"): 3, ("acorn", "+Inf"): 7}
    assert seen("latency", "latency_bucket", "latency_count") == {
        "latency": buckets,
        "latency_bucket": buckets,
        "latency_count": {("acorn", None): 7},
    }


def test_what_is_too_old_is_not_seen(sender):
    push(sender, count(1, at=now() - timedelta(seconds=60)))
    assert seen("requests_total", stale=70) != {"requests_total": {}}
    with pytest.raises(MetricUnavailable, match="nothing was sent to ci in the last 50 s") as gone:
        seen("requests_total", stale=50)
    assert gone.value.cause == "name_gone"
    push(sender, PushedPoint("other", {}, "gauge", (1,), now()))
    assert seen("requests_total", stale=50) == {"requests_total": {}}


def test_a_value_that_is_no_number_is_kept_as_it_is(sender):
    for value in (float("nan"), float("inf")):
        gauge = PushedPoint("strange", {}, "gauge", (value,), now())
        assert push(sender, gauge)["accepted"] == 1
        assert str(seen("strange")["strange"][None, None]) == str(value)


def test_a_batch_that_is_sent_twice_counts_once(sender):
    at = now() - timedelta(seconds=5)
    deltas = [count(3, at=at, delta=True), count(4, at=at + timedelta(seconds=1), delta=True)]
    push(sender, *deltas)
    push(sender, *deltas)
    assert seen("requests_total")["requests_total"]["acorn", None] == 7


def test_the_same_key_gets_the_same_answer_and_another_body_none(sender):
    answer = push(sender, count(1), count(-1, "birch"), key="k", digest="a")
    assert (answer["accepted"], answer["refused_total"]) == (1, 1)
    assert push(sender, count(1), key="k", digest="a") == answer
    assert PushedSource.objects.get().accepted == 1
    with pytest.raises(KeyUsedOtherwise):
        push(sender, count(1), key="k", digest="b")


def test_what_cannot_be_used_is_named_by_its_place_and_the_rest_is_kept(sender):
    late, future = now() - timedelta(seconds=100), now() + timedelta(seconds=60)
    answer = push(sender, count(1), count(2, "birch", at=late), count(3, "cedar", at=future))
    assert answer["accepted"] == 1
    assert [(one["index"], one["code"]) for one in answer["refused"]] == [
        (1, "late"),
        (2, "future"),
    ]
    source = PushedSource.objects.get(name="ci")
    assert (source.series, source.accepted, source.refused) == (1, 1, 2)
    assert source.last_refusal.startswith("late")
    assert source.last_by == "Teo"


def test_only_so_many_series_are_kept(sender):
    small = SourceSpec("ci", "push", {"max_series": 2})
    push(sender, count(1), count(1, "birch"), spec=small)
    answer = push(sender, count(2), count(1, "cedar"), spec=small)
    assert [one["code"] for one in answer["refused"]] == ["too_many_series"]
    assert "raise max_series" in answer["refused"][0]["detail"]
    assert PushedSeries.objects.count() == 2


def test_whoever_sends_too_fast_is_told_when_there_is_room(sender):
    slow = SourceSpec("ci", "push", {"points_per_second": 1})
    at = now()
    push(sender, *(count(1, f"t{n}") for n in range(10)), spec=slow, at=at)
    with pytest.raises(TooFast) as refused:
        push(sender, count(2), spec=slow, at=at)
    assert refused.value.wait == pytest.approx(1)
    assert "points_per_second" in refused.value.sentence
    assert not PushedSeries.objects.filter(labels__tenant="acorn").exists()
    assert push(sender, count(2), spec=slow, at=at + timedelta(seconds=1))["accepted"] == 1


def test_many_points_are_kept_chunk_by_chunk(sender, monkeypatch):
    monkeypatch.setattr(pushing, "CHUNK", 3)
    answer = push(sender, *(count(1, f"t{n}") for n in range(8)), key="k")
    assert answer["accepted"] == PushedSeries.objects.count() == PushedSource.objects.get().series
    assert answer["accepted"] == 8


def test_sending_takes_a_permission_of_its_own(scene):
    for stranger in (scene.rita, scene.nils, scene.aram):
        with pytest.raises(NotAllowed, match="telemetry"):
            push(stranger, count(1))
    assert not PushedSeries.objects.exists()
    assert push(scene.olga, count(1))["accepted"] == 1


def test_old_data_is_forgotten_and_counted_off(sender):
    push(sender, count(1), count(1, "birch"), key="k")
    PushedSeries.objects.filter(labels__tenant="birch").update(at=now() - timedelta(hours=26))
    PushReceipt.objects.update(at=now() - timedelta(hours=25))
    retention.forget(now())
    assert [row.labels["tenant"] for row in PushedSeries.objects.all()] == ["acorn"]
    assert PushedSource.objects.get().series == 1
    assert not PushReceipt.objects.exists()
