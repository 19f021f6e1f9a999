"""Names that are no Kpi are answered with what was meant: by spelling, by alias, by unit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.kpis.dictionary import load_dictionary
from batches.kpis.names import did_you_mean, likeliest
from tests.decisions.test_dictionary import SHIPPED

OWNERS = {
    "error_rate": "error_rate",
    "5xx_rate": "error_rate",
    "latency_ms": "latency_ms",
    "request_duration": "latency_ms",
    "sandbox.test.pass_rate": "sandbox.test.pass_rate",
}
UNITS = {"error_rate": "%", "latency_ms": "ms", "sandbox.test.pass_rate": "%"}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("eror_rate", "error_rate"),
        ("error_percent", "error_rate"),
        ("Error-Rate", "error_rate"),
        ("latency_seconds", "latency_ms"),
        ("request_duration_seconds_bucket", "request_duration"),
        ("sandbox_test_pass_rate", "sandbox.test.pass_rate"),
        ("cpu", None),
    ],
)
def test_the_likeliest_name_is_found(name, meant):
    assert likeliest(name, OWNERS) == meant


def test_an_alias_is_told_as_one_and_another_unit_is_minded():
    said = did_you_mean("request_duration_seconds", OWNERS, UNITS)
    assert said.startswith(" - did you mean 'request_duration' (an alias of 'latency_ms')?")
    assert 'with a limit in s write unit: "s"' in said
    assert did_you_mean("latency_milliseconds", OWNERS, UNITS) == " - did you mean 'latency_ms'?"


@given(st.text(max_size=30))
def test_every_name_is_answered_with_a_known_one_or_none(name):
    assert likeliest(name, OWNERS) in {None, *OWNERS}


def test_the_dictionary_answers_so():
    unknown = load_dictionary(SHIPPED.read_text()).unknown(["latency_seconds", "error_rate"])
    assert list(unknown) == ["latency_seconds"]
    assert "did you mean 'latency_ms'?" in unknown["latency_seconds"]
