"""What the watch does next: each rule, and which rule goes before which."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batches.decisions.decide import decide, missing_too_long
from batches.decisions.decide_forward import may_begin
from batches.decisions.decision_facts import (
    Action,
    BatchFacts,
    BreachFacts,
    MissingFacts,
    PlanFacts,
    RollbackFacts,
)
from plans.policies.policy import Conditions, Limits

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
BREACH = BreachFacts("error_rate at_most 5", "error_rate", "rollback", "error_rate is 9 %")
STARTS = {"open_batch", "call_batch", "pass_soak", "complete"}


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def batch(state: str, number: int = 1, **changes: Any) -> BatchFacts:
    size = changes.pop("size", 20)
    counts = changes.pop("counts", {"upgraded": size})
    return BatchFacts(number, number, f"wave-{number}", state, size, counts, **changes)


def pending(number: int = 2, **changes: Any) -> BatchFacts:
    return batch("pending", number, counts={"pending": 20}, **changes)


def deploying(**changes: Any) -> BatchFacts:
    changes.setdefault("calling_since", ago(10))
    changes.setdefault("handed_out_at", ago(10))
    return batch("deploying", **changes)


def plan(*batches: BatchFacts, state: str = "running", **changes: Any) -> PlanFacts:
    base = PlanFacts(state, NOW, Limits(), Conditions(), batches, promotable=True)
    return replace(base, **changes)


def missing(seconds: float = 301) -> tuple[MissingFacts, ...]:
    return (MissingFacts("error_rate", ago(seconds), "error_rate has had no data"),)


def rollback(**changes: Any) -> RollbackFacts:
    base = RollbackFacts("r", NOW + timedelta(seconds=100), ("acorn",), False, False, False)
    return replace(base, **changes)


def does(facts: PlanFacts) -> tuple[str, str]:
    action = decide(facts)
    return action.do, action.kind


# One batch after another.


def test_the_first_batch_opens():
    assert decide(plan(pending(1), quote_sentence="fits")) == Action("open_batch", "fits", 1)


def test_tenants_that_wait_are_left_to_the_hands_for_two_seconds():
    waiting = deploying(forward_left=3, handed_out_at=ago(1.9))
    assert does(plan(waiting)) == ("stop", "")


def test_after_two_seconds_the_watch_calls_them_itself():
    waiting = deploying(forward_left=3, handed_out_at=ago(2.0))
    assert does(plan(waiting)) == ("call_batch", "")


def test_the_watch_calls_nobody_where_it_may_not():
    waiting = deploying(forward_left=3)
    assert does(plan(waiting, watch_may_call=False)) == ("stop", "")


def test_failed_tenants_are_taken_back_before_the_soak():
    one = deploying(stragglers=1, counts={"upgraded": 19, "failed": 1}, size=100)
    assert does(plan(one, on=Conditions(), limits=Limits(success_rate=0))) == (
        "restore_stragglers",
        "",
    )


def test_failures_that_touched_nothing_are_left_out_before_the_soak():
    one = deploying(untouched_failures=1, size=100)
    assert does(plan(one)) == ("exclude_untouched", "")


def test_the_soak_waits_for_open_calls():
    assert does(plan(deploying(calls_open=1))) == ("stop", "")
    assert does(plan(deploying(calls_open=0))) == ("settle_calls", "")


def test_a_soak_goes_on_until_its_clock_is_down():
    assert does(plan(batch("soaking", soak_left=0.1))) == ("stop", "")
    assert does(plan(batch("soaking", soak_left=0))) == ("pass_soak", "")


def test_a_soak_that_is_over_waits_for_a_good_measurement():
    waits = plan(batch("soaking"), promotable=False, promotable_sentence="no good measurement")
    assert decide(waits) == Action("wait", "the soak is over, but no good measurement")


def test_the_next_batch_opens_when_the_one_before_has_passed():
    assert decide(plan(batch("passed"), pending(2))).batch == 2


def test_after_the_last_batch_the_plan_is_complete():
    assert does(plan(batch("passed"))) == ("complete", "")


def test_a_tenant_that_needs_a_hand_keeps_the_plan_from_being_complete():
    left = batch("passed", counts={"upgraded": 19, "needs_hand": 1})
    assert does(plan(left)) == ("needs_hand", "")


# Gates of the next batch.


@pytest.mark.parametrize(
    ("gate", "kind"),
    [
        ({"orchestrator_on": False}, ""),
        ({"window_open": False, "window_sentence": "opens at 22:00"}, ""),
        ({"release_problem": "the key was revoked"}, "release_not_trusted"),
        ({"quote_fits": False, "quote_sentence": "exceeds the 120 s"}, "quote_exceeds_limit"),
        ({"unreadable": "deployers.yaml cannot be read"}, "configuration"),
    ],
    ids=["switch off", "window closed", "release not trusted", "quote too long", "broken file"],
)
def test_a_closed_gate_keeps_the_next_batch_waiting(gate, kind):
    assert does(plan(batch("passed"), pending(2), **gate)) == ("wait", kind)


FALLEN = "release 1.5.0 is in quarantine: leaky"


@pytest.mark.parametrize(
    "live",
    [deploying(forward_left=3), deploying(), batch("soaking"), batch("soaking", soak_left=9)],
)
def test_fault_28_a_release_that_lost_its_trust_holds_the_batch_under_way(live):
    assert decide(plan(live, distrusted=FALLEN)) == Action("hold", FALLEN, 1, "release_distrusted")


def test_fault_28_nobody_lets_that_pass():
    let_on = batch("soaking", acknowledged={"release_distrusted": NOW})
    assert does(plan(let_on, distrusted=FALLEN)) == ("hold", "release_distrusted")


def test_a_held_batch_of_it_goes_back_when_nobody_decides():
    held = batch("held", held_at=ago(3601), held_kind="release_distrusted")
    assert does(plan(held, distrusted=FALLEN)) == ("rollback", "hold_expired")
    one_way = decide(plan(held, distrusted=FALLEN, irreversible=True))
    assert (one_way.do, one_way.kind) == ("alert", "hold_expired")


def test_data_that_is_back_does_not_let_a_batch_of_it_go_on():
    held = batch("held", held_at=ago(60), held_kind="missing_metrics")
    back = plan(held, all_seen_at=ago(1))
    assert does(back)[0] == "go_on_with_data"
    assert does(replace(back, distrusted=FALLEN))[0] == "stop"


def test_a_rollback_and_a_breach_go_before_it():
    going = plan(batch("rolling_back"), state="rolling_back", rollback=rollback())
    assert does(replace(going, distrusted=FALLEN))[0] == "run_rollback"
    broken = plan(batch("soaking"), breaches=(BREACH,), distrusted=FALLEN)
    assert does(broken)[0] == "rollback"


@given(
    state=st.sampled_from(["running", "paused", "rolling_back"]),
    live=st.sampled_from(["deploying", "soaking", "held", "passed"]),
    forward_left=st.integers(0, 3),
    soak_left=st.sampled_from([0.0, 5.0]),
    acknowledged=st.booleans(),
    irreversible=st.booleans(),
    promoted=st.booleans(),
)
def test_fault_28_nothing_ever_starts_of_a_release_that_is_not_trusted(
    state, live, forward_left, soak_left, acknowledged, irreversible, promoted
):
    let_pass = {"release_distrusted": NOW} if acknowledged else {}
    facts = plan(
        batch(
            live,
            forward_left=forward_left,
            soak_left=soak_left,
            acknowledged=let_pass,
            held_at=ago(5) if live == "held" else None,
            calling_since=ago(5),
        ),
        pending(2, promoted=promoted),
        state=state,
        distrusted=FALLEN,
        release_problem=FALLEN,
        irreversible=irreversible,
    )
    assert decide(facts).do not in STARTS


def test_a_manual_gate_waits_for_a_person():
    gated = pending(2, advance="manual")
    assert does(plan(batch("passed"), gated)) == ("wait", "")
    assert does(plan(batch("passed"), replace(gated, promoted=True))) == ("open_batch", "")


CLOSED: dict[str, Any] = {"window_open": False, "window_sentence": "opens at 22:00"}
WAITING: dict[str, Any] = {"forward_left": 3, "waits_since": ago(7200), "calling_since": ago(9000)}


def test_fault_24_a_window_that_closes_in_a_batch_lets_it_wait():
    closed = plan(deploying(forward_left=3, calls_open=2), **CLOSED)
    assert decide(closed) == Action("wait_for_opening", "opens at 22:00", 1)
    assert decide(plan(deploying(**WAITING), **CLOSED)) == Action("wait", "opens at 22:00")


def test_a_batch_that_waited_goes_on_at_the_opening():
    assert decide(plan(deploying(**WAITING))).do == "go_on_at_opening"


def test_the_clock_of_the_batch_does_not_run_while_it_waits():
    assert does(plan(deploying(**WAITING), **CLOSED)) == ("wait", "")
    assert does(plan(deploying(**WAITING | {"waits_since": None}))) == ("hold", "batch_overrun")


def test_what_failed_is_taken_back_while_the_batch_waits():
    failed = deploying(**WAITING, stragglers=1, counts={"failed": 1, "pending": 3}, size=100)
    assert does(plan(failed, limits=Limits(success_rate=0), **CLOSED))[0] == "restore_stragglers"


def test_metrics_are_judged_while_the_batch_waits():
    assert does(plan(deploying(**WAITING), breaches=(BREACH,), **CLOSED))[0] == "rollback"
    waits = plan(deploying(**WAITING), missing=missing(), **CLOSED)
    assert does(waits) == ("hold", "missing_metrics")


def test_calls_that_are_over_are_settled_in_a_closed_window():
    assert does(plan(deploying(), **CLOSED)) == ("settle_calls", "")


def test_a_soak_goes_on_and_passes_in_a_closed_window():
    assert does(plan(batch("soaking"), pending(2), **CLOSED)) == ("pass_soak", "")


def test_a_policy_that_has_ended_calls_a_person():
    ended = plan(batch("passed"), pending(2), window_for_good=True, **CLOSED)
    assert does(ended) == ("wait", "closed_for_good")


# What cannot be taken back only stops.


@pytest.mark.parametrize(
    ("facts", "action"),
    [
        (plan(deploying(), breaches=(BREACH,)), ("hold", "breach:error_rate at_most 5")),
        (plan(batch("soaking"), breaches=(BREACH,)), ("hold", "breach:error_rate at_most 5")),
        (
            plan(batch("passed"), pending(2), breaches=(BREACH,)),
            ("pause", "breach:error_rate at_most 5"),
        ),
        (
            plan(batch("soaking"), missing=missing(), on=Conditions(missing_metrics="rollback")),
            ("hold", "missing_metrics"),
        ),
        (
            plan(deploying(calling_since=ago(1801)), on=Conditions(batch_overrun="rollback")),
            ("hold", "batch_overrun"),
        ),
        (plan(deploying(failures=9)), ("hold", "failure_rate")),
        (plan(batch("held", held_at=ago(3601))), ("alert", "hold_expired")),
    ],
    ids=["breach", "breach in the soak", "breach between batches", "no data", "late", "failures",
         "hold expired"],
)  # fmt: skip
def test_no_trigger_takes_an_irreversible_release_back(facts, action):
    found = decide(replace(facts, irreversible=True))
    assert (found.do, found.kind) == action
    assert "cannot be taken back" in found.sentence


def test_a_pause_of_an_irreversible_release_ends_in_no_rollback():
    paused = plan(batch("soaking"), state="paused", resume_by=ago(1), irreversible=True)
    assert does(paused) == ("alert", "pause_expired")


def test_who_failed_under_an_irreversible_release_gets_a_person():
    failed = plan(
        deploying(stragglers=1, size=100), limits=Limits(success_rate=0), irreversible=True
    )
    assert does(failed) == ("hand_over_stragglers", "")


def test_with_the_switch_off_nobody_is_called_and_soaks_hold():
    assert does(plan(deploying(forward_left=3), orchestrator_on=False)) == ("wait", "")
    assert does(plan(batch("soaking"), orchestrator_on=False)) == ("wait", "")


def test_with_a_broken_file_no_soak_passes():
    assert does(plan(batch("soaking"), unreadable="broken")) == ("wait", "configuration")


# Breaches.


@pytest.mark.parametrize("state", ["deploying", "soaking", "held"])
def test_a_breach_takes_the_plan_back_from_every_live_batch(state):
    broken = plan(batch(state, held_at=ago(1)), breaches=(BREACH,))
    assert decide(broken) == Action("rollback", BREACH.sentence, kind=f"breach:{BREACH.key}")


def test_a_breach_takes_a_paused_plan_back_too():
    assert decide(plan(batch("soaking"), state="paused", breaches=(BREACH,))).do == "rollback"


def test_a_breach_of_a_plan_that_touched_nobody_is_nothing_to_take_back():
    assert decide(plan(pending(1), breaches=(BREACH,))).do == "open_batch"


def test_a_breach_that_asks_for_a_pause_pauses_once():
    softer = (replace(BREACH, action="pause"),)
    first = decide(plan(batch("soaking"), breaches=softer))
    assert first == Action("pause", BREACH.sentence, kind=f"breach:{BREACH.key}")
    assert decide(plan(batch("soaking"), state="paused", breaches=softer)).do == "stop"


def test_with_the_rollback_switch_off_a_breach_only_holds():
    off = plan(batch("soaking"), breaches=(BREACH,), rollback_on=False)
    assert does(off) == ("hold", f"breach:{BREACH.key}")


# The other conditions.


def test_data_that_is_missing_too_long_holds():
    assert does(plan(batch("soaking", soak_left=9), missing=missing(300))) == ("stop", "")
    assert does(plan(batch("soaking", soak_left=9), missing=missing(301))) == (
        "hold",
        "missing_metrics",
    )


def test_what_a_person_let_pass_is_missing_anew_only_after_the_minutes():
    seen = {"missing_metrics": ago(100)}
    let_go = batch("soaking", soak_left=9, acknowledged=seen)
    assert does(plan(let_go, missing=missing(900))) == ("stop", "")
    seen = {"missing_metrics": ago(301)}
    assert does(plan(replace(let_go, acknowledged=seen), missing=missing(900)))[0] == "hold"


def test_a_batch_that_calls_too_long_holds():
    late = deploying(forward_left=1, calling_since=ago(1801))
    assert does(plan(late)) == ("hold", "batch_overrun")
    assert does(plan(replace(late, calling_since=ago(1800)))) == ("call_batch", "")


def test_the_batch_clock_does_not_run_in_the_soak():
    assert does(plan(batch("soaking", soak_left=9, calling_since=ago(9000)))) == ("stop", "")


def test_an_unresumed_pause_is_taken_back_at_its_time():
    paused = plan(batch("soaking"), state="paused", resume_by=NOW)
    assert does(paused) == ("rollback", "pause")
    assert does(replace(paused, resume_by=NOW + timedelta(seconds=1))) == ("stop", "")


def test_a_pause_after_a_partial_rollback_has_no_clock():
    assert does(plan(batch("rolled_back"), state="paused", resume_by=None)) == ("stop", "")


def test_with_the_rollback_switch_off_an_unresumed_pause_only_alerts():
    paused = plan(batch("soaking"), state="paused", resume_by=NOW, rollback_on=False)
    assert does(paused) == ("alert", "pause_expired")


def test_a_hold_that_nobody_decides_is_taken_back():
    held = batch("held", held_at=ago(3601))
    assert does(plan(held)) == ("rollback", "hold_expired")
    assert does(plan(replace(held, held_at=ago(3600)))) == ("stop", "")
    assert does(plan(held, rollback_on=False)) == ("alert", "hold_expired")
    assert does(plan(held, on=Conditions(hold_expired="hold"))) == ("alert", "hold_expired")


def test_more_failures_than_allowed_take_the_plan_back():
    failed = deploying(failures=2, size=20, forward_left=5)
    assert does(plan(failed)) == ("rollback", "failure_rate")
    assert does(plan(failed, rollback_on=False)) == ("hold", "failure_rate")


def test_a_batch_that_is_held_for_less_goes_back_all_the_same():
    held = batch("held", held_kind="success_rate", failures=6, size=20)
    assert does(plan(held)) == ("rollback", "failure_rate")
    assert does(plan(held, on=Conditions(failure_rate="hold")))[0] != "hold"
    let_pass = replace(held, acknowledged={"failure_rate": NOW})
    assert does(plan(let_pass))[0] != "rollback"


def test_exactly_the_allowed_failures_do_not():
    at_limit = deploying(failures=1, size=20, forward_left=5)
    assert does(plan(at_limit)) == ("call_batch", "")


def test_failures_that_a_person_let_pass_do_not_stop_the_batch_again():
    let_go = deploying(failures=2, size=20, forward_left=5, acknowledged={"failure_rate": NOW})
    assert does(plan(let_go)) == ("call_batch", "")


def test_a_success_rate_that_can_no_longer_be_reached_holds():
    counts = {"upgraded": 18, "rolled_back": 1, "pending": 1}
    short = deploying(counts=counts, failures=1, forward_left=1)
    assert does(plan(short)) == ("hold", "success_rate")
    assert does(plan(short, limits=Limits(success_rate=95))) == ("call_batch", "")


def test_a_tenant_that_a_stop_left_unknown_may_still_make_it():
    stopped = deploying(counts={"unknown": 2, "pending": 18}, to_retry=2, forward_left=20)
    assert does(plan(stopped)) == ("call_batch", "")
    assert does(plan(replace(stopped, to_retry=0))) == ("hold", "success_rate")


# A rollback that runs.


def rolling(**changes: Any) -> PlanFacts:
    return plan(
        batch("rolling_back"), pending(2), state="rolling_back", rollback=rollback(**changes)
    )


def test_a_rollback_runs_until_all_are_back_and_were_read_once_more():
    assert does(rolling()) == ("run_rollback", "")
    assert does(rolling(left=())) == ("run_rollback", "")
    assert does(rolling(left=(), checked=True)) == ("finish_rollback", "")


def test_thirty_seconds_before_its_end_people_are_called():
    assert does(rolling(deadline=NOW + timedelta(seconds=30))) == ("escalate_rollback", "")
    assert does(rolling(deadline=NOW + timedelta(seconds=30), escalated=True))[0] == "run_rollback"


def test_a_missed_promise_is_said_once_and_work_goes_on():
    assert does(rolling(deadline=NOW, escalated=True)) == ("miss_rollback", "")
    assert does(rolling(deadline=NOW, escalated=True, missed=True)) == ("run_rollback", "")


def test_while_a_plan_is_rolling_back_nothing_else_is_decided():
    facts = replace(rolling(), breaches=(BREACH,), missing=missing(), orchestrator_on=False)
    assert does(facts) == ("run_rollback", "")
    assert does(replace(facts, rollback=None)) == ("stop", "")


# Which goes first.

LATE = deploying(
    calling_since=ago(9999), failures=9, forward_left=1, counts={"failed": 9, "pending": 11}
)


@pytest.mark.parametrize(
    ("facts", "first"),
    [
        (plan(LATE, breaches=(BREACH,), missing=missing()), ("rollback", f"breach:{BREACH.key}")),
        (plan(LATE, missing=missing()), ("hold", "missing_metrics")),
        (plan(LATE), ("hold", "batch_overrun")),
        (plan(replace(LATE, calling_since=NOW)), ("rollback", "failure_rate")),
        (
            plan(
                replace(LATE, calling_since=NOW, acknowledged={"failure_rate": NOW}),
                orchestrator_on=False,
            ),
            ("hold", "success_rate"),
        ),
        (
            plan(batch("held", held_at=ago(9999)), state="paused", resume_by=ago(1)),
            ("rollback", "pause"),
        ),
    ],
    ids=[
        "breach before missing data",
        "missing data before the batch clock",
        "batch clock before failures",
        "failure rate before success rate",
        "success rate before calls",
        "pause before hold",
    ],
)
def test_the_more_urgent_rule_goes_first(facts, first):
    assert does(facts) == first


# Whatever the facts are.

FACTS = st.builds(
    plan,
    st.builds(
        batch,
        st.sampled_from(["pending", "deploying", "soaking", "held", "passed", "rolled_back"]),
        forward_left=st.integers(0, 2),
        stragglers=st.integers(0, 1),
        waits_since=st.sampled_from([None, ago(100)]),
        calls_open=st.integers(0, 1),
        failures=st.integers(0, 3),
        soak_left=st.sampled_from([0.0, 5.0]),
        held_at=st.sampled_from([None, ago(1), ago(9999)]),
        handed_out_at=st.sampled_from([None, ago(1), ago(9)]),
    ),
    st.builds(pending, advance=st.sampled_from(["automatic", "manual"])),
    breaches=st.sampled_from([(), (BREACH,)]),
    missing=st.sampled_from([(), missing()]),
    window_open=st.booleans(),
    irreversible=st.booleans(),
    quote_fits=st.booleans(),
    promotable=st.booleans(),
    orchestrator_on=st.booleans(),
    rollback_on=st.booleans(),
    resume_by=st.sampled_from([None, ago(1), NOW + timedelta(seconds=9)]),
)


@given(FACTS, st.sampled_from(["paused", "rolling_back", "needs_hand", "completed", "draft"]))
def test_nothing_starts_in_a_plan_that_does_not_run(facts, state):
    assert decide(replace(facts, state=state)).do not in STARTS


@given(FACTS)
def test_nothing_starts_while_a_batch_is_held(facts):
    held = replace(facts.batches[0], state="held", held_at=ago(1))
    assert decide(replace(facts, batches=(held, facts.batches[1]))).do not in STARTS


@given(FACTS)
def test_nothing_starts_while_the_switch_is_off(facts):
    assert decide(replace(facts, orchestrator_on=False)).do not in STARTS


@given(FACTS)
def test_nobody_but_a_person_rolls_back_while_that_switch_is_off(facts):
    assert decide(replace(facts, rollback_on=False)).do != "rollback"


@given(
    FACTS,
    st.fixed_dictionaries(
        {
            "quote_fits": st.booleans(),
            "quote_sentence": st.sampled_from(["", "200 s"]),
            "release_problem": st.sampled_from(["", "revoked"]),
            "room_problem": st.sampled_from(["", "the disk is full"]),
        }
    ),
)
def test_the_gate_of_a_batch_changes_nothing_unless_one_may_begin_at_an_open_time(facts, gate):
    if may_begin(facts) and facts.window_open:
        assert decide(replace(facts, release_problem="revoked")).do not in STARTS
    else:
        assert decide(replace(facts, **gate)) == decide(facts)


@given(FACTS, st.booleans(), st.sampled_from(["", "opens at 22:00"]))
def test_windows_change_nothing_where_nobody_waits_to_be_called(facts, is_open, words):
    if may_begin(facts) or (facts.live is not None and facts.live.forward_left):
        return
    changed = replace(facts, window_open=is_open, window_sentence=words)
    assert decide(changed) == decide(facts)


@given(FACTS, st.sampled_from(["running", "paused"]))
def test_nothing_irreversible_is_ever_restored(facts, state):
    action = decide(replace(facts, irreversible=True, state=state)).do
    assert action not in {"rollback", "restore_stragglers"}


@given(FACTS)
def test_nothing_is_called_or_begun_while_it_is_closed(facts):
    assert decide(replace(facts, window_open=False)).do not in {"open_batch", "call_batch"}


@given(FACTS)
def test_a_closed_window_keeps_no_rollback_back(facts):
    if decide(facts).do == "rollback":
        assert decide(replace(facts, window_open=False)).do == "rollback"


@given(FACTS)
def test_no_batch_opens_that_could_not_be_taken_back_in_time(facts):
    if decide(facts).do == "open_batch":
        assert facts.quote_fits
        assert facts.window_open


# How far a failure reaches.


def failing(failures: int, **changes: Any) -> BatchFacts:
    changes.setdefault("stragglers", failures)
    counts = {"upgraded": 20 - failures, "failed": failures}
    return deploying(counts=counts, failures=failures, **changes)


NO_RATE = Limits(failure_rate=100, success_rate=0)


@pytest.mark.parametrize(
    ("failures", "number", "expected"), [(2, 2, "restore_stragglers"), (3, 2, "rollback")]
)
def test_a_budget_in_tenants_is_exceeded_by_one_more(failures, number, expected):
    limits = replace(NO_RATE, failures=number)
    assert does(plan(failing(failures), limits=limits))[0] == expected


def test_the_sentence_names_both_budgets():
    limits = replace(NO_RATE, failure_rate=5, failures=3)
    told = decide(plan(failing(2), limits=limits)).sentence
    assert "2 of 20 tenants" in told
    assert "10.0 %, allowed 3 tenants and 5 %" in told


def test_tenants_left_out_make_the_batch_smaller():
    limits = Limits(success_rate=0)
    one = failing(1)
    assert does(plan(one, limits=limits))[0] == "restore_stragglers"
    smaller = replace(one, left_out=1)
    assert does(plan(smaller, limits=limits)) == ("rollback", "failure_rate")


def test_under_tenant_nobody_left_to_take_back_is_a_hold():
    over = plan(failing(3), scope="tenant", limits=Limits(success_rate=0))
    assert does(over)[0] == "rollback"
    all_back = plan(failing(3, stragglers=0), scope="tenant", limits=Limits(success_rate=0))
    assert does(all_back) == ("hold", "failure_rate")


def ended(number: int = 1, state: str = "passed", **changes: Any) -> BatchFacts:
    return batch(state, number, forward_left=2, counts={"upgraded": 18, "pending": 2}, **changes)


@pytest.mark.parametrize("state", ["passed", "rolled_back"])
def test_a_batch_with_tenants_to_call_again_goes_before_the_next(state):
    again = decide(plan(ended(state=state), pending(2), quote_sentence="fits"))
    assert again == Action("reopen_batch", "fits", 1)


def test_it_waits_for_the_batch_that_is_under_way():
    assert does(plan(ended(), batch("soaking", 2, soak_left=5))) == ("stop", "")


def test_no_plan_completes_over_tenants_to_call_again():
    assert does(plan(ended()))[0] == "reopen_batch"


@pytest.mark.parametrize(
    "closed",
    [
        {"orchestrator_on": False},
        {"window_open": False},
        {"release_problem": "revoked"},
        {"quote_fits": False},
        {"unreadable": "broken"},
    ],
)
def test_a_batch_begins_again_through_the_gates_of_a_new_one(closed):
    assert does(plan(ended(), **closed))[0] == "wait"


def test_a_paused_plan_begins_nothing_again():
    assert does(plan(ended(), state="paused")) == ("stop", "")


# What a stop found half done, and a batch of which nobody is left.


def test_who_was_half_done_when_a_plan_was_stopped_is_read_as_soon_as_that_tells_something():
    left = batch("needs_hand", counts={"upgraded": 19, "needs_hand": 1})
    assert does(plan(left, state="needs_hand", half_done=True)) == ("read_half_done", "")
    assert does(plan(left, state="needs_hand")) == ("stop", "")


def test_a_soak_in_which_everybody_was_taken_back_is_held_and_never_waits_for_ever():
    nobody = batch("soaking", counts={"rolled_back": 20})
    action = decide(plan(nobody, promotable=False, limits=Limits(success_rate=0)))
    assert (action.do, action.kind, action.batch) == ("hold", "nobody_left", 1)
    assert "no tenant of batch 1 (wave-1) runs the new version any more" in action.sentence


def test_a_person_lets_a_plan_go_on_past_a_batch_of_which_nobody_is_left():
    let_pass = batch("soaking", counts={"rolled_back": 20}, acknowledged={"nobody_left": ago(5)})
    action = decide(plan(let_pass, promotable=False, limits=Limits(success_rate=0)))
    assert (action.do, action.batch) == ("pass_soak", 1)
    assert "a person let the plan go on" in action.sentence


def test_one_tenant_that_runs_the_new_version_still_waits_for_a_measurement():
    one = batch("soaking", counts={"rolled_back": 19, "upgraded": 1})
    waits = plan(one, promotable=False, limits=Limits(success_rate=0))
    assert does(waits) == ("wait", "")


# What a guardrail was about.

EACH = replace(BREACH, key="each", scope="tenant", tenants=("acorn", "birch"))
OF_BATCH = replace(BREACH, key="batch", scope="batch")


def test_a_breach_of_one_tenant_names_it_and_a_wider_one_goes_first():
    soaking = batch("soaking", soak_left=60)
    alone = decide(plan(soaking, breaches=(EACH,)))
    assert (alone.do, alone.scope, alone.tenants) == ("rollback", "tenant", ("acorn", "birch"))
    assert decide(plan(soaking, breaches=(EACH, OF_BATCH))).scope == "batch"
    assert decide(plan(soaking, breaches=(EACH, OF_BATCH, BREACH))).scope == "plan"


# Data that is back.


def held_blind(**changes: Any) -> BatchFacts:
    changes.setdefault("held_kind", "missing_metrics")
    return batch("held", held_at=ago(600), **changes)


def test_a_batch_held_for_missing_data_alone_goes_on_when_all_of_it_is_back():
    facts = plan(held_blind(), all_seen_at=ago(1))
    assert does(facts) == ("go_on_with_data", "")


@pytest.mark.parametrize(
    "changes",
    [
        {"all_seen_at": None},
        {"all_seen_at": ago(700)},
        {"missing": missing(10)},
        {"unreadable": "the dictionary is broken"},
        {"state": "paused"},
    ],
)
def test_but_not_before_every_kpi_was_seen_again_and_not_while_paused(changes):
    assert does(plan(held_blind(), **({"all_seen_at": ago(1)} | changes)))[0] == "stop"


def test_other_holds_wait_for_a_person_although_data_is_there():
    facts = plan(held_blind(held_kind="batch_overrun"), all_seen_at=ago(1))
    assert does(facts) == ("stop", "")


def test_missing_data_is_told_while_the_plan_stands_still_too():
    for state, live in (("paused", batch("soaking")), ("running", held_blind())):
        assert missing_too_long(plan(live, state=state, missing=missing())) is not None
    assert missing_too_long(plan(batch("soaking"), missing=missing(299))) is None
    assert missing_too_long(plan(pending(1), missing=missing())) is None
    let_pass = batch("soaking", acknowledged={"missing_metrics": ago(100)})
    assert missing_too_long(plan(let_pass, missing=missing())) is None


def test_a_pause_that_nobody_ends_ends_although_nobody_was_upgraded_yet():
    waiting = plan(pending(1), state="paused", resume_by=ago(1))
    assert does(waiting) == ("rollback", "pause")
    assert does(plan(pending(1), state="paused", resume_by=NOW + timedelta(seconds=1)))[0] == "stop"
