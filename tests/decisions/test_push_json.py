"""A batch of samples as JSON: what it takes, and every problem with its place."""

import json
import math
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.pushes.points import PushedPoint
from batches.pushes.push_json import BatchRejected, read_batch

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
COUNTER = {"metric": "requests_total", "kind": "counter", "value": 3, "labels": {"tenant": "acorn"}}
BUCKETS = {"metric": "latency", "kind": "histogram", "buckets": {"0.5": 5, "0.1": 3, "+Inf": 6}}


def problems_of(body):
    with pytest.raises(BatchRejected) as rejected:
        read_batch(body, now=NOW)
    return [str(problem) for problem in rejected.value.problems]


def test_counters_gauges_and_buckets_become_points():
    gauge = {"metric": "pass.rate", "kind": "gauge", "value": "NaN", "at": "2026-03-01T12:59+01:00"}
    source, points = read_batch({"source": "ci", "samples": [COUNTER, gauge, BUCKETS]}, now=NOW)
    assert source == "ci"
    assert points[0] == PushedPoint("requests_total", {"tenant": "acorn"}, "counter", (3,), NOW)
    assert math.isnan(points[1].values[0])
    assert points[1].at == datetime(2026, 3, 1, 11, 59, tzinfo=UTC)
    assert (points[2].bounds, points[2].values) == ((0.1, 0.5), (3, 2, 1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metric": "no spaces"}, "samples[0].metric: 'no spaces' cannot be used"),
        ({"kind": "counter2"}, "did you mean 'counter'"),
        ({"value": "many"}, 'samples[0].value: write a number, or "NaN"'),
        ({"value": True}, "write a number"),
        ({"labels": {"tenant": 7}}, "samples[0].labels.tenant: write a text"),
        ({"labels": {"le": "1"}}, "cannot be used as the name of a label"),
        ({"labels": {"x": "a\x00b"}}, "write a text"),
        ({"at": "2026-03-01T12:00"}, "a time with its zone"),
        ({"at": 12}, "a time with its zone"),
        ({"temporality": "delta"}, "samples[0].at: is missing"),
        ({"kind": "gauge", "temporality": "delta", "at": "2026-03-01T12:00Z"}, "leave it out"),
        ({"buckets": {"+Inf": 1}}, "is for a histogram"),
        ({"unit": "ms"}, "unknown key"),
    ],
)
def test_each_mistake_of_a_sample_is_named(change, said):
    assert any(said in problem for problem in problems_of({"samples": [COUNTER | change]}))


@pytest.mark.parametrize(
    ("buckets", "said"),
    [
        (None, "how many up to each bound"),
        ({}, "how many up to each bound"),
        ({"0.1": 3}, 'has no "+Inf"'),
        ({"0.1": 3, "+Inf": 2}, "counts must not fall"),
        ({"0.1": 3, "0.10": 3, "+Inf": 4}, "a bound twice"),
        ({"x": 3, "+Inf": 4}, "such as"),
        ({"0.1": -3, "+Inf": 4}, "such as"),
    ],
)
def test_each_mistake_of_buckets_is_named(buckets, said):
    sample = BUCKETS | {"buckets": buckets} if buckets is not None else {**BUCKETS}
    if buckets is None:
        del sample["buckets"]
    assert any(said in problem for problem in problems_of({"samples": [sample]}))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], 'write {"samples": [...]}'),
        ({}, "at least one sample"),
        ({"samples": []}, "at least one sample"),
        ({"samples": [COUNTER] * 2001}, "at most 2000"),
        ({"samples": [COUNTER], "sources": "x"}, "did you mean 'source'"),
        ({"samples": [7]}, "samples[0]: write an object"),
    ],
)
def test_each_mistake_of_a_batch_is_named(body, said):
    assert any(said in problem for problem in problems_of(body))


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=20,
    ),
    st.sampled_from([*COUNTER, "buckets", "at", "start", "temporality"]),
)
def test_no_json_breaks_the_reading(value, key):
    with suppress(BatchRejected):
        read_batch(json.loads(json.dumps({"samples": [COUNTER | {key: value}]})), now=NOW)
