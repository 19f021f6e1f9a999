"""The Kpi dictionary: what it takes, and what it says about everything else."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.kpis.dictionary import (
    DictionaryRejected,
    GuardrailUnusable,
    KpiDefinition,
    Selector,
    load_dictionary,
    resolve_guardrail,
)
from plans.policies.policy import Guardrail
from tests.decisions.kpi_looks import ERROR_RATE, LATENCY, PASS_RATE

SHIPPED = Path(__file__).parents[2] / "config/monitoring/version_upgrade_dashboards.json"


def whole(**changes):
    return json.loads(SHIPPED.read_text()) | changes


def problems_of(body) -> list[str]:
    text = body if isinstance(body, str) else json.dumps(body)
    with pytest.raises(DictionaryRejected) as rejected:
        load_dictionary(text)
    return [str(problem) for problem in rejected.value.problems]


def test_the_shipped_dictionary_loads():
    dictionary = load_dictionary(SHIPPED.read_text())
    assert dictionary.kpi("5xx_rate") == dictionary.kpis["error_rate"]
    assert [m.source for m in dictionary.mappings_for("http_error_ratio")] == ["fleet", "prom"]
    assert dictionary.mappings[0].bad == Selector(metric="tenant_errors_total")
    assert dictionary.mappings[2].native_unit == "s"
    assert dictionary.sources["prom"].options["timeout_seconds"] == 3
    assert dictionary.dashboards[0][1][1].quantile == 0.95


def test_a_name_that_is_no_kpi_gets_the_likeliest_one():
    dictionary = load_dictionary(SHIPPED.read_text())
    assert dictionary.unknown(["error_rate", "5xx_rate"]) == {}
    assert "did you mean 'latency_ms'" in dictionary.unknown(["latency"])["latency"]
    assert "add it to the Kpi dictionary" in dictionary.unknown(["zzz"])["zzz"]


def test_all_problems_come_at_once_with_their_places():
    body = whole(colour="red")
    body["kpis"][0]["kind"] = "ration"
    body["mappings"][1]["source"] = "promm"
    body["mappings"][3]["native_unit"] = "s"
    found = problems_of(body)
    assert any(p.startswith("colour: unknown key") for p in found)
    assert any(p.startswith("kpis[0].kind:") and "did you mean 'ratio'" in p for p in found)
    assert any(p.startswith("mappings[1].source:") and "did you mean 'prom'" in p for p in found)
    assert 'mappings[3].native_unit: "s" cannot be used; write one of %, 1' in found


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("kpis", 0, "unit"), "ms", "write one of %, 1"),
        (("kpis", 0, "range"), [100, 0], "lowest and the highest"),
        (("kpis", 0, "aliases"), ["latency_ms"], "is a name already"),
        (("kpis", 0, "weight"), 1, "unknown key"),
        (("kpis", 1, "direction"), "down", "write one of lower, higher"),
        (("sources", "fleet", "url"), "ftp://x", "is not an address"),
        (("sources", "fleet", "url"), "http://user:pw@x/", "holds a login"),
        (("sources", "fleet", "timeout_seconds"), 0, "above 0"),
        (("sources", "fleet", "headers"), {"Authorization": "Bearer abc"}, "environment"),
        (("sources", "fleet", "headers"), {"X-Scope": "${}"}, "${NAME}"),
        (("mappings", 0, "bad"), {"query": "x"}, "takes no query"),
        (("mappings", 0, "bad"), {"metric": "x", "query": "y"}, "exactly one of"),
        (("mappings", 0, "bad"), {"metric": "no spaces"}, "name of a metric"),
        (("mappings", 0, "value"), {"metric": "x"}, "read from bad and total or value"),
        (("mappings", 0, "native_unit"), "%", "leave it out"),
        (("mappings", 0, "tenant_label"), "le", "name of a label"),
        (("mappings", 0, "version_label"), "tenant", "another label"),
        (("mappings", 0, "kpi"), "5xx_rate", "write its name 'error_rate'"),
        (("mappings", 1, "source"), "fleet", "mapped to 'fleet' already"),
        (("dashboards", 0, "panels", 0, "quantile"), 0.5, "leave it out"),
        (("dashboards", 0, "panels", 0, "split"), "pie", "canary_control"),
    ],
)
def test_each_mistake_is_named(path, value, said):
    body = whole()
    place = body
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert any(said in problem for problem in problems_of(body))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON at line 1"),
        ("[]", "write one object"),
        ('{"kpis": [], "kpis": []}', "written twice"),
        ("{}", "kpis: is missing"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_text_that_is_no_dictionary_is_refused(text, said):
    assert any(said in problem for problem in problems_of(text))


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
    ),
    st.sampled_from(["kpis", "sources", "mappings", "dashboards"]),
)
def test_no_json_breaks_the_reading(value, section):
    # Anything else than a refusal would rise here.
    with suppress(DictionaryRejected):
        load_dictionary(json.dumps(whole(**{section: value})))


def test_a_guardrail_is_put_into_the_units_of_its_kpi():
    resolved = resolve_guardrail(Guardrail("request_duration", at_most=0.2, unit="s"), LATENCY)
    assert (resolved.kpi, resolved.at_most, resolved.unit) == ("latency_ms", 200, "ms")
    assert resolved.slow_share_percent == 5
    assert resolve_guardrail(resolved, LATENCY) == resolved


def test_a_threshold_for_a_kpi_where_more_is_better_is_the_least_allowed():
    threshold = Guardrail("pass_rate", at_most=95, slow_share_percent=5)
    resolved = resolve_guardrail(threshold, PASS_RATE)
    assert (resolved.at_most, resolved.at_least) == (None, 95)
    assert resolve_guardrail(resolved, PASS_RATE) == resolved
    written = resolve_guardrail(Guardrail("pass_rate", at_most=95), PASS_RATE)
    assert written.at_most == 95


def test_a_guardrail_that_cannot_work_is_refused():
    with pytest.raises(GuardrailUnusable, match="write one of %, 1"):
        resolve_guardrail(Guardrail("error_rate", at_most=2, unit="ms"), ERROR_RATE)
    with pytest.raises(GuardrailUnusable, match="outside its range"):
        resolve_guardrail(Guardrail("error_rate", at_most=200), ERROR_RATE)
    with pytest.raises(GuardrailUnusable, match="at_most or at_least"):
        resolve_guardrail(Guardrail("error_rate"), ERROR_RATE)


@pytest.mark.parametrize(
    ("unit", "other", "factor"),
    [("ms", "s", 1000), ("%", "1", 100), ("bytes", "kB", 1000), ("1/min", "1/s", 60)],
)
def test_every_family_of_units_converts(unit, other, factor):
    kpi = KpiDefinition("x", "gauge", unit, "lower")
    assert resolve_guardrail(Guardrail("x", at_most=0.57, unit=other), kpi).at_most == (
        pytest.approx(0.57 * factor, rel=1e-12)
    )


def test_units_are_taken_as_ucum_spells_them():
    body = whole()
    body["kpis"].append({"name": "heap", "kind": "gauge", "unit": "MiBy", "direction": "lower"})
    heap = {"kpi": "heap", "source": "prom", "value": {"metric": "heap"}, "native_unit": "By"}
    body["mappings"].append(heap)
    dictionary = load_dictionary(json.dumps(body))
    assert dictionary.kpis["heap"].unit == "MiB"
    assert dictionary.mappings[-1].native_unit == "bytes"


def test_one_of_several_series_and_rates_are_said_by_the_mapping():
    body = whole()
    body["mappings"][1]["rate_window_seconds"] = 60
    body["mappings"][3]["reduce"] = "max"
    dictionary = load_dictionary(json.dumps(body))
    assert dictionary.mappings[1].rate_window_seconds == 60
    assert dictionary.mappings[3].reduce == "max"


@pytest.mark.parametrize(
    ("mapping", "key", "value", "said"),
    [
        (1, "reduce", "max", "counts of several series can only be added up"),
        (3, "reduce", "median", "write one of sum, max, avg"),
        (3, "rate_window_seconds", 60, "leave it out"),
        (1, "rate_window_seconds", 0, "above 0"),
        (3, "native_unit", "percent", "did you mean '%'?"),
    ],
)
def test_what_a_mapping_cannot_say_is_named(mapping, key, value, said):
    body = whole()
    body["mappings"][mapping][key] = value
    assert any(said in problem for problem in problems_of(body))


def test_a_kpi_that_a_mapping_misspells_is_suggested():
    body = whole()
    body["mappings"][2]["kpi"] = "latency_seconds"
    assert any("did you mean 'latency_ms'?" in problem for problem in problems_of(body))
