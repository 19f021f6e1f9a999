"""The evidence test's formulas by their ids, called with the inputs of a reference case."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from batches.evidence import calibration, intervals, sequential_test, soak_planner
from batches.evidence.sequential_test import Counts, Process, Tolerance

Inputs = Mapping[str, Any]

RISK: Final = 0.01
"""Of cases that show a percentage and name no risk."""


def _bet_size(given: Inputs) -> dict[str, Any]:
    stake = sequential_test.bet_size(given["kappa"], given["c"], given["a"], given["d"])
    return {"u": stake}


def _log_increment(given: Inputs) -> dict[str, Any]:
    grown = sequential_test.log_increment(
        given["xc"],
        given["xk"],
        c=given["c"],
        tolerated=given["D"],
        stake=given["u"],
        phi=given["phi"],
    )
    return {"log_e": grown}


def _trajectory(given: Inputs) -> dict[str, Any]:
    if tuple(given.get("kappas", sequential_test.KAPPAS)) != sequential_test.KAPPAS:
        raise ValueError(f"the console bets on {sequential_test.KAPPAS}")
    if given.get("w0", sequential_test.FIRST_SHARE) != sequential_test.FIRST_SHARE:
        raise ValueError(f"the console bets {sequential_test.FIRST_SHARE} at the first look")
    tolerance = Tolerance(given["r"], given["delta"])
    state, logs = Process(), []
    for step in given["steps"]:
        look = Counts(
            seconds=step["dt"],
            canary_errors=step["xc"],
            canary_requests=step["nc"],
            control_errors=step["xk"],
            control_requests=step["nk"],
            canary_expected=step["exp_c"],
            control_expected=step["exp_k"],
            phi=given["phi"],
        )
        state = sequential_test.take_look(
            state, look, tolerance, horizon_seconds=given["horizon_s"]
        )
        # Each look starts from what a restart would find in the database.
        state = Process.from_json(state.to_json())
        logs.append(state.log_e)
    return {
        "log_e": logs,
        "rollback_at_alpha_0_01": state.peak >= sequential_test.threshold(RISK),
        "evidence_pct": sequential_test.shown_percent(state, RISK),
        "anytime_p": sequential_test.anytime_p(state.peak),
    }


def _share_interval(given: Inputs) -> dict[str, Any]:
    errors, requests = given["x"], given["n"]
    prior = {"a": given["a"], "b": given["b"]}
    found = intervals.share_interval(errors, requests, risk=given["alpha"], **prior)
    return {
        "lower": found.lower,
        "upper": found.upper,
        "log_e_at_5pct": intervals.log_e_of_share(errors, requests, 0.05, **prior),
    }


def _ratio_interval(given: Inputs) -> dict[str, Any]:
    counts = given["xc"], given["nc"], given["xk"], given["nk"]
    found = intervals.ratio_interval(*counts, risk=given["alpha"])
    return {
        "ratio_lower": found.lower,
        "ratio_upper": found.upper,
        "ratio_hat": found.estimate,
        "log_e_ratio_1": intervals.log_e_of_equal_rates(*counts),
    }


def _merged(given: Inputs) -> dict[str, Any]:
    names = [str(number) for number in range(len(given["e"]))]
    logs = {
        name: math.log(e) if e > 0 else sequential_test.NOTHING
        for name, e in zip(names, given["e"], strict=True)
    }
    together = sequential_test.merge(logs, dict(zip(names, given["w"], strict=True)))
    return {
        "e": math.exp(together.log_e),
        "evidence_pct": sequential_test.percent(together.log_e, given["alpha"]),
        "rollback": together.log_e >= sequential_test.threshold(given["alpha"]),
        "anytime_p": sequential_test.anytime_p(together.log_e),
    }


def _rank_sum(given: Inputs) -> dict[str, Any]:
    tail = intervals.rank_sum_tail(given["w"], canaries=given["m"], tenants=given["M"])
    return {"p": tail}


def _soak(given: Inputs) -> dict[str, Any]:
    plan = soak_planner.soak_plan(
        usual=given["p0"],
        fault=given["p1"],
        traffic=given["w"],
        tolerance=Tolerance(given["r"], given["delta"]),
        risk=given["alpha"],
        canary_per_second=given["canary_rps"],
        phi=given["phi"],
    )
    return {"requests": plan.requests, "minutes": plan.minutes}


def _zero_errors(given: Inputs) -> dict[str, Any]:
    return {"n": intervals.zero_error_requests(given["p"], risk=given["alpha"])}


def _dispersion(given: Inputs) -> dict[str, Any]:
    return {"phi": calibration.dispersion(given["x"], given["n"])}


def _incidents(given: Inputs) -> dict[str, Any]:
    """Go through the control's looks as the live path does: F11 counts from the next look on."""
    incident, phis = Process().incident, []
    for errors, usual in given["control"]:
        phis.append(sequential_test.scaled_dispersion(given["phi"], incident))
        incident = sequential_test.next_incident(incident, errors, usual)
    return {"phi_t": phis}


FORMULAS: Final[Mapping[str, Callable[[Inputs], Any]]] = {
    "F1": _bet_size,
    "F2": _log_increment,
    "F3": _trajectory,
    "F4": _share_interval,
    "F5": _ratio_interval,
    "F6": _merged,
    "F7": _rank_sum,
    "F8": _soak,
    "F9": _zero_errors,
    "F10": _dispersion,
    "F11": _incidents,
}
