"""Read the course of a plan's evidence: the same lines that its live page shows."""

from datetime import datetime

from batches.models import EvidenceLook, EvidenceState
from plans.models import Plan
from plans.policies.policy import UpgradePolicy
from plans.policies.policy_words import tolerated_words
from reports.document.facts_course import EvidenceFact

MOST_LOOKS = 1200


def evidence_course(plan: Plan, policy: UpgradePolicy) -> EvidenceFact | None:
    """Return the course, None where the policy has no test or the plan was never looked at."""
    rules = policy.evidence
    row = EvidenceState.objects.filter(plan=plan).first()
    if rules is None or row is None:
        return None
    looks = list(
        EvidenceLook.objects.filter(plan=plan)
        .order_by("at", "pk")
        .values_list("at", "kpi", "percent", "together")
    )
    together: list[tuple[datetime, float]] = []
    alone: dict[str, list[tuple[datetime, float]]] = {}
    # Counted from the end: the newest look always belongs to it.
    for at, kpi, percent, total in looks[::-1][:: max(1, len(looks) // MOST_LOOKS)][::-1]:
        together.append((at, total))
        alone.setdefault(kpi, []).append((at, percent))
    lines = [("all together" if len(alone) > 1 else "evidence", tuple(together))]
    if len(alone) > 1:
        lines += [(kpi, tuple(points)) for kpi, points in sorted(alone.items())]
    return EvidenceFact(
        kpis=rules.kpis,
        tolerated=tolerated_words(rules),
        risk=rules.max_false_rollback_risk,
        action=rules.action,
        verdict=row.verdict,
        sentence=row.sentence,
        estimated=row.estimated,
        reached_at=row.reached_at,
        looks=len(looks),
        highest=max((total for _at, _kpi, _percent, total in looks), default=0.0),
        lines=tuple(lines),
    )
