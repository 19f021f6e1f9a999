"""A plan's guardrails as page, socket and API show them: verdict, why, and what is next."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from batches.guardrails.measured_words import IDLE, cause_words
from batches.guardrails.nearness import WHO
from batches.guardrails.pinned_policy import Limit, limits_of
from batches.live.sparkline import sparkline
from batches.models import GuardrailState
from plans.models import Plan
from plans.policies.policy import UpgradePolicy

VERDICT_WORDS = {
    "fine": "Fine",
    "breached": "Breached",
    "no_data": "No data",
    "undecided": "Not yet",
}
JUDGED = frozenset({"running", "paused"})
"""The states in which a further look may still change anything."""


def guardrails_shown(
    plan: Plan, policy: UpgradePolicy, *, irreversible: bool
) -> list[dict[str, Any]]:
    """Return each guardrail with its number, what was last ruled on it, and why."""
    ruled = {state.key: state for state in GuardrailState.objects.filter(plan=plan)}
    return [
        _guardrail(plan, policy, limit, ruled.get(limit.key), irreversible=irreversible)
        for limit in limits_of(policy)
    ]


def _guardrail(
    plan: Plan,
    policy: UpgradePolicy,
    limit: Limit,
    state: GuardrailState | None,
    *,
    irreversible: bool,
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "key": limit.key,
        "kpi": limit.kpi,
        "action": limit.action,
        "dry_run": limit.dry_run,
        "scope": limit.scope,
        "against": limit.against,
        "verdict": "undecided",
        "sentence": _before_the_first_look(limit, irreversible=irreversible),
        "value": None,
        "unit": limit.measured_in,
        "threshold": limit.label,
        "limit_now": None,
        "baseline": None,
        "n": 0,
        "tenants": 0,
        "without_data": 0,
        "worst": None,
        "cause": "",
        "cause_label": "",
        "since": None,
        "last_good_at": None,
        "next": "",
        "stays_away": "",
        "breached_by": [],
        "stands_out": [],
        "recent": [],
        "spark": None,
        "updated_at": None,
    }
    if state is not None:
        told |= _ruled(limit, state)
    if str(plan.state) not in JUDGED:
        told["next"] = ""
    elif str(plan.state) == "running" and told["verdict"] == "no_data":
        told["stays_away"] = _stays_away(policy, told["cause"], irreversible=irreversible)
    if irreversible and "roll " in told["next"]:
        told["next"] = told["next"].replace(
            f"roll {WHO[limit.scope]} back", "stop the plan; nothing is restored"
        )
    told["label"] = VERDICT_WORDS.get(told["verdict"], told["verdict"])
    return told


def _stays_away(policy: UpgradePolicy, cause: str, *, irreversible: bool) -> str:
    """Return what happens when its data stays away; empty where nothing does, or nobody called."""
    if cause == IDLE:
        return ""
    then = "the batch is held for a person"
    if policy.on.missing_metrics == "rollback" and not irreversible:
        newest = policy.rollback.scope == "batch"
        then = f"{'the newest batch' if newest else 'everything'} is taken back"
    return f"Missing for {policy.limits.missing_metrics_minutes:g} min: {then}."


def _ruled(limit: Limit, state: GuardrailState) -> dict[str, Any]:
    why: Mapping[str, Any] = state.told
    unit = why.get("unit") or limit.measured_in
    chart = sparkline(limit.kpi, unit, state.recent, at_most=limit.at_most)
    cause = why.get("cause", "")
    return {
        "verdict": state.verdict,
        "sentence": state.sentence,
        "value": state.value,
        "unit": unit,
        "limit_now": why.get("threshold"),
        "baseline": why.get("baseline"),
        "n": why.get("n", 0),
        "tenants": why.get("tenants", 0),
        "without_data": why.get("without_data", 0),
        "worst": _valued([why["worst"]])[0] if why.get("worst") else None,
        "cause": cause,
        "cause_label": cause_words(cause) if cause else "",
        "since": _moment(why.get("since")),
        "last_good_at": _moment(why.get("last_good_at")),
        "next": why.get("next", ""),
        "breached_by": _valued(why.get("breached_by", {}).items()),
        "stands_out": _valued(why.get("stands_out", {}).items()),
        "recent": state.recent,
        "spark": chart.to_json() if chart is not None else None,
        "updated_at": state.updated_at,
    }


def _before_the_first_look(limit: Limit, *, irreversible: bool) -> str:
    if limit.dry_run:
        return "Shown only: a dry run."
    if limit.action == "rollback" and irreversible:
        return "Then: the plan stops; nothing is restored."
    return f"Then: {limit.action}."


def _valued(pairs: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    return [{"tenant": tenant, "value": value} for tenant, value in pairs]


def _moment(written: str | None) -> datetime | None:
    return datetime.fromisoformat(written) if written else None


def stops_again(
    plan_state: str, held_kind: str, guardrails: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return why a plan that goes on now would be stopped again at once; empty when it would not.

    A guardrail that pauses, or that holds a batch since nobody may take it back, does so again for
    as long as it is broken.
    """
    stopped_by = {"pause"} if plan_state == "paused" else set()
    if held_kind == "breach":
        stopped_by |= {"pause", "rollback"}
    return [
        str(guardrail["sentence"])
        for guardrail in guardrails
        if guardrail["verdict"] == "breached"
        and guardrail["action"] in stopped_by
        and not guardrail["dry_run"]
    ]
