"""Sources that tell rates instead of counters, and several series of one tenant."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.metric_sources import Series
from batches.sources.increments import GaugePoint, HistogramPoint, RatioPoint, take_look
from batches.sources.readings import SeveralSeries, read_keys
from tests.decisions.kpi_looks import (
    BUCKET_MAPPING,
    BUCKETS,
    ERROR_RATE,
    LATENCY,
    NOON,
    PASS_RATE,
    RATIO_MAPPING,
    VALUE,
    VALUE_MAPPING,
    after,
    requests,
)

RATES = replace(RATIO_MAPPING, rate_window_seconds=60.0, version_label=None)


def looks(seconds, rates, *, mapping=RATES, cursor=None):
    """Look at these seconds; return the points of acorn, None where there is none."""
    points, kept = [], cursor or {}
    for second, (bad, total) in zip(seconds, rates, strict=True):
        sample, kept = take_look(
            mapping=mapping,
            definition=ERROR_RATE,
            answers=requests({("acorn", "2"): (bad, total)}),
            at=after(second),
            upgraded={"acorn": NOON},
            control=(),
            target_version="2",
            cursor=kept,
        )
        points.append(sample.canary.get("acorn"))
    return points, kept


def test_a_rate_is_counted_once_per_window_times_the_window():
    points, _kept = looks([5, 35, 66, 100, 126], [(1, 10)] * 5)
    nothing, counted = RatioPoint(0, 0), RatioPoint(60, 600)
    assert points == [None, nothing, counted, nothing, counted]


@given(
    st.lists(st.floats(1, 50), min_size=3, max_size=40),
    st.floats(0, 20),
    st.sampled_from([10.0, 60.0, 300.0]),
)
def test_no_request_is_counted_twice_however_looks_come(gaps, rate, window):
    moments, at = [], 5.0
    for gap in gaps:
        moments.append(at)
        at += gap
    mapping = replace(RATES, rate_window_seconds=window)
    points, _kept = looks(moments, [(0.0, rate)] * len(moments), mapping=mapping)
    counted = sum(point.total for point in points if point is not None)
    assert counted <= rate * (moments[-1] - moments[0]) + 1e-6


def test_a_restart_of_the_watch_goes_on_within_the_window():
    _points, kept = looks([5, 35], [(1, 10)] * 2)
    points, _kept = looks([50, 66], [(1, 10)] * 2, cursor=kept)
    assert points == [RatioPoint(0, 0), RatioPoint(60, 600)]


def test_a_mapping_that_becomes_a_counter_starts_anew():
    _points, kept = looks([5, 35], [(1, 10)] * 2)
    points, _kept = looks(
        [40, 45], [(1, 10), (2, 30)], mapping=replace(RATES, rate_window_seconds=None), cursor=kept
    )
    assert points == [None, RatioPoint(1, 20)]


def buckets(at, counts):
    series = [Series({"tenant": "acorn", "le": le}, n) for le, n in counts.items()]
    return {BUCKETS: series}


def test_buckets_told_as_rates_are_counted_too():
    mapping = replace(BUCKET_MAPPING, rate_window_seconds=10.0)
    kept, points = {}, []
    for second in (5, 20):
        sample, kept = take_look(
            mapping=mapping,
            definition=LATENCY,
            answers=buckets(second, {"0.2": 3.0, "+Inf": 4.0}),
            at=after(second),
            upgraded={"acorn": NOON},
            control=(),
            target_version="2",
            cursor=kept,
        )
        points.append(sample.canary.get("acorn"))
    assert points == [None, HistogramPoint({200.0: 30.0}, 40.0)]


PODS = {
    VALUE: [
        Series({"tenant": "acorn", "pod": pod}, value) for pod, value in (("a", 0.9), ("b", 0.5))
    ]
}


@pytest.mark.parametrize(("reduce", "value"), [("max", 90), ("avg", 70), ("sum", 140)])
def test_several_series_become_one_as_the_mapping_says(reduce, value):
    definition = replace(PASS_RATE, range=None)
    mapping = replace(VALUE_MAPPING, reduce=reduce)
    (reading,) = read_keys(PODS, mapping, definition, at=NOON, tenants={"acorn"}).values()
    assert reading.values[0] == pytest.approx(value)
    assert GaugePoint(reading.values[0]).value == pytest.approx(value)


def test_without_it_several_series_are_refused():
    with pytest.raises(SeveralSeries, match="reduce: sum, max or avg"):
        read_keys(PODS, VALUE_MAPPING, PASS_RATE, at=NOON, tenants={"acorn"})


def test_one_series_that_cannot_be_used_spoils_what_is_made_of_all():
    answers = {VALUE: [*PODS[VALUE], Series({"tenant": "acorn", "pod": "c"}, float("nan"))]}
    mapping = replace(VALUE_MAPPING, reduce="max")
    (reading,) = read_keys(answers, mapping, PASS_RATE, at=NOON, tenants={"acorn"}).values()
    assert reading.cause == "not_a_number"
