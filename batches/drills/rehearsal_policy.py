"""What a rehearsal of a rollback is made of: its policy, and whether it passed. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from batches.kpis.dictionary import KpiDefinition
from plans.counted_words import counted

INJECTS = ("none", "breach", "missing_metric", "hung_hook", "killed_worker")
NEEDS_KPI = ("breach", "missing_metric")
CONSOLE_TRIGGERS = ("none", "hung_hook", "killed_worker")
"""With these the rehearsal itself asks for the rollback; the others must be found out."""
EXPECTED_TRIGGER = {"breach": "breach", "missing_metric": "missing_metrics"}
GIVE_UP_MINUTES = 10.0
"""A fault that was not found out by then is not found out: the rehearsal goes back and fails."""
NEVER_REACHED = 1e9
LEAST_SOAK_MINUTES = 30.0


def policy_name(inject: str) -> str:
    """Return the name of the policy under which such rehearsals run."""
    return f"rollback-drill-{inject.replace('_', '-')}"


def policy_of_rehearsal(
    inject: str,
    *,
    kpi: KpiDefinition | None,
    roles: Sequence[str],
    max_pending_minutes: float,
) -> str:
    """Return the policy file of a rehearsal: one batch that soaks until it is taken back.

    A breach is a limit on the Kpi that no value can keep, so that a real look at a real source
    finds it; nothing in the console makes it up.
    """
    rules = [
        f"batches: [{{name: rehearsal, percentage: 100, soak_minutes: {LEAST_SOAK_MINUTES:g}"
        + (f", metrics: [{kpi.name}]" if kpi is not None and inject == "missing_metric" else "")
        + "}]",
        "limits: {missing_metrics_minutes: 0.5, call_timeout_seconds: 15, hold_minutes: 5}",
        "on: {failure_rate: rollback, missing_metrics: rollback, hold_expired: rollback}",
        "rollback: {watch_after_minutes: 0}",
        "approvals: drill",
    ]
    if inject == "breach" and kpi is not None:
        rules.append(
            f"guardrails: [{{kpi: {kpi.name}, {impossible_limit(kpi)}, window: 30s,"
            " min_samples: 1}]"
        )
    described = f"Rehearsal of a rollback ({inject.replace('_', ' ')}): it always goes back"
    lines = "".join(f"    {rule}\n" for rule in rules)
    return (
        f"policies:\n  {policy_name(inject)}:\n    description: {json.dumps(described)}\n{lines}"
        "approvals:\n"
        f"  drill: {{required_roles: [{', '.join(roles)}],"
        f" max_pending_minutes: {max_pending_minutes:g}}}\n"
    )


def impossible_limit(kpi: KpiDefinition) -> str:
    """Return a limit within the Kpi's range that no value worth having can keep."""
    if kpi.range is None:
        return f"at_least: {NEVER_REACHED:.0f}"
    low, high = kpi.range
    return f"at_most: {low:g}" if kpi.direction == "higher" else f"at_least: {high:g}"


def usable_kpi(kpis: Sequence[KpiDefinition]) -> KpiDefinition | None:
    """Return the Kpi of a rehearsal: the first ratio, else the first gauge."""
    for kind in ("ratio", "gauge"):
        for kpi in kpis:
            if kpi.kind == kind:
                return kpi
    return None


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """How the plan of a rehearsal ended. `injected`: the fault has really happened."""

    inject: str
    state: str
    injected: bool
    trigger: str = ""
    seconds: float | None = None
    limit: float = 180.0
    restored: int = 0
    needs_hand: int = 0
    missed: bool = False
    rolled_back: bool = False


def outcome_of(rehearsed: Rehearsed) -> tuple[str, str]:
    """Return passed, failed or cut_short with its sentence; an empty outcome while it goes on."""
    word = "no fault" if rehearsed.inject == "none" else rehearsed.inject.replace("_", " ")
    if rehearsed.state in {"rejected", "expired", "cancelled", "draft"}:
        return "cut_short", f"Drill ({word}) did not take place: its plan is {rehearsed.state}."
    if not rehearsed.rolled_back:
        if rehearsed.state in {"completed", "stopped", "archived", "needs_hand"}:
            told = rehearsed.state.replace("_", " ")
            return "failed", f"Drill ({word}) failed: nothing was taken back, its plan {told}."
        return "", ""
    problems = []
    if rehearsed.needs_hand:
        problems.append(f"{counted(rehearsed.needs_hand, 'tenant')} could not be taken back")
    if rehearsed.seconds is None or rehearsed.missed or rehearsed.seconds > rehearsed.limit:
        took = f"{rehearsed.seconds:.1f} s" if rehearsed.seconds is not None else "no end"
        problems.append(f"{took} instead of {rehearsed.limit:.0f} s at most")
    expected = EXPECTED_TRIGGER.get(rehearsed.inject)
    if expected is not None and rehearsed.trigger != expected:
        problems.append(
            f"the console did not find it out by itself (the trigger was"
            f" {rehearsed.trigger.replace('_', ' ')})"
        )
    if not rehearsed.restored:
        problems.append("no tenant was restored")
    if not rehearsed.injected:
        problems.append("the fault never happened")
    if problems:
        return "failed", f"Drill ({word}) failed: {'; '.join(problems)}."
    return (
        "passed",
        f"Drill ({word}) passed: {counted(rehearsed.restored, 'tenant')} back"
        f" {rehearsed.seconds:.1f} s after the trigger.",
    )
