"""What a policy wants to see in place of missing data: `on_missing`. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from batches.guardrails.guard_state import GuardState
from batches.guardrails.measured import Measurement, TenantSeen, each_outcome
from batches.guardrails.measured_words import cause_words
from plans.policies.policy import Guardrail

# Nothing of ours: the source itself did not answer.
SOURCE_ERRORS: Final = frozenset({"source_down", "timeout", "unauthorized", "bad_answer"})


ABSENT: Final = frozenset({"no_series", "name_gone", "no_bad_series"})
"""Nobody told anything: for `zero` that is none. Numbers that are broken or old are never none."""


def replaced(measurement: Measurement, guardrail: Guardrail, state: GuardState) -> Measurement:
    """Return the measurement that the policy wants to see in place of missing data."""
    if guardrail.on_missing not in ("breach", "zero"):
        return measurement
    if measurement.outcome == "error":
        seen = measurement.at is not None and measurement.at == state.last_look_at
        errors = state.errors_running + (not seen)
        if tolerated(measurement, guardrail, errors):
            return measurement
    if guardrail.scope == "tenant" and measurement.silent:
        return _replaced_each(measurement, guardrail)
    if measurement.outcome != "error" or not _stands(measurement.cause, guardrail):
        return measurement
    failed, value, words = _stands_for(guardrail)
    return replace(
        measurement,
        outcome="failed" if failed else "successful",
        value=value,
        sentence=f"{measurement.sentence}, which counts as {words}",
    )


def _stands(cause: str | None, guardrail: Guardrail) -> bool:
    return guardrail.on_missing == "breach" or cause in ABSENT


def _stands_for(guardrail: Guardrail) -> tuple[bool, float | None, str]:
    """Return what missing data stands for: whether it fails, its value, and its word."""
    if guardrail.on_missing == "breach":
        return True, None, "failed"
    return guardrail.at_least is not None and guardrail.at_least > 0, 0.0, "0"


def _replaced_each(measurement: Measurement, guardrail: Guardrail) -> Measurement:
    failed, value, words = _stands_for(guardrail)
    filled = {
        tenant: TenantSeen(failed, value, 0)
        for tenant, cause in measurement.silent.items()
        if _stands(cause, guardrail)
    }
    if not filled:
        return measurement
    by_tenant = {**filled, **measurement.by_tenant}
    outcome = each_outcome(by_tenant, len(by_tenant.keys() | measurement.undecided))
    first = min(filled)
    silent = f"{len(filled)} tenants give no data"
    if len(filled) == 1:
        silent = f"{first} gives no data ({cause_words(measurement.silent[first])})"
    return replace(
        measurement,
        outcome=outcome,
        by_tenant=by_tenant,
        sentence=f"{measurement.sentence}; {silent}, which counts as {words}",
    )


def tolerated(measurement: Measurement, guardrail: Guardrail, errors: int) -> bool:
    """Tell whether so many failed readings running are still let pass."""
    return measurement.cause in SOURCE_ERRORS and errors <= guardrail.consecutive_error_limit
