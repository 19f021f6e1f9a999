"""Guardrails about each tenant and about the present batch, and a bad tenant among good ones."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.guardrails.verdict import GuardState, guardrail_key, judge, measure, promotable
from batches.kpis.dictionary import resolve_guardrail
from batches.looks.kpi_points import LookSample
from batches.sources.increments import failed_look
from plans.policies.policy import Guardrail
from tests.decisions.kpi_looks import ERROR_RATE, NOON, PASS_RATE, after, gauge, look, ratio

PLAN = resolve_guardrail(Guardrail("error_rate", at_most=5), ERROR_RATE)
EACH = replace(PLAN, scope="tenant")
CREW = ("acorn", "birch", "cedar")


def follow(looks, rule, *, tenants=CREW, restart=None, definition=ERROR_RATE):
    """Judge after each look, as the watch does; return the last state and every ruling."""
    state, rulings = GuardState(), []
    about = None if rule.scope == "plan" else tenants
    for number, newest in enumerate(looks):
        if number == restart:
            state = GuardState.from_json(json.loads(json.dumps(state.to_json())))
        seen = measure(
            rule,
            definition,
            looks[: number + 1],
            canary=len(tenants),
            now=newest.at,
            tenants=about,
        )
        state, ruling = judge(state, seen, rule, now=newest.at, soak_started=NOON)
        rulings.append(ruling)
    return state, rulings


def course(*rounds, **absent):
    """Return one look per round: tenant -> (bad, total)."""
    return [
        replace(
            look(5 * number, {key: ratio(*pair) for key, pair in points.items()}),
            absent={key: cause for key, cause in absent.items() if key not in points},
        )
        for number, points in enumerate(rounds, start=1)
    ]


ONE_BAD = {"acorn": (0, 1000), "birch": (30, 100), "cedar": (0, 1000)}


def test_one_bad_tenant_breaks_a_guardrail_about_each_alone():
    _, (first, second) = follow(course(ONE_BAD, ONE_BAD), EACH)
    assert (first.verdict, second.verdict) == ("undecided", "breached")
    assert dict(second.breached_by) == {"birch": 30.0}
    assert second.sentence == (
        "error_rate 30 % in birch (200 requests, 60 s) is over its limit of 5 %, 2 looks running"
    )


def test_the_others_are_named_with_the_worst():
    points = {"acorn": (9, 100), "birch": (30, 100), "cedar": (8, 100)}
    _, rulings = follow(course(points, points), EACH)
    assert sorted(rulings[1].breached_by) == ["acorn", "birch", "cedar"]
    assert "in birch" in rulings[1].sentence
    assert ", and so are acorn, cedar" in rulings[1].sentence


def test_different_tenants_that_fail_in_turn_are_no_breach():
    bad, good = (40, 100), (0, 10_000)
    rounds = [
        {"acorn": bad, "birch": good, "cedar": good},
        {"acorn": good, "birch": (9000, 10_000), "cedar": good},
    ]
    _, rulings = follow(course(*rounds), EACH)
    assert rulings[1].verdict == "undecided"


def test_each_tenant_needs_enough_requests_of_its_own():
    points = {"acorn": (0, 100), "birch": (4, 5), "cedar": (0, 100)}
    _, (ruling, _) = follow(course(points, points), EACH)
    assert (ruling.verdict, dict(ruling.breached_by)) == ("fine", {})


def test_it_is_fine_only_when_more_than_half_of_the_tenants_were_measured():
    few = {"acorn": (0, 100), "birch": (0, 5), "cedar": (0, 5)}
    state, [ruling] = follow(course(few), EACH)
    assert ruling.verdict == "undecided"
    assert "1 of 3 upgraded tenants measured, each by itself" in ruling.sentence
    assert promotable([state], [EACH])[0] is False


def test_a_bad_tenant_is_not_let_off_because_most_others_are_silent():
    rounds = [{"birch": (30, 100)}, {"birch": (30, 100)}]
    _, rulings = follow(course(*rounds, acorn="stale", cedar="stale"), EACH)
    assert (rulings[1].verdict, dict(rulings[1].breached_by)) == ("breached", {"birch": 30.0})


def test_most_tenants_silent_and_nobody_bad_is_no_data():
    _, [ruling] = follow(course({"birch": (0, 100)}, acorn="stale", cedar="stale"), EACH)
    assert (ruling.verdict, ruling.cause) == ("no_data", "stale")


def test_a_tenant_that_broke_it_and_went_quiet_stays_broken_until_a_good_look():
    looks = course(ONE_BAD, ONE_BAD)
    quiet = replace(look(200, {"acorn": ratio(0, 99), "cedar": ratio(0, 99), "birch": ratio(0, 2)}))
    well = look(205, {"acorn": ratio(0, 99), "cedar": ratio(0, 99), "birch": ratio(0, 99)})
    _, rulings = follow([*looks, quiet, well], EACH)
    assert [r.verdict for r in rulings[1:]] == ["breached", "breached", "fine"]


def test_a_tenant_that_left_is_forgotten():
    looks = course(ONE_BAD, ONE_BAD)
    gone = look(15, {"acorn": ratio(0, 100), "cedar": ratio(0, 100)})
    state, _ = follow(looks, EACH)
    seen = measure(
        EACH, ERROR_RATE, [*looks, gone], canary=2, now=gone.at, tenants=("acorn", "cedar")
    )
    state, ruling = judge(state, seen, EACH, now=gone.at, soak_started=NOON)
    assert (ruling.verdict, dict(state.tenants)) == ("fine", {})


@pytest.mark.parametrize(
    ("on_missing", "verdict", "broke"),
    [("hold", "fine", []), ("breach", "breached", ["cedar"]), ("ignore", "fine", [])],
)
def test_missing_data_of_one_tenant_is_that_tenants(on_missing, verdict, broke):
    rule = replace(EACH, on_missing=on_missing)
    rounds = [{"acorn": (0, 100), "birch": (0, 100)}] * 2
    _, rulings = follow(course(*rounds, cedar="no_series"), rule)
    assert (rulings[1].verdict, sorted(rulings[1].breached_by)) == (verdict, broke)


def test_when_the_source_is_down_breach_means_every_tenant_once_it_is_no_longer_tolerated():
    rule = replace(EACH, on_missing="breach", consecutive_error_limit=1)
    down = [
        failed_look(
            kpi="error_rate", source="fleet", at=after(5 * n), cause="source_down", sentence="x"
        )
        for n in range(1, 5)
    ]
    _, rulings = follow(down, rule)
    assert [r.verdict for r in rulings] == ["undecided", "undecided", "breached", "breached"]
    assert sorted(rulings[-1].breached_by) == sorted(CREW)


def test_of_a_batch_only_its_own_tenants_count():
    rule = replace(PLAN, scope="batch")
    looks = course({"acorn": (90, 100), "birch": (0, 100), "cedar": (0, 100)})
    seen = measure(rule, ERROR_RATE, looks, canary=3, now=looks[0].at, tenants=("birch", "cedar"))
    assert (seen.outcome, seen.value, seen.n) == ("successful", 0, 200)


def test_of_a_batch_without_upgraded_tenants_nothing_is_said():
    rule = replace(PLAN, scope="batch")
    looks = course({"acorn": (90, 100)})
    seen = measure(rule, ERROR_RATE, looks, canary=1, now=looks[0].at, tenants=())
    assert (seen.outcome, seen.cause) == ("inconclusive", None)
    assert "no tenant of this batch is upgraded yet" in seen.sentence


def test_guardrails_of_other_scopes_have_other_names():
    names = {
        guardrail_key(replace(PLAN, scope=scope, against=against))
        for scope in ("plan", "batch", "tenant")
        for against in ("absolute", "control", "own_history")
    }
    assert len(names) == 9
    assert guardrail_key(PLAN) == "error_rate at_most 5 % over 60 s"


# One bad tenant among good ones.

ONE_GOOD = {"acorn": ratio(0, 1000), "cedar": ratio(0, 1000)}


def test_a_bad_tenant_stands_out_although_all_together_are_fine():
    _, (first, second) = follow(course(ONE_BAD, ONE_BAD), PLAN)
    assert (second.verdict, dict(first.stands_out)) == ("fine", {})
    assert dict(second.stands_out) == {"birch": 30.0}


def test_a_little_over_the_limit_is_nothing_that_stands_out():
    points = ONE_BAD | {"birch": (9, 100)}
    assert not follow(course(points, points), PLAN)[1][1].stands_out


def test_too_few_requests_of_its_own_are_nothing_that_stands_out():
    points = ONE_BAD | {"birch": (9, 9)}
    assert not follow(course(points), PLAN)[1][0].stands_out


def test_whoever_stood_out_and_gives_too_little_now_is_not_said_to_be_well():
    quiet = replace(look(100, ONE_GOOD | {"birch": ratio(1, 2)}))
    well = look(105, ONE_GOOD | {"birch": ratio(0, 100)})
    _, rulings = follow([*course(ONE_BAD, ONE_BAD), quiet, well], PLAN)
    assert dict(rulings[2].stands_out) == {"birch": None}
    assert not rulings[3].stands_out


def test_where_more_is_better_whoever_is_twice_as_far_from_the_best_stands_out():
    rule = resolve_guardrail(Guardrail("pass_rate", at_least=95), PASS_RATE)
    values = dict.fromkeys("abcdefgh", gauge(99.0)) | {"acorn": gauge(80.0)}
    looks = [look(s, values, kpi="pass_rate") for s in (5, 10)]
    _, rulings = follow(looks, rule, tenants=tuple(values), definition=PASS_RATE)
    assert (rulings[1].verdict, dict(rulings[1].stands_out)) == ("fine", {"acorn": 80.0})


# Properties.

counts = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda c: (c[0], c[0] + c[1]))
rounds_of = st.lists(
    st.dictionaries(st.sampled_from(CREW), counts, min_size=1), min_size=1, max_size=6
)
ORDER = ["fine", "undecided", "breached"]
full_rounds = st.lists(st.fixed_dictionaries(dict.fromkeys(CREW, counts)), min_size=1, max_size=6)


@given(full_rounds, st.integers(0, 5), st.integers(1, 50))
def test_worse_numbers_of_a_tenant_never_make_a_better_verdict(rounds, where, more):
    worse = [dict(points) for points in rounds]
    points = worse[where % len(worse)]
    for tenant, (bad, total) in points.items():
        points[tenant] = (min(total, bad + more), total)
    before = follow(course(*rounds), EACH)[1][-1]
    after_it = follow(course(*worse), EACH)[1][-1]
    assert set(before.breached_by) <= set(after_it.breached_by)
    assert ORDER.index(after_it.verdict) >= ORDER.index(before.verdict)


@given(rounds_of, st.integers(0, 5), st.sampled_from([PLAN, EACH]))
def test_a_restart_changes_nothing(rounds, restart, rule):
    looks = course(*rounds)
    assert follow(looks, rule, restart=restart) == follow(looks, rule)


@given(rounds_of)
def test_who_broke_it_does_not_depend_on_who_else_is_there(rounds):
    alone = [{k: v for k, v in points.items() if k == "acorn"} for points in rounds]
    with_others = "acorn" in follow(course(*rounds), EACH)[1][-1].breached_by
    by_itself = "acorn" in follow(course(*alone), EACH, tenants=("acorn",))[1][-1].breached_by
    assert with_others == by_itself


@given(rounds_of)
def test_a_look_that_was_stored_says_the_same(rounds):
    looks = course(*rounds, cedar="stale")
    stored = [LookSample.from_json(json.loads(json.dumps(one.to_json()))) for one in looks]
    assert stored == looks
    assert follow(stored, EACH) == follow(looks, EACH)
