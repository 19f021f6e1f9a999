"""What a replay and a forecast answer as JSON: the same for REST and for commands."""

from typing import Any

from batches.replay.counterfactual import Counterfactual
from batches.replay.past import Tally


def counterfactual_answer(found: Counterfactual) -> dict[str, Any]:
    """Return one plan under other rules."""
    return {
        "plan": found.plan.pk,
        "external_id": found.plan.external_id,
        "outcome": found.word,
        "sentence": found.sentence,
        "rolled_back_at": found.at,
        "really_rolled_back_at": found.really.at,
        "really_by": found.really.trigger,
        "earlier_seconds": found.earlier_seconds,
        "guardrails": [
            {
                "guardrail": one.key,
                "kpi": one.kpi,
                "action": one.action,
                "scope": one.scope,
                "dry_run": one.dry_run,
                "looks": one.looks,
                "failed": one.failed,
                "breached_at": one.breached_at,
                "sentence": one.sentence,
                "highest_percent": one.highest,
            }
            for one in found.guardrails
        ],
        "passes": [
            {
                "batch": one.batch,
                "soak_started": one.soak_started,
                "at": one.at,
                "sentence": one.sentence,
            }
            for one in found.passes
        ],
        "notes": list(found.said),
        "not_judged": list(found.unreadable),
    }


def tally_answer(found: Tally) -> dict[str, Any]:
    """Return all past plans under other rules."""
    counts = found.counts
    return {
        "sentence": found.sentence,
        "true_rollbacks": counts["true"],
        "false_rollbacks": counts["false"],
        "missed": counts["missed"],
        "quiet": counts["quiet"],
        "left_out": found.left_out,
        "median_earlier_seconds": found.earlier_seconds,
        "plans": [counterfactual_answer(one) for one in found.plans],
    }
