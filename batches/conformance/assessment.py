"""What is assessed, by kind, called with the inputs of a reference case."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast, get_args

from batches.guardrails import assessment
from batches.guardrails.assessment import Condition, Limits, Metric, Outcome, Phase, Tally, Timing

Inputs = Mapping[str, Any]

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|h|m|s)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_REACTIONS = {
    "advance": "advance",
    "continue": "continue",
    "pause": "pause",
    "rollback": "abort",
}


@dataclass(frozen=True, slots=True)
class Worded:
    """An answer with its sentence."""

    answer: Any
    words: str


def _measurement(given: Inputs) -> str:
    conditions = [_condition(given.get(side)) for side in ("successCondition", "failureCondition")]
    return assessment.assess_measurement(*conditions)


def _condition(written: Any) -> Condition:
    known: dict[Any, Condition] = {True: "true", False: "false", None: "absent"}
    if written is None or isinstance(written, bool):
        return known[written]
    if written in ("absent", "error"):
        return cast(Condition, written)
    raise ValueError(f"{written!r} is not a condition")


def _metric(given: Inputs) -> Worded:
    found = assessment.assess_metric(
        _limits(given.get("metric", {})),
        _tally(given.get("result", {})),
        terminating=bool(given.get("terminating")),
    )
    return Worded(found.phase, found.reason)


def _limits(written: Inputs) -> Limits:
    usual = Limits()
    return Limits(
        failure_limit=int(written.get("failureLimit", usual.failure_limit)),
        inconclusive_limit=int(written.get("inconclusiveLimit", usual.inconclusive_limit)),
        error_limit=int(written.get("consecutiveErrorLimit", usual.error_limit)),
        success_streak=int(written.get("consecutiveSuccessLimit", usual.success_streak)),
        count=int(written.get("count", usual.count)),
        has_interval=bool(written.get("interval")),
    )


def _tally(written: Inputs) -> Tally:
    last = written.get("lastMeasurement")
    return Tally(
        successful=int(written.get("successful", 0)),
        failed=int(written.get("failed", 0)),
        inconclusive=int(written.get("inconclusive", 0)),
        error=int(written.get("error", 0)),
        errors_running=int(written.get("consecutiveError", 0)),
        successes_running=int(written.get("consecutiveSuccess", 0)),
        count=int(written.get("count", 0)),
        last=None if last is None else cast(Outcome, _phase(last)),
        phase=_phase(written.get("phase", "Pending")),
    )


def _phase(written: Any) -> Phase:
    if written not in get_args(Phase):
        raise ValueError(f"{written!r} is not a phase")
    return cast(Phase, written)


def _run(given: Inputs) -> Worded:
    run = given["run"]
    results = {result["name"]: result for result in run.get("results", [])}
    metrics = [
        Metric(
            name=metric["name"],
            limits=_limits(metric),
            dry_run=bool(metric.get("dryRun") or results.get(metric["name"], {}).get("dryRun")),
        )
        for metric in run["metrics"]
    ]
    found = assessment.assess_run(
        metrics,
        {name: _tally(result) for name, result in results.items()},
        asked_to_stop=bool(run.get("terminateRequested")),
    )
    return Worded(found.phase, found.reason)


def _is_terminating(given: Inputs) -> bool:
    run = given["run"]
    return assessment.is_terminating(
        [(_phase(r["phase"]), bool(r.get("dryRun"))) for r in run.get("results", [])],
        asked=bool(run.get("terminateRequested")),
    )


def _is_worse(given: Inputs) -> bool:
    return assessment.is_worse(_phase(given["current"]), _phase(given["new"]))


def _schedule(given: Inputs) -> dict[str, Any]:
    if "before" in given:
        tally = assessment.counted(
            _tally(given["before"]), cast(Outcome, _phase(given["measurement"]))
        )
        return {
            "successful": tally.successful,
            "failed": tally.failed,
            "inconclusive": tally.inconclusive,
            "error": tally.error,
            "consecutiveError": tally.errors_running,
            "consecutiveSuccess": tally.successes_running,
            "count": tally.count,
        }
    finished = given.get("secondsSinceLastFinish")
    ages: Sequence[Any] = finished if isinstance(finished, list) else [finished]
    timings = [_timing(given, age) for age in ages]
    found = [assessment.due(timing) for timing in timings]
    waits = [wait for timing in timings if (wait := assessment.next_in(timing)) is not None]
    return {
        "takeMeasurement": any(one.now for one in found),
        "resume": any(one.resume for one in found),
        "nextInSeconds": min(waits, default=None),
    }


def _timing(given: Inputs, finished_ago: float | None) -> Timing:
    last = given.get("lastPhase")
    sibling = given.get("siblingPhase")
    return Timing(
        interval=_seconds(given.get("interval")),
        delay=_seconds(given.get("initialDelay")),
        started_ago=given.get("secondsSinceRunStart"),
        finished_ago=finished_ago,
        last=None if last is None else cast(Outcome, _phase(last)),
        in_flight=given.get("lastFinished") is False or "resumeAtOffsetSeconds" in given,
        resume_in=given.get("resumeAtOffsetSeconds"),
        stopping=sibling is not None and assessment.is_terminating([(_phase(sibling), False)]),
        ended=given.get("phase") in assessment.ENDED,
    )


def _seconds(written: Any) -> float | None:
    """Return a span such as 1m30s in seconds, nan where it cannot be read, None for none."""
    if written in (None, ""):
        return None
    parts = _SPAN.findall(str(written))
    if not parts or "".join(map("".join, parts)) != str(written):
        return math.nan
    return math.fsum(float(number) * _SECONDS[unit] for number, unit in parts)


def _retention(given: Inputs) -> dict[str, list[str]]:
    limits = given.get("override", {})
    return {
        name: list(assessment.retained(measured, limits.get(name, given["defaultLimit"])))
        for name, measured in given["measurements"].items()
    }


def _reaction(given: Inputs) -> str:
    return _REACTIONS[assessment.reaction(_phase(given["runPhase"]))]


ASSESSED: Final[Mapping[str, Callable[[Inputs], Any]]] = {
    "measurement": _measurement,
    "metric": _metric,
    "run": _run,
    "isTerminating": _is_terminating,
    "isWorse": _is_worse,
    "schedule": _schedule,
    "retention": _retention,
    "reaction": _reaction,
}
