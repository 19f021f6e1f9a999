"""Limits of guardrails beside what a probe saw."""

from dataclasses import replace

import pytest

from batches.fit.checks import Facts
from batches.fit.limits import coverage_finding, limit_findings, window_finding
from batches.kpis.dictionary import resolve_guardrail
from plans.policies.policy import Guardrail
from tests.decisions.kpi_looks import ERROR_RATE, LATENCY, PASS_RATE, QUEUE


def beside(facts, definition=QUEUE, native_unit="ms", **limit):
    guardrail = resolve_guardrail(Guardrail(definition.name, **limit), definition)
    return limit_findings(guardrail, definition, facts, native_unit=native_unit)


def values(*told):
    ordered = sorted(told)
    return Facts(
        low=ordered[0],
        median=ordered[len(ordered) // 2],
        high=ordered[-1],
        values=tuple((f"t{n}", value, 0.0) for n, value in enumerate(told)),
    )


def bounds(*told):
    return Facts(bounds=told)


@pytest.mark.parametrize(
    ("told", "level", "unit"),
    [
        (bounds(5, 100, 500), None, None),
        (bounds(5, 100, 150), "warning", None),
        (bounds(0.005, 0.1, 1), "error", "s"),
        (bounds(250, 500), "error", None),
        (bounds(5000, 100_000, 1_000_000), "error", "us"),
        (bounds(), None, None),
    ],
)
def test_a_limit_that_no_bucket_can_judge(told, level, unit):
    found = beside(told, LATENCY, at_most=200)
    assert [one.level for one in found] == ([level] if level else [])
    if unit:
        assert f'"native_unit": "{unit}"' in found[0].advice


def test_a_limit_by_which_everything_would_count_as_slow_says_so():
    (found,) = beside(bounds(1, 10), LATENCY, at_most=200)
    assert "slower than 10 ms counts as slower than the limit" in found.sentence


@pytest.mark.parametrize(
    ("told", "kind", "level"),
    [
        (values(50, 80, 120), None, None),
        (values(250, 280, 120), "over_already", "warning"),
        (values(50_000, 80_000, 120_000), "off_by_factor", "error"),
        (values(0.05, 0.08, 0.12), "limit_far_away", "warning"),
        (values(0, 0, 0), None, None),
    ],
)
def test_values_far_from_the_limit(told, kind, level):
    found = beside(told, at_most=200)
    assert [(one.kind, one.level) for one in found] == ([(kind, level)] if kind else [])


def test_the_unit_that_would_explain_it_is_named():
    (found,) = beside(values(0.05, 0.08, 0.12), at_most=200)
    assert '"native_unit": "s"' in found.advice


def test_the_least_allowed_is_compared_the_other_way():
    definition = replace(PASS_RATE, range=None)
    assert beside(values(99, 98, 97), definition, "%", at_least=95) == []
    (found,) = beside(values(90, 80, 97), definition, "%", at_least=95)
    assert (found.kind, found.level) == ("over_already", "warning")
    (far,) = beside(values(0.9, 0.8, 0.97), definition, "%", at_least=95)
    assert (far.kind, far.level) == ("off_by_factor", "error")


def test_shares_counted_since_ever_say_nothing_of_the_last_minute():
    told = Facts(median=50.0, low=50.0, high=50.0, values=(("acorn", 50.0, 1000.0),))
    assert beside(told, ERROR_RATE, "%", at_most=2) == []


def test_a_window_shorter_than_the_rates_is_refused():
    short = window_finding(Guardrail("x", at_most=1, window_seconds=30), 60.0)
    assert short is not None
    assert "write window: 60s or more" in short.advice
    assert window_finding(Guardrail("x", at_most=1, window_seconds=60), 60.0) is None
    assert window_finding(Guardrail("x", at_most=1, window_seconds=5), None) is None


@pytest.mark.parametrize(("gone", "refused"), [(0, False), (2, False), (3, True), (4, True)])
def test_more_than_half_without_data_is_no_data(gone, refused):
    keys = ["acorn", "birch", "cedar", "dogwood"]
    found = coverage_finding(
        without=[*keys[:gone], "elsewhere"],
        tenants=keys,
        kpi="error_rate",
        source="prom",
        whose="it",
    )
    assert (found is not None) == refused
