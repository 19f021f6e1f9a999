"""What is promised right now: the way back, what it costs, and the clock that runs."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from batches.models import Rollback
from batches.quotes.advice import forecast
from batches.quotes.quote import rollback_quote
from batches.rollout.readiness import AT_STAKE, way_back
from plans.models import Plan
from plans.policies.policy import UpgradePolicy
from plans.refusal import BadInput

UNENDED = ("draft", "awaiting_approval", "approved", "running", "paused")


def quote_shown(
    plan: Plan, policy: UpgradePolicy, batches: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return what taking everything back costs now, and after the next batch (the gate)."""
    at_stake = sum(
        # Whoever waits for a call in a batch under way counts as if the call had been sent.
        sum(batch["counts"].get(state, 0) for state in ("pending", *AT_STAKE))
        if batch["state"] == "deploying"
        else batch["touched"]
        for batch in batches
    )
    pending = [batch for batch in batches if batch["state"] == "pending"]
    if str(plan.state) not in UNENDED:
        pending = []
    try:
        way = way_back(deployer=plan.deployer, policy=policy, plan=plan)
    except BadInput as refused:
        return {
            "touched": at_stake,
            "seconds": None,
            "expected_seconds": None,
            "limit": None,
            "fits": None,
            "terms": [],
            "sentence": refused.sentence,
            "next": None,
            "whole": None,
        }
    coming = [batch["counts"].get("pending", 0) for batch in pending]
    told = forecast(way, coming, touched=at_stake)
    over = told.first_over
    return rollback_quote(way, touched=at_stake).to_json() | {
        "next": {"batch": pending[0]["number"], **told.quotes[0].to_json()} if pending else None,
        "whole": {
            **told.quotes[-1].to_json(),
            "first_over": pending[over]["number"] if over is not None else None,
            "advice": [one.to_json() for one in told.advice],
        }
        if pending
        else None,
    }


def promise(
    plan: Plan, rollback: Rollback | None, quote: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    """Return what is promised right now: `kind`, a sentence, and the time it runs towards."""
    state = str(plan.state)
    if plan.release.irreversible:
        return _no_promise(state)
    if rollback is not None and rollback.finished_at is None:
        kind = "missed" if rollback.missed_at else "rolling_back"
        return {
            "kind": kind,
            "until": rollback.deadline,
            "from": rollback.clock_from,
            "sentence": "The promise was missed; work goes on"
            if rollback.missed_at
            else "All back by",
        }
    if state == "paused" and plan.resume_by is not None:
        return {
            "kind": "paused",
            "until": plan.resume_by,
            "from": plan.paused_at,
            "sentence": "Taken back unless resumed by",
        }
    if rollback is not None and rollback.verified_at and state in {"rolled_back", "archived"}:
        seconds = (rollback.verified_at - rollback.clock_from).total_seconds()
        word = "Kept" if rollback.verified_at <= rollback.deadline else "Missed"
        return {
            "kind": word.lower(),
            "until": None,
            "sentence": f"{word}: back in {seconds:.1f} s",
            "quoted": rollback.quote_seconds,
        }
    if state in {"running", "paused", "completed", "stopped"} and quote.get("touched"):
        sentence = f"Everything back within {quote['seconds']:.0f} s, whenever you ask"
        return {"kind": "standing", "until": None, "sentence": sentence}
    return {"kind": "none", "until": None, "sentence": ""}


def _no_promise(state: str) -> dict[str, Any]:
    """Say in the place of the promise clock that there is no way back."""
    sentence = "Cannot be taken back: when something goes wrong it stops, nothing is restored"
    if state == "paused":
        sentence = "Cannot be taken back: it stands still until a person decides"
    return {"kind": "no_way_back", "until": None, "sentence": sentence}
