"""Measurements -> rulings: whether a guardrail is fine, breached, without data or undecided.

Missing, stale or broken data never passes. Counters live in a GuardState that is kept as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from batches.measurement import Measurement, Outcome, measure
from plans.policy import Guardrail

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

Verdict = Literal["fine", "breached", "no_data", "undecided"]
PlanWord = Literal["rollback", "hold", "soak", "promote"]

_BAD_FIRST: Final = ("breached", "no_data", "undecided", "fine")
# Nothing of ours: the source itself did not answer.
_SOURCE_ERRORS: Final = frozenset({"source_down", "timeout", "unauthorized", "bad_answer"})


@dataclass(frozen=True, slots=True)
class GuardState:
    """What must be known of the looks before. The same look judged twice counts once."""

    verdict: Verdict = "undecided"
    failed_running: int = 0
    errors_running: int = 0
    successes: int = 0
    """Good measurements since the soak began."""
    last_outcome: Outcome | None = None
    last_look_at: datetime | None = None
    last_good_at: datetime | None = None
    missing_since: datetime | None = None
    soak_started: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> GuardState:
        """Return the state that to_json wrote; an empty object is the state at the beginning."""
        times = ("last_look_at", "last_good_at", "missing_since", "soak_started")
        values = dict(body)
        for name in times:
            if values.get(name) is not None:
                values[name] = datetime.fromisoformat(values[name])
        return cls(**values)


@dataclass(frozen=True, slots=True)
class GuardrailRuling:
    """What one guardrail says now. `action` is what is to follow, empty where nothing is."""

    guardrail: str
    kpi: str
    verdict: Verdict
    action: Literal["", "rollback", "pause", "warn", "hold"]
    sentence: str
    value: float | None
    threshold: float
    unit: str
    n: int
    window_seconds: float
    tenants: int
    worst: tuple[str, float] | None
    cause: str | None
    at: datetime
    blocking: bool = True
    """Whether the plan waits for this guardrail to be fine."""


class PlanVerdict(NamedTuple):
    """What all guardrails of a plan say together, in the words of the worst."""

    verdict: PlanWord
    sentence: str
    ruling: GuardrailRuling | None


def guardrail_key(guardrail: Guardrail) -> str:
    """Return what a guardrail is called among those of its plan."""
    side = "at_least" if guardrail.at_most is None else "at_most"
    number = guardrail.at_least if guardrail.at_most is None else guardrail.at_most
    share = guardrail.slow_share_percent
    parts = [
        f"{guardrail.kpi} {side} {number:g}",
        f" {guardrail.unit}" if guardrail.unit else "",
        f" for {100 - share:g} %" if share is not None else "",
        f" over {guardrail.window_seconds:g} s",
        "" if guardrail.action == "rollback" else f" or {guardrail.action}",
        " (dry run)" if guardrail.dry_run else "",
    ]
    return "".join(parts)


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
    measurement = _replaced(measurement, guardrail, state)
    if measurement.at is None or measurement.at != state.last_look_at:
        state = _counted(state, measurement, now)
    verdict = _verdict(state, measurement, guardrail)
    sentence = _sentence(state, measurement, guardrail, verdict, now)
    return _ruled(state, measurement, guardrail, verdict, sentence, now)


def promotable(states: Sequence[GuardState], guardrails: Sequence[Guardrail]) -> tuple[bool, str]:
    """Return whether the batch may pass, and why; states and guardrails are in the same order.

    Each critical guardrail needs a good measurement since the soak began, and a newest look that
    is neither failed nor without data.
    """
    waiting = [
        _awaited(state, guardrail)
        for state, guardrail in zip(states, guardrails, strict=True)
        if not guardrail.dry_run
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


def _replaced(measurement: Measurement, guardrail: Guardrail, state: GuardState) -> Measurement:
    """Return the measurement that the policy wants to see in place of missing data."""
    if measurement.outcome != "error" or guardrail.on_missing not in ("breach", "zero"):
        return measurement
    seen = measurement.at is not None and measurement.at == state.last_look_at
    errors = state.errors_running + (not seen)
    if _tolerated(measurement, guardrail, errors):
        return measurement
    if guardrail.on_missing == "breach":
        return replace(
            measurement,
            outcome="failed",
            sentence=f"{measurement.sentence}, which counts as failed",
        )
    bad = guardrail.at_least is not None and guardrail.at_least > 0
    return replace(
        measurement,
        outcome="failed" if bad else "successful",
        value=0.0,
        sentence=f"{measurement.sentence}, which counts as 0",
    )


def _counted(state: GuardState, measurement: Measurement, now: datetime) -> GuardState:
    missing = measurement.cause is not None
    state = replace(
        state,
        last_outcome=measurement.outcome,
        last_look_at=measurement.at or state.last_look_at,
        errors_running=state.errors_running + 1 if missing else 0,
        missing_since=(state.missing_since or measurement.at or now) if missing else None,
    )
    match measurement.outcome:
        case "successful":
            good = state.last_good_at if missing else measurement.at
            return replace(
                state, failed_running=0, successes=state.successes + 1, last_good_at=good
            )
        case "failed":
            good = state.last_good_at if missing else measurement.at
            return replace(state, failed_running=state.failed_running + 1, last_good_at=good)
        case _:
            # Neither good nor bad: the looks running go on from where they stood.
            return state


def _tolerated(measurement: Measurement, guardrail: Guardrail, errors: int) -> bool:
    return measurement.cause in _SOURCE_ERRORS and errors <= guardrail.consecutive_error_limit


def _verdict(state: GuardState, measurement: Measurement, guardrail: Guardrail) -> Verdict:
    if state.failed_running > guardrail.failure_limit:
        return "breached"
    match measurement.outcome:
        case "successful":
            return "fine"
        case "error":
            never_looked = measurement.at is None and state.last_look_at is None
            ignored = guardrail.on_missing == "ignore"
            tolerated = _tolerated(measurement, guardrail, state.errors_running)
            return "undecided" if never_looked or ignored or tolerated else "no_data"
        case _:
            return "undecided"


def _sentence(
    state: GuardState,
    measurement: Measurement,
    guardrail: Guardrail,
    verdict: Verdict,
    now: datetime,
) -> str:
    said = measurement.sentence
    needed = guardrail.failure_limit + 1
    if verdict == "breached" and measurement.outcome != "failed":
        return f"{said}; {_looks(state.failed_running)} failed before that"
    if measurement.outcome == "failed":
        more = "" if verdict == "breached" else f" (a breach is {needed})"
        return f"{said}, {_looks(state.failed_running)} running{more}"
    if measurement.outcome != "error":
        return said
    if state.missing_since is not None:
        since = max(timedelta(0), now - state.missing_since)
        said = said.replace(" (", f" for {since.total_seconds():.0f} s (", 1)
    if verdict == "undecided" and measurement.cause in _SOURCE_ERRORS:
        limit = guardrail.consecutive_error_limit
        if guardrail.on_missing == "ignore":
            return f"{said}; the policy ignores it"
        return f"{said}; {_looks(state.errors_running)} running, {limit} are tolerated"
    return said


def _looks(number: int) -> str:
    return f"{number} look" if number == 1 else f"{number} looks"


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
    action: Literal["", "rollback", "pause", "warn", "hold"] = ""
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
    )
    return replace(state, verdict=verdict), ruling


_ACTIONS: Final[Mapping[str, Literal["rollback", "pause", "warn"]]] = {
    "rollback": "rollback",
    "pause": "pause",
    "warn": "warn",
}


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
    return ""


def _seconds(guardrail: Guardrail) -> timedelta:
    return timedelta(seconds=guardrail.initial_delay_seconds)
