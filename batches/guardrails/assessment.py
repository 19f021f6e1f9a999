"""How measurements add up: of one look, of one guardrail, of all guardrails together. Pure.

The rules are those that operators know from progressive delivery (docs/decisions/0020), except
that one order says what is worse everywhere, and that nothing is successful without one success.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

Outcome = Literal["Successful", "Failed", "Inconclusive", "Error"]
"""Of one measurement that has ended."""
Phase = Literal["Pending", "Running", "Successful", "Failed", "Inconclusive", "Error"]
"""Of a metric, and of a run of several metrics."""
Condition = Literal["true", "false", "absent", "error"]
"""A condition of a measurement: met, not met, not given, or not to be evaluated."""
Reaction = Literal["advance", "continue", "pause", "rollback"]

WORSE: Final[Sequence[Phase]] = (
    "Successful",
    "Running",
    "Pending",
    "Inconclusive",
    "Error",
    "Failed",
)
"""From good to bad: within one metric and over all of them the same."""
ENDED: Final = frozenset({"Successful", "Failed", "Inconclusive", "Error"})
STOPS_ALL: Final = frozenset({"Failed", "Inconclusive", "Error"})
ERROR_RETRY_SECONDS: Final = 10.0
KEPT: Final = 10


def assess_measurement(success: Condition, failure: Condition) -> Outcome:
    """Return what one measurement says; a condition that cannot be evaluated is an error."""
    if "error" in (success, failure):
        return "Error"
    if failure == "true":
        return "Failed"
    if success == "true" or (success == "absent" and failure in ("false", "absent")):
        return "Successful"
    return "Failed" if failure == "absent" else "Inconclusive"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a metric tolerates; every limit means strictly more than.

    `failure_limit` -1: failures never end it. `success_streak` 0: no early success. `count` 0:
    one measurement without an interval, endless with one.
    """

    failure_limit: int = 0
    inconclusive_limit: int = 0
    error_limit: int = 4
    success_streak: int = 0
    count: int = 0
    has_interval: bool = False

    @property
    def wanted(self) -> int | None:
        """Return how many measurements are wanted; None = no end."""
        if self.count > 0:
            return self.count
        return None if self.has_interval else 1

    def problems(self) -> list[str]:
        """Return what is wrong with the limits themselves."""
        found = []
        streak = self.success_streak > 0
        if self.failure_limit < 0 and not streak:
            found.append("neither failures nor a streak of successes would ever end it")
        if self.count > 0 and streak and self.count < self.failure_limit + self.success_streak:
            found.append("count is below failure limit and success streak together")
        if self.count > 1 and not self.has_interval:
            found.append("more than one measurement needs an interval")
        return found


@dataclass(frozen=True, slots=True)
class Tally:
    """What was measured of one metric so far; errors do not count as measurements."""

    successful: int = 0
    failed: int = 0
    inconclusive: int = 0
    error: int = 0
    errors_running: int = 0
    successes_running: int = 0
    count: int = 0
    last: Outcome | Literal["Running", "Pending"] | None = None
    phase: Phase = "Pending"


def counted(tally: Tally, outcome: Outcome) -> Tally:
    """Return the tally with one more measurement that has ended."""
    if outcome == "Error":
        return replace(
            tally,
            error=tally.error + 1,
            errors_running=tally.errors_running + 1,
            successes_running=0,
            last=outcome,
        )
    good = outcome == "Successful"
    return replace(
        tally,
        successful=tally.successful + good,
        failed=tally.failed + (outcome == "Failed"),
        inconclusive=tally.inconclusive + (outcome == "Inconclusive"),
        errors_running=0,
        successes_running=tally.successes_running + 1 if good else 0,
        count=tally.count + 1,
        last=outcome,
    )


@dataclass(frozen=True, slots=True)
class Assessment:
    """The phase of a metric or a run, and why; without words where nothing went wrong."""

    phase: Phase
    reason: str = ""


def assess_metric(limits: Limits, tally: Tally, *, terminating: bool = False) -> Assessment:
    """Return the phase of one metric: the first line of the table that fits.

    Never successful without one success: a metric that was tolerated to fail, or that could not
    be measured, is inconclusive when its time is over.
    """
    if tally.phase in ENDED:
        return Assessment(tally.phase, _broken(limits, tally).reason)
    if tally.last is None:
        # Nobody asked: there is nothing for it and nothing against it.
        return Assessment("Successful" if terminating else "Pending")
    if tally.last not in ENDED:
        return Assessment("Running")
    broken = _broken(limits, tally)
    if broken.phase != "Running":
        return broken
    streak = limits.success_streak
    if 0 < streak <= tally.successes_running:
        return Assessment("Successful")
    if limits.wanted is not None and tally.count >= limits.wanted:
        if streak <= 0:
            return _good(tally)
        return Assessment("Failed" if limits.failure_limit < 0 else "Inconclusive")
    return _good(tally) if terminating else Assessment("Running")


def _good(tally: Tally) -> Assessment:
    if tally.successful > 0 or tally.last == "Successful":
        return Assessment("Successful")
    return Assessment("Inconclusive", "no measurement was successful")


def _broken(limits: Limits, tally: Tally) -> Assessment:
    """Return the worst limit that is passed; Running = none of them."""
    if limits.failure_limit >= 0 and tally.failed > limits.failure_limit:
        return Assessment(
            "Failed", f"failed ({tally.failed}) > failureLimit ({limits.failure_limit})"
        )
    if tally.errors_running > limits.error_limit:
        said = f"consecutiveErrors ({tally.errors_running})"
        return Assessment("Error", f"{said} > consecutiveErrorLimit ({limits.error_limit})")
    if tally.inconclusive > limits.inconclusive_limit:
        said = f"inconclusive ({tally.inconclusive})"
        return Assessment(
            "Inconclusive", f"{said} > inconclusiveLimit ({limits.inconclusive_limit})"
        )
    return Assessment("Running")


def is_worse(current: Phase, new: Phase) -> bool:
    """Tell whether `new` is worse than `current`."""
    return WORSE.index(new) > WORSE.index(current)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of a run; one in a dry run is measured and can never change the result."""

    name: str
    limits: Limits = field(default_factory=Limits)
    dry_run: bool = False


def is_terminating(phases: Iterable[tuple[Phase, bool]], *, asked: bool = False) -> bool:
    """Tell whether a run is to end: asked for, or a live metric has ended badly.

    `phases`: of each metric, with whether it is in a dry run.
    """
    return asked or any(phase in STOPS_ALL and not dry_run for phase, dry_run in phases)


def assess_run(
    metrics: Sequence[Metric], tallies: Mapping[str, Tally], *, asked_to_stop: bool = False
) -> Assessment:
    """Return the phase of all metrics together: the worst of the live ones once all have ended."""
    terminating = is_terminating(
        (
            (tallies[metric.name].phase, metric.dry_run)
            for metric in metrics
            if metric.name in tallies
        ),
        asked=asked_to_stop,
    )
    worst: Assessment | None = None
    words = "Run Terminated" if asked_to_stop else ""
    all_ended = True
    for metric in metrics:
        tally = tallies.get(metric.name)
        if tally is None:
            all_ended = all_ended and terminating
            continue
        found = assess_metric(metric.limits, tally, terminating=terminating)
        if found.phase not in ENDED:
            all_ended = False
        elif not metric.dry_run and (worst is None or is_worse(worst.phase, found.phase)):
            worst = found
            if found.reason:
                words = f'Metric "{metric.name}" assessed {found.phase} due to {found.reason}'
    if not all_ended:
        return Assessment("Running")
    return Assessment("Successful" if worst is None else worst.phase, words)


def reaction(phase: Phase) -> Reaction:
    """Return what follows for the rollout."""
    match phase:
        case "Successful":
            return "advance"
        case "Inconclusive":
            return "pause"
        case "Failed" | "Error":
            return "rollback"
        case _:
            return "continue"


# When the next measurement is due.


@dataclass(frozen=True, slots=True)
class Timing:
    """What decides when a metric is measured again; all times in seconds from now.

    `finished_ago` None: no measurement has ended. `in_flight`: one has begun and not ended;
    `resume_in` is when it wants to be asked again. `delay` None = no initial delay. A delay or an
    interval that cannot be read is nan: such a metric is not measured.
    """

    interval: float | None = None
    delay: float | None = None
    started_ago: float | None = None
    finished_ago: float | None = None
    last: Outcome | None = None
    in_flight: bool = False
    resume_in: float | None = None
    stopping: bool = False
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Due:
    """Whether to measure now, and whether that goes on with one that is under way."""

    now: bool
    resume: bool = False


def due(timing: Timing) -> Due:
    """Tell whether a measurement is due now; one in flight is resumed, never doubled."""
    if timing.ended:
        return Due(now=False)
    if timing.in_flight:
        waits = timing.resume_in is not None and timing.resume_in > 0
        return Due(now=not waits, resume=not waits)
    wait = next_in(timing)
    return Due(now=not timing.stopping and wait is not None and wait <= 0)


def next_in(timing: Timing) -> float | None:
    """Return in how many seconds the next measurement is due; None = never."""
    if timing.ended:
        return None
    if timing.in_flight:
        return timing.resume_in
    if timing.finished_ago is None:
        return _first_in(timing)
    if timing.last == "Error":
        # Always soon, whatever the interval: an error says nothing.
        return ERROR_RETRY_SECONDS - timing.finished_ago
    if timing.interval is None or math.isnan(timing.interval):
        return None
    return timing.interval - timing.finished_ago


def _first_in(timing: Timing) -> float | None:
    if timing.delay is None:
        return 0.0
    if math.isnan(timing.delay) or timing.started_ago is None:
        return None
    return timing.delay - timing.started_ago


def retained(measurements: Sequence[str], keep: int = KEPT) -> Sequence[str]:
    """Return the newest measurements, as many as are kept."""
    return measurements[len(measurements) - min(keep, len(measurements)) :]
