"""Measurements -> rulings: whether a guardrail is fine, breached, without data or undecided.

Missing, stale or broken data never passes. Counters live in a GuardState that is kept as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple

from batches.guardrails.assessment import Limits, Phase, Tally, assess_metric
from batches.guardrails.assessment import Outcome as AssessedOutcome
from batches.guardrails.guard_state import Deed, GuardrailRuling, GuardState, Verdict, guardrail_key
from batches.guardrails.measured import Outcome
from batches.guardrails.measured_words import IDLE
from batches.guardrails.measurement import Measurement, measure
from batches.guardrails.missing_data import SOURCE_ERRORS, replaced
from batches.guardrails.nearness import next_words
from plans.counted_words import counted
from plans.policies.policy import Guardrail

__all__ = [
    "GuardState",
    "GuardrailRuling",
    "Measurement",
    "PlanVerdict",
    "guardrail_key",
    "judge",
    "measure",
    "plan_verdict",
    "promotable",
]

_ENDED: Final[Mapping[Outcome, AssessedOutcome]] = {
    "successful": "Successful",
    "failed": "Failed",
    "inconclusive": "Inconclusive",
    "error": "Error",
}
UNLIMITED: Final = 10**9

PlanWord = Literal["rollback", "hold", "soak", "promote"]

_BAD_FIRST: Final = ("breached", "no_data", "undecided", "fine")


class PlanVerdict(NamedTuple):
    """What all guardrails of a plan say together, in the words of the worst."""

    verdict: PlanWord
    sentence: str
    ruling: GuardrailRuling | None


def judge(
    state: GuardState,
    measurement: Measurement,
    guardrail: Guardrail,
    *,
    now: datetime,
    soak_started: datetime | None,
) -> tuple[GuardState, GuardrailRuling]:
    """Return the state after this measurement and the ruling.

    `soak_started` is when the tenants of the present batch were all upgraded, None before that.
    """
    if soak_started is not None and soak_started != state.soak_started:
        # What was good in the batch before says nothing about this one.
        state = replace(state, successes=0, soak_started=soak_started)
    # While the next batch is called, the tenants of the ones before stay guarded.
    began = soak_started or state.soak_started
    ready = None if began is None else began + _seconds(guardrail)
    if guardrail.initial_delay_seconds > 0 and (ready is None or now < ready):
        waits = f"{guardrail.kpi}: not judged before {guardrail.initial_delay_seconds:g} s of soak"
        return _ruled(state, measurement, guardrail, "undecided", waits, now)
    measurement = replaced(measurement, guardrail, state)
    if measurement.at is None or measurement.at != state.last_look_at:
        state = _counted(state, measurement, guardrail, now)
    verdict = _verdict(state, measurement, guardrail)
    sentence = _sentence(state, measurement, guardrail, verdict, now)
    return _ruled(state, measurement, guardrail, verdict, sentence, now)


def promotable(
    states: Sequence[GuardState], guardrails: Sequence[Guardrail], *, last: bool = False
) -> tuple[bool, str]:
    """Return whether the batch may pass, and why; states and guardrails are in the same order.

    Each critical guardrail needs a good measurement since the soak began, and a newest look that
    is neither failed nor without data. `last`: the batch is a hold-back, after which nobody is left
    to compare with; what is compared with the control was said while it was held back. A policy
    that lets missing data pass does not wait for a control that is not there either.
    """
    waiting = [
        _awaited(state, guardrail)
        for state, guardrail in zip(states, guardrails, strict=True)
        if not guardrail.dry_run
        and not (_speechless(state, guardrail) and (last or guardrail.on_missing == "ignore"))
    ]
    reasons = [reason for reason in waiting if reason]
    if reasons:
        return False, "; ".join(reasons)
    critical = sum(guardrail.critical and not guardrail.dry_run for guardrail in guardrails)
    if critical == 0:
        return True, "no critical Kpi is to be measured"
    return True, f"every critical Kpi was measured and is fine ({critical})"


def plan_verdict(rulings: Sequence[GuardrailRuling]) -> PlanVerdict:
    """Return what the guardrails say together: the worst wins."""
    if not rulings:
        return PlanVerdict("promote", "the policy has no guardrail", None)
    worst = min(rulings, key=lambda ruling: (_rank(ruling), _BAD_FIRST.index(ruling.verdict)))
    words: tuple[PlanWord, ...] = ("rollback", "hold", "hold", "soak", "promote")
    return PlanVerdict(words[_rank(worst)], worst.sentence, worst)


def _rank(ruling: GuardrailRuling) -> int:
    if ruling.verdict == "breached" and ruling.action == "rollback":
        return 0
    if ruling.verdict == "breached" and ruling.action == "pause":
        return 1
    if not ruling.blocking or ruling.verdict in ("fine", "breached"):
        return 4
    return 2 if ruling.verdict == "no_data" else 3


def _counted(
    state: GuardState, measurement: Measurement, guardrail: Guardrail, now: datetime
) -> GuardState:
    missing = measurement.cause is not None and measurement.cause != IDLE
    tenants = _tenants_counted(state.tenants, measurement)
    since = measurement.at or now
    state = replace(
        state,
        last_outcome=measurement.outcome,
        last_look_at=measurement.at or state.last_look_at,
        errors_running=state.errors_running + 1 if missing else 0,
        missing_since=(state.missing_since or since) if missing else None,
        idle_since=(state.idle_since or since) if measurement.cause == IDLE else None,
        cause=measurement.cause,
        tenants=tenants,
    )
    running = state.failed_running
    match measurement.outcome:
        case "successful":
            running = 0
            state = replace(state, successes=state.successes + 1)
        case "failed":
            running += 1
        # Neither good nor bad: the looks running go on from where they stood.
    if guardrail.scope == "tenant":
        running = max(tenants.values(), default=0)
    measured = measurement.outcome in ("successful", "failed") and not missing
    good = measurement.at if measured else state.last_good_at
    return replace(state, failed_running=running, last_good_at=good)


def _tenants_counted(before: Mapping[str, int], measurement: Measurement) -> Mapping[str, int]:
    """Return how many looks running each tenant has failed by itself.

    Without a look at anybody they go on from where they stood, and so does whoever has too little
    data of its own; whoever did not fail begins anew.
    """
    if measurement.outcome == "error" and not measurement.by_tenant:
        return before
    failed = {tenant for tenant, seen in measurement.by_tenant.items() if seen.failed}
    running = {tenant: before.get(tenant, 0) + 1 for tenant in failed}
    waits = {
        tenant: looks
        for tenant, looks in before.items()
        if tenant in measurement.undecided and tenant not in failed
    }
    return dict(sorted({**waits, **running}.items()))


def _verdict(state: GuardState, measurement: Measurement, guardrail: Guardrail) -> Verdict:
    phase = _phase(state, measurement, guardrail)
    if phase == "Failed":
        return "breached"
    match measurement.outcome:
        case "successful":
            return "fine"
        case "error":
            never_looked = measurement.at is None and state.last_look_at is None
            ignored = guardrail.on_missing == "ignore"
            return "no_data" if phase == "Error" and not (never_looked or ignored) else "undecided"
        case _:
            return "undecided"


def _phase(state: GuardState, measurement: Measurement, guardrail: Guardrail) -> Phase:
    """Return the phase by the table of assessment; looks go on, so their number ends nothing."""
    patient = measurement.cause in SOURCE_ERRORS
    limits = Limits(
        failure_limit=guardrail.failure_limit,
        inconclusive_limit=UNLIMITED,
        # What comes from a source that answers is no data at once.
        error_limit=guardrail.consecutive_error_limit if patient else 0,
        has_interval=True,
    )
    tally = Tally(
        successful=state.successes,
        failed=state.failed_running,
        errors_running=state.errors_running,
        last=_ENDED[measurement.outcome],
        phase="Running",
    )
    return assess_metric(limits, tally).phase


def _sentence(
    state: GuardState,
    measurement: Measurement,
    guardrail: Guardrail,
    verdict: Verdict,
    now: datetime,
) -> str:
    said = measurement.sentence
    needed = guardrail.failure_limit + 1
    if measurement.cause == IDLE and state.idle_since is not None:
        idle = max(timedelta(0), now - state.idle_since)
        return f"{said}; no request for {idle.total_seconds():.0f} s"
    if verdict == "breached" and measurement.outcome != "failed":
        return f"{said}; {counted(state.failed_running, 'look')} failed before that"
    if measurement.outcome == "failed":
        more = "" if verdict == "breached" else f" (a breach is {needed})"
        return f"{said}, {counted(state.failed_running, 'look')} running{more}"
    if measurement.outcome != "error":
        return said
    if state.missing_since is not None:
        since = max(timedelta(0), now - state.missing_since)
        said = said.replace(" (", f" for {since.total_seconds():.0f} s (", 1)
    if verdict == "undecided" and measurement.cause in SOURCE_ERRORS:
        limit = guardrail.consecutive_error_limit
        if guardrail.on_missing == "ignore":
            return f"{said}; the policy ignores it"
        return (
            f"{said}; {counted(state.errors_running, 'look')} running,"
            f" {counted(limit, 'is', 'are')} tolerated"
        )
    return said


def _ruled(
    state: GuardState,
    measurement: Measurement,
    guardrail: Guardrail,
    verdict: Verdict,
    sentence: str,
    now: datetime,
) -> tuple[GuardState, GuardrailRuling]:
    blocking = guardrail.critical and not guardrail.dry_run
    if guardrail.on_missing == "ignore" and measurement.outcome == "error":
        blocking = False
    action: Deed = ""
    if verdict == "breached" and not guardrail.dry_run:
        action = _ACTIONS[guardrail.action]
    if verdict == "no_data" and blocking:
        action = "hold"
    ruling = GuardrailRuling(
        guardrail=guardrail_key(guardrail),
        kpi=guardrail.kpi,
        verdict=verdict,
        action=action,
        sentence=sentence,
        value=measurement.value,
        threshold=measurement.threshold,
        unit=measurement.unit,
        n=measurement.n,
        window_seconds=guardrail.window_seconds,
        tenants=measurement.tenants,
        worst=measurement.worst,
        cause=measurement.cause,
        at=now,
        blocking=blocking,
        bad=measurement.bad,
        baseline=measurement.baseline,
        lost=measurement.lost,
        since=state.without_since,
        last_good_at=state.last_good_at,
        next=next_words(
            guardrail,
            verdict,
            failed_running=state.failed_running,
            errors_running=state.errors_running,
            failed=measurement.outcome == "failed",
            n=measurement.n,
            cause=measurement.cause,
        ),
        breached_by=_who_broke(state, measurement, guardrail),
        stands_out=_who_stands_out(state, measurement, guardrail, verdict),
    )
    return replace(state, verdict=verdict), ruling


def _who_broke(
    state: GuardState, measurement: Measurement, guardrail: Guardrail
) -> Mapping[str, float | None]:
    """Return the tenants that broke a guardrail which is about each of them."""
    if guardrail.scope != "tenant":
        return {}
    return {
        tenant: seen.value if (seen := measurement.by_tenant.get(tenant)) else None
        for tenant, looks in state.tenants.items()
        if looks > guardrail.failure_limit
    }


def _who_stands_out(
    state: GuardState, measurement: Measurement, guardrail: Guardrail, verdict: Verdict
) -> Mapping[str, float | None]:
    """Return the tenants that are far over the limit while all together are not."""
    if guardrail.scope == "tenant" or verdict == "breached":
        return {}
    return {
        tenant: seen.value if (seen := measurement.by_tenant.get(tenant)) else None
        for tenant, looks in state.tenants.items()
        if looks > guardrail.failure_limit
    }


_ACTIONS: Final[Mapping[str, Literal["rollback", "pause", "warn"]]] = {
    "rollback": "rollback",
    "pause": "pause",
    "warn": "warn",
}


def _speechless(state: GuardState, guardrail: Guardrail) -> bool:
    """Tell whether a guardrail has nobody left to compare with, and nothing bad to say."""
    return (
        guardrail.against == "control"
        and state.cause == "no_control"
        and state.verdict != "breached"
    )


def _awaited(state: GuardState, guardrail: Guardrail) -> str:
    """Return what the guardrail still waits for, empty where it waits for nothing."""
    warns = guardrail.action == "warn"
    if state.verdict == "breached" and not warns:
        return f"{guardrail.kpi} is over its limit"
    if not guardrail.critical:
        return ""
    if state.successes == 0 and not (warns and state.failed_running):
        return f"{guardrail.kpi} has no good measurement since the soak began"
    if state.last_outcome == "failed" and not warns:
        return f"{guardrail.kpi} failed its last look"
    if state.last_outcome == "error" and guardrail.on_missing != "ignore":
        return f"{guardrail.kpi} has no data at its last look"
    if state.cause == IDLE and guardrail.on_missing != "ignore":
        return f"{guardrail.kpi} has no requests to measure any more"
    return ""


def _seconds(guardrail: Guardrail) -> timedelta:
    return timedelta(seconds=guardrail.initial_delay_seconds)
