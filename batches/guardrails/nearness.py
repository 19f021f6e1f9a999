"""How far it is from here to a guardrail's next verdict, in words. Pure."""

from __future__ import annotations

from batches.guardrails.measured_words import IDLE
from plans.counted_words import counted
from plans.policies.policy import Guardrail

WHO = {"plan": "the plan", "batch": "the batch", "tenant": "that tenant"}


def deed_words(guardrail: Guardrail) -> str:
    """Return what a breach does: 'roll the batch back'."""
    if guardrail.dry_run:
        return "be a breach (dry run: nothing follows)"
    if guardrail.action == "rollback":
        return f"roll {WHO[guardrail.scope]} back"
    return "pause the plan" if guardrail.action == "pause" else "raise an alert"


def next_words(
    guardrail: Guardrail,
    verdict: str,
    *,
    failed_running: int,
    errors_running: int,
    failed: bool,
    n: int,
    cause: str | None,
) -> str:
    """Return what it takes until the verdict changes; empty where it cannot be said."""
    missing = cause is not None and cause != IDLE and not failed
    if missing:
        if guardrail.on_missing == "ignore":
            return ""
        left = guardrail.consecutive_error_limit + 1 - errors_running
        if verdict != "no_data" and left > 0:
            return f"{counted(left, 'more reading')} without data would be no data"
        return "One good look ends this"
    if verdict == "breached":
        return "One good look ends this"
    left = guardrail.failure_limit + 1 - failed_running
    if failed_running:
        return f"{counted(left, 'more bad look')} would {deed_words(guardrail)}"
    if verdict == "fine":
        looks = counted(left, "bad look", "bad looks running")
        return f"{looks} would {deed_words(guardrail)}"
    if cause is None and 0 < n < guardrail.min_samples:
        needed = guardrail.min_samples - n
        return f"{counted(needed, 'more request')} within the window for a verdict"
    return ""
