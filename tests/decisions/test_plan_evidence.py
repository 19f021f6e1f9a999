"""The evidence of one plan: looks in, a ruling with its sentence out."""

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from batches.decisions.decide import decide
from batches.decisions.decision_facts import BatchFacts, BreachFacts, PlanFacts
from batches.evidence.calibration import Usual
from batches.evidence.plan_evidence import PlanEvidence, counts_of, with_look
from batches.evidence.rules import EvidenceTest, KpiUnderTest, evidence_test
from batches.evidence.ruling import (
    Surroundings,
    needed_requests,
    reached_sentence,
    recent,
    rule,
)
from batches.evidence.sequential_test import Tolerance
from batches.kpis.dictionary import Dictionary, KpiMapping
from batches.looks.kpi_points import GaugePoint, HistogramPoint, LookSample, Point, RatioPoint
from batches.metric_sources import SourceSpec
from plans.policies.policy import (
    BatchSpec,
    Conditions,
    EvidenceRules,
    Guardrail,
    Limits,
    UpgradePolicy,
)
from tests.decisions.kpi_looks import ERROR_RATE, LATENCY, NOON, PASS_RATE, after

TEST = EvidenceTest(EvidenceRules(), {"error_rate": KpiUnderTest(ERROR_RATE)})
SLOW = KpiUnderTest(LATENCY, 200.0)
USUAL = Usual({f"t{n}": (50.0, 10_000.0) for n in range(10)})
AROUND = Surroundings(2, 8, {"error_rate": USUAL})


def a_look(seconds, canary=(1, 200), control=(4, 800), kpi="error_rate", tenants=2):
    """Return a look at two upgraded tenants and eight that wait."""
    return LookSample(
        kpi,
        after(seconds),
        canary={f"t{n}": RatioPoint(canary[0] / tenants, canary[1] / tenants) for n in range(2)},
        control={f"t{n}": RatioPoint(control[0] / 8, control[1] / 8) for n in range(2, 10)},
    )


def looked(*looks, state=None, test=TEST, usual=USUAL, soak=NOON):
    state = state or PlanEvidence()
    for one in looks:
        state = with_look(state, test, one, usual, soak_started=soak)
    return state


def calm(number, **more):
    return [a_look(5 * n, **more) for n in range(1, number + 1)]


BAD = [a_look(5 * n, canary=(60, 200)) for n in range(1, 9)]


# Looks.


def test_a_look_that_is_taken_in_twice_counts_once():
    once = looked(*BAD[:2])
    assert looked(BAD[1], BAD[0], BAD[1], state=once) == once


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6))
def test_a_restart_between_two_looks_changes_nothing(errors):
    straight = again = PlanEvidence()
    for number, bad in enumerate(errors, start=1):
        one = a_look(5 * number, canary=(bad, 200))
        straight = looked(one, state=straight)
        again = looked(one, state=PlanEvidence.from_json(json.loads(json.dumps(again.to_json()))))
    assert again == straight


def test_looks_go_on_at_once_after_a_clock_was_put_back():
    state = looked(*BAD[:1])
    assert looked(a_look(-3600, canary=(60, 200)), state=state).looks == 2


def test_what_reached_all_stays_and_so_does_who_is_to_blame():
    state = looked(*BAD)
    assert state.reached_at is not None
    later = looked(*[a_look(100 + 5 * n, control=(80, 800)) for n in range(50)], state=state)
    assert later.percent(0.01) == 100
    assert (later.blame, later.reached_at) == ("error_rate", state.reached_at)


def test_more_tolerance_begins_anew_and_less_goes_on():
    state = looked(*BAD)
    looser = replace(TEST, rules=EvidenceRules(points=5))
    tighter = replace(TEST, rules=EvidenceRules(points=0.1))
    assert looked(a_look(500), state=state, test=looser).reached_at is None
    assert looked(a_look(500), state=state, test=tighter).reached_at is not None
    assert looked(a_look(500), state=state, test=tighter).tolerance == Tolerance(1.2, 0.001)


def test_a_kpi_nobody_saw_takes_its_share_and_says_nothing():
    two = replace(TEST, kpis={**TEST.kpis, "latency_ms": SLOW})
    alone, both = looked(*BAD[:1]), looked(*BAD[:1], test=two)
    assert 0 < both.log_e < alone.log_e
    assert both.blame == "error_rate"


def test_slow_requests_are_those_above_the_largest_bound_within_the_limit():
    point = HistogramPoint({100.0: 50.0, 200.0: 80.0, 500.0: 99.0}, 100.0)
    sample = LookSample("latency_ms", NOON, canary={"a": point}, control={"b": point})
    counts, _usual = counts_of(sample, SLOW, Usual(), seconds=5)
    assert (counts.canary_errors, counts.canary_requests) == (20.0, 100.0)


@given(st.sampled_from([0.001, 1000.0, 60.0]))
def test_another_unit_of_the_same_times_changes_nothing(factor):
    point = HistogramPoint({100.0: 50.0, 200.0: 80.0}, 100.0)
    scaled = HistogramPoint({bound * factor: n for bound, n in point.buckets.items()}, 100.0)
    found = [
        counts_of(
            LookSample("latency_ms", NOON, canary={"a": p}, control={"b": p}),
            KpiUnderTest(LATENCY, limit),
            Usual(),
            seconds=5,
        )
        for p, limit in ((point, 200.0), (scaled, 200.0 * factor))
    ]
    assert found[0] == found[1]


def test_points_of_another_kind_and_buckets_without_a_bound_count_for_nothing():
    odd: dict[str, Point] = {"a": GaugePoint(5.0), "b": HistogramPoint({900.0: 1.0}, 5.0)}
    counts, _usual = counts_of(LookSample("latency_ms", NOON, canary=odd), SLOW, Usual(), seconds=5)
    assert counts.canary_requests == 0


@given(st.sampled_from([float("nan"), float("inf"), -5.0]))
def test_a_tenant_whose_counts_are_no_counts_says_nothing_and_hides_nobody(odd):
    points = {"acorn": RatioPoint(0.0, odd), "birch": RatioPoint(odd, 5.0), "t0": RatioPoint(1, 50)}
    sample = LookSample("error_rate", NOON, canary=points, control=points)
    counts, _usual = counts_of(sample, TEST.kpis["error_rate"], Usual(), seconds=5)
    assert (counts.canary_errors, counts.canary_requests) == (1, 50)


def test_tenants_that_always_had_more_errors_are_no_bad_version():
    noisy = Usual({f"t{n}": ((900.0 if n < 2 else 50.0), 10_000.0) for n in range(10)})
    looks = calm(60, canary=(18, 200))
    assert looked(*looks).reached_at is not None
    assert looked(*looks, usual=noisy).reached_at is None


def test_the_sums_of_the_picture_begin_anew_with_each_batch():
    state = PlanEvidence()
    for number, batch in enumerate((1, 1, 2), start=1):
        one = a_look(5 * number)
        state = with_look(state, TEST, one, USUAL, soak_started=NOON, batch=batch)
    assert tuple(state.band["error_rate"]) == (1, 200, 4, 800)
    # What decides goes on over all of them.
    assert state.processes["error_rate"].control_requests == 2400


# Rulings.


def ruled(state, around=AROUND, test=TEST):
    return rule(state, test, around)


def test_at_100_percent_the_policys_action_follows():
    ruling = ruled(looked(*BAD))
    assert (ruling.word, ruling.verdict, ruling.action) == ("rollback", "breached", "pause")
    back = replace(TEST, rules=EvidenceRules(action="rollback"))
    assert ruled(looked(*BAD), test=back).action == "rollback"
    assert not ruling.may_pass


def test_with_too_short_a_history_it_only_warns_and_says_so():
    short = Surroundings(2, 8, {}, {"error_rate": "12 requests are known"})
    ruling = ruled(looked(*BAD, usual=Usual()), short)
    assert (ruling.action, ruling.may_pass) == ("warn", True)
    assert "it only warns, since the tenants' history is too short (12 requests" in ruling.sentence
    assert "calibrated" not in ruling.sentence


def test_the_sentence_of_the_end_names_numbers_both_sides_and_the_worst_tenant():
    state = looked(*BAD)
    sentence = reached_sentence(state, TEST, AROUND, recent(BAD, TEST.kpis["error_rate"]))
    assert sentence == (
        "error_rate 30 % in the canary (480 of 1,600 requests in 35 s, 2 tenants) against 0.5 %"
        " in control: evidence 100 % at look 8, tolerated x1.2 + 0.5 points; worst tenant t0 30 %;"
        " calibrated by the tenants' own history"
    )


def test_a_batch_passes_after_as_many_requests_as_find_the_fault():
    needed = needed_requests(looked(*calm(3)), TEST, USUAL, "error_rate")
    few = ruled(looked(*calm(3)))
    assert (few.word, few.may_pass, few.cause) == ("soak", False, "exposure")
    assert f"600 of {needed:,.0f} requests seen that find 2 % with 95 % probability" in few.sentence
    many = ruled(looked(*calm(60)))
    assert (many.word, many.verdict, many.may_pass) == ("promote", "fine", True)


def test_requests_from_before_the_soak_find_nothing_of_this_batch():
    state = looked(*calm(60))
    again = looked(a_look(1000), state=state, soak=after(990))
    assert state.compared("error_rate") == 60 * 200
    assert again.compared("error_rate") == 200
    assert ruled(again).cause == "exposure"


def test_above_half_of_the_evidence_no_batch_passes():
    state = looked(*calm(60), *[a_look(400 + 5 * n, canary=(7, 200)) for n in range(3)])
    assert 50 < state.percent(0.01) < 100
    assert "a batch passes below 50 %" in ruled(state).sentence


def test_without_requests_on_a_side_it_holds():
    quiet = [a_look(400 + 5 * n, control=(0, 0)) for n in range(13)]
    ruling = ruled(looked(*calm(60), *quiet))
    assert (ruling.word, ruling.cause, ruling.may_pass) == ("hold", "no_traffic", False)


def test_a_kpi_that_was_not_looked_at_yet_lets_nothing_pass():
    ruling = ruled(PlanEvidence())
    assert (ruling.word, ruling.may_pass) == ("soak", False)
    assert ruling.sentence == "error_rate was not looked at yet"


def test_before_the_first_comparison_no_number_is_made_up():
    ruling = ruled(looked(a_look(5, canary=(0, 0))))
    assert ruling.sentence == (
        "evidence 0 %; error_rate: no requests seen yet that find 2 % with 95 % probability"
    )


def test_when_nobody_is_left_to_compare_with_it_says_so_and_lets_pass():
    ruling = ruled(looked(*calm(3)), replace(AROUND, control=0))
    assert (ruling.word, ruling.cause, ruling.may_pass) == ("promote", "no_control", True)


def test_an_incident_of_the_fleet_holds_and_blames_nobody():
    ill = [a_look(400 + 5 * n, canary=(8, 200), control=(60, 800)) for n in range(6)]
    ruling = ruled(looked(*calm(60), *ill))
    assert (ruling.word, ruling.action, ruling.cause) == ("hold", "hold", "fleet_incident")
    assert "it is hardly the new version" in ruling.sentence


@given(st.lists(st.sampled_from([None, "nan", "empty"]), min_size=1, max_size=20))
def test_missing_looks_never_let_a_batch_pass(kinds):
    state = looked(*calm(2))
    for number, kind in enumerate(kinds):
        at = after(100 + 5 * number)
        if kind == "nan":
            broken = {"t0": RatioPoint(0.0, float("nan"))}
            state = looked(LookSample("error_rate", at, canary=broken, control=broken), state=state)
        elif kind == "empty":
            state = looked(LookSample("error_rate", at, ok=False), state=state)
    assert not ruled(state).may_pass


# What the policy and the dictionary make of it.

SOURCE = SourceSpec("fleet", "prometheus_text", {"url": "http://127.0.0.1:1/metrics"})
POLICY = UpgradePolicy(
    "p", (BatchSpec("all", 100, 600),), evidence=EvidenceRules(kpis=("error_rate", "latency_ms"))
)


def known(*definitions):
    return Dictionary(
        {definition.name: definition for definition in definitions},
        {"fleet": SOURCE},
        tuple(KpiMapping(definition.name, "fleet") for definition in definitions),
    )


def test_what_is_slow_is_said_by_the_guardrail_on_the_histogram():
    limits = replace(POLICY, guardrails=(Guardrail("latency_ms", at_most=0.2, unit="s"),))
    test = evidence_test(limits, known(ERROR_RATE, LATENCY))
    assert test.kpis["latency_ms"].slow_above == 200.0
    assert test.horizon_seconds == 600
    assert not test.unusable


def test_what_cannot_be_tested_is_told_with_what_to_write():
    test = evidence_test(POLICY, known(ERROR_RATE, LATENCY))
    assert "write a guardrail with at_most" in test.unusable["latency_ms"]
    gauge = replace(POLICY, evidence=EvidenceRules(kpis=("pass_rate",)))
    assert "is a gauge" in evidence_test(gauge, known(PASS_RATE)).unusable["pass_rate"]
    nowhere = evidence_test(POLICY, known())
    assert "has no source for error_rate" in nowhere.unusable["error_rate"]
    assert ruled(PlanEvidence(), test=nowhere).cause == "unusable"


def test_without_the_section_there_is_no_test():
    assert evidence_test(replace(POLICY, evidence=None), known(ERROR_RATE)) is None


# What the watch does.


def facts(state="soaking", *, plan="running", **more):
    batch = BatchFacts(7, 1, "canary", state, 2, {"upgraded": 2}, **more.pop("batch", {}))
    return PlanFacts(plan, NOON, Limits(), Conditions(), (batch,), **more)


def test_evidence_pauses_as_a_guardrail_does():
    breach = BreachFacts("evidence", "error_rate", "pause", "it is worse")
    action = decide(facts(breaches=(breach,)))
    assert (action.do, action.kind) == ("pause", "breach:evidence")


def test_a_fleet_incident_holds_once():
    action = decide(facts(incident="everyone is ill"))
    assert (action.do, action.kind) == ("hold", "fleet_incident")
    let_on = {"acknowledged": {"fleet_incident": NOON}}
    assert decide(facts(incident="everyone is ill", batch=let_on)).do == "wait"
    assert decide(facts("held", incident="everyone is ill")).do == "stop"


def test_a_soak_without_a_verdict_is_held_for_a_person():
    action = decide(facts(inconclusive="no verdict", promotable_sentence="too few requests"))
    assert (action.do, action.kind) == ("hold", "evidence_inconclusive")
