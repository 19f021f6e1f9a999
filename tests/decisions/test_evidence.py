"""The evidence test keeps what it promises: at any time, after any restart, whatever is missing."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batches.evidence.calibration import exposure, fleet_rate
from batches.evidence.intervals import (
    rank_sum_tail,
    ratio_interval,
    share_interval,
    zero_error_requests,
)
from batches.evidence.sequential_test import (
    FIRST_SHARE,
    KAPPAS,
    Counts,
    Process,
    Tolerance,
    bet_size,
    log_increment,
    merge,
    percent,
    shown_percent,
    take_look,
    threshold,
    update,
)
from batches.evidence.soak_planner import requests_needed, soak_plan

USUAL = Tolerance(1.2, 0.005)
HORIZON = 1800.0

requests = st.integers(1, 3000)
sides = st.tuples(requests, requests).map(lambda pair: (min(pair), max(pair)))


@st.composite
def looks(draw, most=8):
    """Return looks with traffic on both sides."""
    found = []
    for _number in range(draw(st.integers(1, most))):
        canary, control = draw(requests), draw(requests)
        found.append(
            Counts(
                draw(st.sampled_from([1.0, 5.0, 60.0, 1000.0])),
                draw(st.integers(0, canary)),
                canary,
                draw(st.integers(0, control)),
                control,
                phi=draw(st.sampled_from([1.0, 2.5, 10.0])),
            )
        )
    return found


def after(seen, state=None, tolerance=USUAL) -> Process:
    state = state or Process()
    for look in seen:
        state = take_look(state, look, tolerance, horizon_seconds=HORIZON)
    return state


def restarted(state: Process) -> Process:
    return Process.from_json(json.loads(json.dumps(state.to_json())))


@given(looks(), st.data())
def test_more_errors_of_the_canary_never_lower_the_evidence(seen, data):
    worse = [
        replace(
            look,
            canary_errors=data.draw(
                st.integers(int(look.canary_errors), int(look.canary_requests))
            ),
        )
        for look in seen
    ]
    assert after(worse).log_e >= after(seen).log_e - 1e-9


@given(looks())
def test_a_restart_at_any_look_changes_nothing(seen):
    straight, again = Process(), Process()
    for look in seen:
        straight = take_look(straight, look, USUAL, horizon_seconds=HORIZON)
        again = restarted(take_look(restarted(again), look, USUAL, horizon_seconds=HORIZON))
        assert again == straight


@given(looks(most=6), st.sampled_from([USUAL, Tolerance(1.0, 0.0), Tolerance(0.0, 0.05)]))
@settings(max_examples=60)
def test_the_recursion_equals_a_bet_begun_at_each_look(seen, tolerance):
    """Compute the mixture over all beginnings explicitly, as it is defined."""
    spent, elapsed, errors, total = 0.0, 0.0, 0.0, 0.0
    shares, gains = [], []
    for look in seen:
        elapsed += look.seconds
        reached = FIRST_SHARE + (1 - FIRST_SHARE) * min(1.0, elapsed / HORIZON)
        shares.append(reached - spent)
        spent = reached
        c = tolerance.ratio * look.canary_requests / look.control_requests
        p0 = (errors + 1) / (total + 200)
        gains.append(
            [
                log_increment(
                    look.canary_errors,
                    look.control_errors if c else 0,
                    c=c,
                    tolerated=tolerance.points * look.canary_requests,
                    stake=bet_size(kappa, c, tolerance.ratio * p0, tolerance.points),
                    phi=look.phi,
                )
                for kappa in KAPPAS
            ]
        )
        errors, total = errors + look.control_errors, total + look.control_requests
    begun = [
        share * math.exp(min(600.0, math.fsum(gains[t][k] for t in range(start, len(seen)))))
        for start, share in enumerate(shares)
        for k in range(len(KAPPAS))
    ]
    expected = 1 - spent + math.fsum(begun) / len(KAPPAS)
    got = after(seen, tolerance=tolerance).log_e
    if got < 500:
        assert got == pytest.approx(math.log(expected), rel=1e-9, abs=1e-9)


@given(
    st.floats(0, 0.5),
    st.integers(1, 2000),
    st.integers(1, 2000),
    st.sampled_from([USUAL, Tolerance(1.0, 0.0), Tolerance(2.0, 0.01)]),
    st.sampled_from(KAPPAS),
    st.floats(1e-4, 0.3),
)
def test_no_bet_gains_on_average_while_it_is_no_worse_than_tolerated(
    control, nc, nk, tolerance, kappa, believed
):
    canary = min(1.0, tolerance.ratio * control + tolerance.points)
    c = tolerance.ratio * nc / nk
    stake = bet_size(kappa, c, tolerance.ratio * believed, tolerance.points)
    # The mean of exp(increment) over independent requests, exactly.
    mean = (
        nc * math.log1p(stake * canary)
        + nk * math.log1p(-stake * c * control)
        - tolerance.points * nc * stake
    )
    assert mean <= 1e-9


NOTHING = (math.nan, math.inf, -math.inf, -1.0)


@given(looks(), st.sampled_from(NOTHING), st.integers(0, 3))
def test_what_is_no_number_moves_no_evidence_and_counts_for_nothing(seen, odd, place):
    state = after(seen)
    field = ("canary_errors", "canary_requests", "control_errors", "control_requests")[place]
    broken = replace(seen[-1], **{field: odd})
    moved = take_look(state, broken, USUAL, horizon_seconds=HORIZON)
    assert moved.log_e == pytest.approx(state.log_e, abs=1e-9)
    assert moved.compared == state.compared
    assert moved.idle_seconds == state.idle_seconds + broken.seconds
    # Nor does it stop the looks after it.
    assert math.isfinite(after(seen, moved).log_e)


@pytest.mark.parametrize(("nc", "nk"), [(0, 100), (100, 0), (0, 0)])
def test_a_look_without_traffic_on_a_side_moves_nothing(nc, nk):
    state = after([Counts(5, 3, 100, 1, 1000)])
    moved = take_look(state, Counts(5, 0, nc, 0, nk), USUAL, horizon_seconds=HORIZON)
    assert moved.log_e == pytest.approx(state.log_e, abs=1e-12)
    assert moved.compared == state.compared == 100


def test_an_absolute_limit_needs_no_control():
    state = after([Counts(5, 12, 100, 0, 0)] * 3, tolerance=Tolerance(0.0, 0.05))
    assert shown_percent(state, 0.01) > 0


def test_a_fault_that_begins_late_is_found_by_the_money_that_was_kept():
    calm, bad = Counts(5, 1, 200, 10, 1900), Counts(5, 20, 200, 10, 1900)
    state, waited = after([calm] * 240), 0
    while state.peak < threshold(0.01):
        state, waited = after([bad], state), waited + 1
    assert waited <= 3


def test_evidence_may_fall_until_it_has_reached_all_and_stays_then():
    state = after([Counts(5, 4, 100, 0, 1900)])
    high = shown_percent(state, 0.01)
    assert 0 < high < 100
    assert shown_percent(after([Counts(5, 0, 900, 30, 1900)] * 20, state), 0.01) < high
    proven = after([Counts(5, 90, 100, 0, 1900)], state)
    assert shown_percent(after([Counts(5, 0, 900, 30, 1900)] * 200, proven), 0.01) == 100


@given(st.dictionaries(st.sampled_from("abcd"), st.floats(-50, 50), min_size=1))
def test_together_they_are_never_worth_more_than_the_best_and_its_share_at_least(logs):
    found = merge(logs)
    best = max(logs.values())
    assert best - math.log(len(logs)) - 1e-9 <= found.log_e <= best + 1e-9
    assert logs[found.blame] == pytest.approx(best, abs=1e-9)


def test_a_fleet_incident_slows_the_bets_down_and_is_told():
    bad = Counts(5, 30, 100, 90, 1900, phi=2.0)
    state = Process()
    for _look in range(8):
        state = take_look(state, bad, USUAL, horizon_seconds=HORIZON, usual_control_errors=9.5)
    assert state.fleet_incident
    without = after([bad] * 8)
    assert not without.fleet_incident
    assert state.log_e < without.log_e


def test_while_everyone_is_ill_nothing_is_bet_and_nothing_counts_as_compared():
    ill = Counts(5, 30, 100, 90, 1900)
    state = Process()
    for _look in range(3):
        state = take_look(state, ill, USUAL, horizon_seconds=HORIZON, usual_control_errors=9.5)
    assert state.fleet_incident
    worse = replace(ill, canary_errors=100)
    after_it = take_look(state, worse, USUAL, horizon_seconds=HORIZON, usual_control_errors=9.5)
    assert after_it.log_e == pytest.approx(state.log_e)
    assert after_it.compared == state.compared
    assert after_it.idle_seconds == 0
    # It ends with the incident.
    calm = Counts(5, 30, 100, 9, 1900)
    for _look in range(6):
        after_it = take_look(
            after_it, calm, USUAL, horizon_seconds=HORIZON, usual_control_errors=9.5
        )
    assert after_it.log_e > state.log_e + 5


def test_one_error_instead_of_none_is_no_incident():
    state = Process()
    for errors in (0, 5, 0):
        look = Counts(5, 0, 10, errors, 100)
        state = take_look(state, look, USUAL, horizon_seconds=HORIZON, usual_control_errors=0.1)
    assert state.incident > 3
    assert not state.fleet_incident


@given(looks())
def test_more_scatter_never_makes_a_gain_larger(seen):
    calm = [replace(look, phi=1.0) for look in seen]
    state = after(calm)
    wild = after([replace(look, phi=5.0) for look in seen])
    if state.log_e > 0:
        assert wild.log_e <= state.log_e + 1e-9


def test_the_value_of_money_not_yet_bet_is_never_lost():
    state = update(Process(), Counts(5, 0, 10**6, 10**5, 10**6), USUAL, horizon_seconds=HORIZON)
    assert state.log_e == pytest.approx(math.log(1 - state.spent))
    assert percent(state.log_e, 0.01) == 0


# History.


def test_a_tenant_without_history_counts_as_the_fleet_does():
    fleet = fleet_rate({"acorn": (50.0, 10_000.0), "birch": (150.0, 10_000.0)})
    assert exposure(100, 0, 0, fleet) == pytest.approx(100 * fleet)


def test_much_history_outweighs_the_fleet():
    assert exposure(100, 5000, 100_000, 0.001) == pytest.approx(5.0, rel=0.05)


# Intervals and planning.


@given(st.integers(0, 50), st.integers(1, 2000))
def test_an_interval_holds_its_estimate_and_shrinks_with_certainty(errors, n):
    errors = min(errors, n)
    wide, narrow = (share_interval(errors, n, risk=risk) for risk in (0.001, 0.1))
    assert 0 <= wide.lower <= narrow.lower <= errors / n <= narrow.upper <= wide.upper <= 1


def test_a_ratio_without_errors_is_not_known():
    assert ratio_interval(0, 100, 0, 100, risk=0.01).estimate is None
    assert ratio_interval(3, 100, 0, 100, risk=0.01).upper is None


def test_the_rank_sum_is_exact():
    assert rank_sum_tail(3, canaries=2, tenants=4) == 1
    assert rank_sum_tail(7, canaries=2, tenants=4) == pytest.approx(1 / 6)
    assert rank_sum_tail(40, canaries=1, tenants=40) == pytest.approx(1 / 40)


def test_the_rule_of_three():
    assert zero_error_requests(0.01, risk=0.05) == 299


def needed(**changes):
    case: dict[str, Any] = {
        "usual": 0.005,
        "fault": 0.02,
        "traffic": 2 / 38,
        "tolerance": USUAL,
        "risk": 0.01,
    }
    return requests_needed(**case | changes)


@pytest.mark.parametrize(
    "harder",
    [{"fault": 0.015}, {"risk": 0.001}, {"phi": 3.0}, {"power": 0.99}, {"traffic": 1.0}],
    ids=str,
)
def test_what_is_harder_to_see_takes_more_requests(harder):
    assert needed(**harder) > needed()


def test_what_is_tolerated_is_found_by_no_number_of_requests():
    assert needed(fault=0.011) is None
    assert needed(traffic=0.0) is None


def test_without_traffic_no_time_is_long_enough():
    plan = soak_plan(
        usual=0.005,
        fault=0.02,
        traffic=0.05,
        tolerance=USUAL,
        risk=0.01,
        canary_per_second=0.0,
    )
    assert plan.requests is not None
    assert plan.minutes is None
