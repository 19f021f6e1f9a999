"""Does a mapping fit its source? Each way not to, and that a good one is left alone."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.fit.checks import judge
from batches.fit.observation import Observation, Past
from batches.fit.presence import metric_names
from batches.kpis.dictionary import KpiDefinition, Selector
from batches.metric_sources import Series
from tests.decisions.fit_looks import (
    COUNTS,
    FOREST,
    GAUGE,
    TIMES,
    TOTAL,
    VALUE,
    buckets,
    everyone,
    gauge,
    histogram,
    kinds,
    only,
    probed,
    series,
)
from tests.decisions.kpi_looks import ERROR_RATE, LATENCY, NOON, PASS_RATE, QUEUE

QUERY = Selector(query="sum by (tenant) (sandbox_pass)")


def counts(bad=None, total=None, **more):
    bad = series(everyone(1)) if bad is None else bad
    total = series(everyone(100)) if total is None else total
    return probed(more.pop("mapping", COUNTS), ERROR_RATE, bad, total, **more)


def test_what_fits_is_left_alone():
    for fit in (
        counts(),
        gauge(everyone(97.5)),
        probed(TIMES, LATENCY, histogram()),
        gauge(everyone(0.975), native_unit="1"),
    ):
        assert (fit.findings, fit.without, fit.level) == ((), (), "fine")


def test_the_facts_are_in_the_kpis_unit():
    facts = gauge({"acorn": 0.5, "birch": 0.75, "cedar": 1}, native_unit="1").facts
    assert (facts.low, facts.median, facts.high) == (50, 75, 100)
    assert probed(TIMES, LATENCY, histogram()).facts.bounds == (5, 50, 500, 5000)
    assert counts().facts.values[0] == ("acorn", 1.0, 100.0)


# The source.


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        ("source_down", "no_answer"),
        ("timeout", "no_answer"),
        ("unauthorized", "no_answer"),
        ("bad_answer", "bad_answer"),
    ],
)
def test_a_source_without_an_answer_is_told_apart_from_one_with_a_bad_one(cause, kind):
    seen = Observation(NOON, cause=cause, said="HTTP 503")
    fit = judge(COUNTS, ERROR_RATE, seen, tenants=FOREST)
    assert (only(fit).kind, only(fit).level) == (kind, "error")
    assert "HTTP 503" in only(fit).sentence
    assert only(fit).advice
    assert fit.without == FOREST
    assert fit.answered == (kind == "bad_answer")


def test_a_name_that_is_not_there_is_answered_with_the_likeliest_one():
    fit = counts(total=[], names=("request_total", "up"))
    assert only(fit).kind == "wrong_name"
    assert only(fit).advice == "did you mean request_total?"
    assert fit.without == FOREST


def test_the_names_in_a_query_are_looked_up_too():
    mapping = replace(GAUGE, value=Selector(query='avg by (tenant) (sandbox_pas{env="x"} or up)'))
    fit = probed(mapping, PASS_RATE, [], names=("sandbox_pass", "up"))
    assert only(fit).advice == "did you mean sandbox_pass?"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("sum by (tenant) (rate(errors_total[5m]))", ["errors_total"]),
        ("a_total / on (tenant) group_left (x) b_total", ["a_total", "b_total"]),
        ('max without (pod) ({__name__=~"x.*"})', []),
        ('label_replace(up, "tenant", "$1", "customer", "(.*)") > 0.5', ["up"]),
    ],
)
def test_names_of_metrics_are_told_from_functions_and_labels(query, names):
    assert metric_names(query) == names


def test_errors_that_are_not_there_while_requests_are_say_how_to_make_them_zero():
    fit = counts(bad=[])
    assert "although all events are counted" in only(fit).sentence
    assert "says zero" in only(fit).advice


def test_data_that_ended_are_stale_and_not_a_wrong_name():
    ended = (NOON - timedelta(hours=3)).timestamp()
    past = Past(newest={TOTAL: series({"acorn": ended, "birch": ended - 60})})
    fit = counts(total=[], past=past)
    assert only(fit).kind == "stale"
    assert "the newest is of 2031-03-05 09:00 UTC" in only(fit).sentence
    assert "none in the last 24 h" in only(counts(total=[], past=Past())).sentence


def test_values_that_stand_still_or_come_from_the_future_are_named():
    old = [
        Series(one.labels, one.value, NOON - timedelta(minutes=5)) for one in series(everyone(90))
    ]
    assert kinds(probed(GAUGE, PASS_RATE, old)) == {"stale": "error"}
    ahead = [Series(one.labels, one.value, NOON + timedelta(minutes=5)) for one in old]
    assert kinds(probed(GAUGE, PASS_RATE, ahead)) == {"future": "error"}


def test_what_could_not_be_asked_is_a_note():
    fit = counts(unasked="the last 24 h could not be asked for (timeout)")
    assert (only(fit).kind, fit.level) == ("past_unknown", "note")


@pytest.mark.parametrize("query", ["sum by (tenant) (rate(x[1m]))", "increase (x[5m])"])
def test_a_rate_where_counters_are_counted_is_an_error_unless_it_is_said(query):
    mapping = replace(COUNTS, total=Selector(query=query))
    assert "rate_of_counter" in kinds(counts(mapping=mapping))
    assert counts(mapping=replace(mapping, rate_window_seconds=60.0)).level == "fine"


# Labels and tenants.


def test_a_label_that_holds_tenants_under_another_name_is_found():
    told = [Series({"customer": tenant, "pod": "x"}, 90) for tenant in FOREST]
    found = only(probed(GAUGE, PASS_RATE, told))
    assert found.kind == "no_tenant_label"
    assert found.advice == 'write tenant_label: "customer", which holds the keys of tenants'
    nameless = only(probed(GAUGE, PASS_RATE, [Series({}, 90)]))
    assert "sum by (tenant)" in nameless.advice


def test_a_label_whose_values_are_no_tenants_is_an_error():
    told = [Series({"tenant": f"pod-{n}", "customer": key}, 90) for n, key in enumerate(FOREST)]
    found = only(probed(GAUGE, PASS_RATE, told))
    assert found.kind == "no_tenant"
    assert "pod-0" in found.sentence
    assert 'tenant_label: "customer"' in found.advice


def test_a_version_label_that_nobody_carries_is_an_error():
    mapping = replace(GAUGE, version_label="version")
    told = series(everyone(90), release="1.5.0")
    assert only(probed(mapping, PASS_RATE, told)).kind == "no_version_label"
    assert probed(replace(mapping, version_label="release"), PASS_RATE, told).level == "fine"


def test_tenants_without_data_are_named_and_since_when():
    until = (NOON - timedelta(hours=1)).timestamp()
    past = Past(newest={VALUE: series({"cedar": until})})
    fit = probed(GAUGE, PASS_RATE, series({"acorn": 90, "birch": 90}), past=past)
    assert fit.without == ("cedar", "dogwood")
    assert (only(fit).kind, only(fit).level) == ("tenants_without_data", "warning")
    assert "2 of 4 tenants have no data: cedar (until 11:00 UTC), dogwood" in only(fit).sentence


def test_without_tenants_nobody_is_missed():
    fit = probed(GAUGE, PASS_RATE, series({"acorn": 90}), tenants=())
    assert (fit.findings, fit.without) == ((), ())
    assert fit.facts.median == 90


def test_other_peoples_tenants_do_not_matter():
    told = series({**everyone(97), "elsewhere": 5000})
    assert probed(GAUGE, PASS_RATE, told).level == "fine"


# One series each.


def test_several_series_of_a_tenant_are_an_error_unless_the_mapping_reduces_them():
    told = [Series({"tenant": key, "pod": pod}, 90) for key in FOREST for pod in "ab"]
    found = only(probed(GAUGE, PASS_RATE, told))
    assert found.kind == "several_series"
    assert "acorn has 2, which differ in pod" in found.sentence
    assert '"reduce": sum, max or avg' in found.advice
    assert probed(replace(GAUGE, reduce="avg"), PASS_RATE, told).level == "fine"


def test_a_metrics_counters_are_added_up_and_a_querys_are_not():
    told = [Series({"tenant": key, "pod": pod}, 50) for key in FOREST for pod in "ab"]
    assert counts(total=told).level == "fine"
    asked = replace(COUNTS, total=Selector(query="requests_total"))
    assert only(counts(total=told, mapping=asked)).kind == "several_series"
    assert counts(total=told, mapping=replace(asked, reduce="sum")).level == "fine"


def test_several_series_in_one_bucket_are_seen():
    mapping = replace(TIMES, buckets=Selector(query="x_bucket"))
    assert only(probed(mapping, LATENCY, histogram() + histogram())).kind == "several_series"
    assert probed(mapping, LATENCY, histogram()).level == "fine"


# Values that would be dropped.


@pytest.mark.parametrize(
    ("values", "kind"),
    [(float("nan"), "not_a_number"), (float("inf"), "infinite"), (-1, "negative")],
)
def test_counts_that_cannot_be_used_are_an_error_for_most_and_a_warning_for_few(values, kind):
    assert kinds(counts(total=series(everyone(values)))) == {kind: "error"}
    few = counts(total=series({**everyone(100), "birch": values}))
    assert (only(few).kind, only(few).level) == (kind, "warning")
    assert few.without == ("birch",)


def test_tenants_without_an_error_counter_are_named():
    fit = counts(bad=series({"acorn": 1}))
    assert kinds(fit) == {"no_bad_series": "error"}
    assert "birch, cedar, dogwood" in only(fit).sentence


def test_buckets_without_a_total_or_that_do_not_add_up():
    fit = probed(TIMES, LATENCY, [one for one in histogram() if one.labels["le"] != "+Inf"])
    assert kinds(fit) == {"no_total_bucket": "error"}
    shrinking = [Series(one.labels, -one.value + 200) for one in histogram()]
    assert kinds(probed(TIMES, LATENCY, shrinking)) == {"bad_bucket": "error"}


# Units.


def test_percent_for_a_ratio_is_a_hundred_times_too_much():
    found = only(gauge(everyone(97), native_unit="1"))
    assert (found.kind, found.level) == ("off_by_factor", "error")
    assert "9700 %" in found.sentence
    assert found.advice == '100 times too much? write "native_unit": "%"'


def test_a_ratio_for_percent_is_noticed_where_more_is_better():
    found = only(gauge(everyone(0.97)))
    assert (found.kind, found.level) == ("off_by_factor", "error")
    assert '"native_unit": "1"' in found.advice


def test_a_small_share_of_errors_is_only_noted():
    told = KpiDefinition("error_rate", "ratio", "%", "lower")
    assert kinds(gauge(everyone(0.4), definition=told)) == {"off_by_factor": "note"}
    assert gauge(everyone(0), definition=told).level == "fine"
    assert gauge({**everyone(0.4), "acorn": 3}, definition=told).level == "fine"


def test_a_high_value_of_yesterday_says_that_it_is_percent():
    past = Past(highest={VALUE: series({"acorn": 100})}, lowest={})
    assert probed(GAUGE, PASS_RATE, series(everyone(0.5)), past=past).level == "fine"


def test_seconds_for_milliseconds_by_the_name_of_the_metric():
    found = only(buckets((0.005, 0.05, 0.5), metric="latency_seconds_bucket", unit="ms"))
    assert (found.kind, found.level) == ("off_by_factor", "error")
    assert "1000 times off" in found.sentence
    assert found.advice == 'write "native_unit": "s"'
    told = replace(GAUGE, kpi="queue_ms", value=Selector(metric="queue_seconds"))
    assert only(probed(told, QUEUE, series(everyone(0.2)))).kind == "off_by_factor"


def test_a_query_that_multiplies_has_turned_the_unit_itself():
    told = replace(GAUGE, kpi="queue_ms", value=Selector(query="queue_seconds * 1000"))
    assert probed(told, QUEUE, series(everyone(200))).level == "fine"


def test_a_name_that_the_values_deny_is_not_believed():
    fit = buckets((5, 500, 5000), metric="latency_seconds_bucket", unit="ms")
    assert fit.level == "fine"
    told = replace(GAUGE, value=Selector(metric="pass_ratio"))
    assert probed(told, PASS_RATE, series(everyone(97))).level == "fine"


@pytest.mark.parametrize(
    ("bounds", "unit", "other"),
    [((0.005, 0.1, 1, 10), "ms", "s"), ((5, 100, 1000, 10_000), "s", "ms")],
)
def test_bounds_look_like_seconds_or_milliseconds(bounds, unit, other):
    found = only(buckets(bounds, unit=unit))
    assert (found.kind, found.level) == ("off_by_factor", "warning")
    assert f'"native_unit": "{other}"' in found.advice


def test_values_outside_the_range_that_no_unit_explains():
    fit = gauge({**everyone(50), "acorn": -5000})
    assert kinds(fit) == {"out_of_range": "warning"}
    assert fit.without == ("acorn",)
    wild = gauge({"acorn": -1, "birch": -20, "cedar": 5e9, "dogwood": -3})
    assert kinds(wild) == {"out_of_range": "error"}


def test_values_of_yesterday_outside_the_range_are_a_warning():
    past = Past(highest={VALUE: series({"acorn": 180})}, lowest={})
    fit = probed(GAUGE, PASS_RATE, series(everyone(90)), past=past)
    assert kinds(fit) == {"out_of_range": "warning"}
    assert "180 %" in only(fit).sentence


numbers = st.floats(allow_nan=True, allow_infinity=True, width=32)
labels = st.dictionaries(
    st.sampled_from(["tenant", "version", "le", "pod"]),
    st.sampled_from([*FOREST, "1", "+Inf", "0.5", "x"]),
)
anything = st.lists(st.builds(Series, labels, numbers), max_size=8)


@given(anything, anything, st.sampled_from([None, "version"]), st.sampled_from([None, "sum"]))
def test_no_answer_breaks_the_judging(first, second, version_label, reduce):
    for mapping, definition, told in (
        (COUNTS, ERROR_RATE, (first, second)),
        (TIMES, LATENCY, (first,)),
        (GAUGE, PASS_RATE, (first,)),
    ):
        changed = replace(mapping, version_label=version_label, reduce=reduce)
        fit = probed(changed, definition, *told)
        assert set(fit.without) <= set(FOREST)
        # Whoever has no usable data is missed, and something is said about it.
        assert fit.findings or not fit.without


@given(anything)
def test_what_is_fine_gives_every_tenant_a_value(told):
    fit = probed(replace(GAUGE, reduce="avg"), PASS_RATE, told)
    if fit.level == "fine":
        assert {tenant for tenant, _value, _n in fit.facts.values} == set(FOREST)
        assert all(0 <= value <= 100 for _tenant, value, _n in fit.facts.values)


# What only the new version emits.


NEW = replace(COUNTS, emitted_by="new_version")


def test_what_only_the_new_version_emits_is_not_missed_before_the_upgrade():
    for fit in (
        counts([], [], mapping=NEW),
        counts([], mapping=NEW),
        counts(series({"acorn": 1}), series({"acorn": 100}), mapping=NEW),
    ):
        assert kinds(fit) == {"only_new_version": "warning"}
        assert fit.tells
        assert fit.without[-1] == "dogwood"
    assert "for some tenants yet" in only(fit).sentence
    # The same of a Kpi that everybody should have.
    assert not counts([], []).tells


def test_what_is_there_of_it_already_is_judged_as_ever():
    labelled = [Series({"site": "acorn"}, 1)]
    assert kinds(counts(labelled, labelled, mapping=NEW))["no_tenant_label"] == "error"
    assert counts(mapping=NEW).findings == ()


# What is sent to us.


def sent(told, *, ago, names=("sandbox_pass",), past=None, **seen):
    at = NOON - timedelta(seconds=ago)
    values = [replace(one, at=at) for one in told]
    return probed(GAUGE, PASS_RATE, values, sent=True, names=names, past=past, **seen)


def test_a_pushed_value_counts_for_as_long_as_its_source_says():
    told = series(everyone(97))
    assert sent(told, ago=80, oldest=timedelta(seconds=90)).findings == ()
    stale = sent(told, ago=95, oldest=timedelta(seconds=90))
    assert kinds(stale) == {"stale": "error"}
    # Whatever we fetch ourselves is old after three looks.
    assert kinds(sent(told, ago=80)) == {"stale": "error"}


def test_senders_that_stopped_are_told_from_those_that_never_were():
    past = Past(newest={VALUE: [Series({"tenant": "acorn"}, NOON.timestamp() - 7200)]})
    stopped = only(sent([], ago=0, past=past))
    assert (stopped.kind, stopped.level) == ("stale", "error")
    assert "its sender stopped" in stopped.advice
    assert "10:00 UTC" in stopped.sentence
    never = only(sent([], ago=0, names=(), past=Past()))
    assert (never.kind, never.level) == ("wrong_name", "error")
    assert "nothing was sent to prom" in never.sentence
    other = only(sent([], ago=0, names=("sandbox_passed",), past=Past()))
    assert other.advice == "did you mean sandbox_passed?"


def test_a_pipeline_that_ran_today_fits_and_says_that_it_must_run_again():
    day = {"oldest": timedelta(hours=24), "counts_for": timedelta(hours=1)}
    assert sent(series(everyone(97)), ago=1800, **day).findings == ()
    fit = sent(series(everyone(97)), ago=7200, **day)
    assert kinds(fit) == {"counts_no_more": "note"}
    assert (fit.without, fit.tells) == ((), True)
