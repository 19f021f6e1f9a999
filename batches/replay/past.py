"""All past plans under other rules: how many rollbacks would have been right, wrong, or missing."""

from dataclasses import dataclass
from statistics import median
from typing import Any

from django.db.models import QuerySet

from batches.models import JudgedLook, RollbackDrill
from batches.replay.counterfactual import (
    OUTCOMES,
    Counterfactual,
    own_policy,
    replay_under,
    scaled,
    with_thresholds,
)
from batches.replay.course import NothingToReplay, TooMuchForAPage
from batches.replay.other_rules import with_evidence
from plans.counted_words import counted
from plans.lifecycle import LIVE_PLAN_STATES
from plans.models import Plan
from plans.policies.policy import UpgradePolicy
from plans.policies.policy_words import span
from plans.refusal import BadInput


@dataclass(frozen=True, slots=True)
class Tally:
    """Past plans under other rules: how many rollbacks would have been right, wrong, missing."""

    plans: tuple[Counterfactual, ...]
    left_out: int

    def count(self, word: str) -> int:
        """Return how many plans have this outcome."""
        return sum(one.word == word for one in self.plans)

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of plans per outcome."""
        return {word: self.count(word) for word in OUTCOMES}

    @property
    def earlier_seconds(self) -> float | None:
        """Return the median of how much earlier bad plans would have been taken back."""
        seconds = [one.earlier_seconds for one in self.plans if one.earlier_seconds is not None]
        return median(seconds) if seconds else None

    @property
    def sentence(self) -> str:
        """Return the tally in words."""
        counts = self.counts
        if not self.plans:
            return "No past plan has looks that could be replayed."
        bad, good = counts["true"] + counts["missed"], counts["false"] + counts["quiet"]
        said = (
            f"Of {counted(bad, 'past plan')} that went back {counts['true']} would"
            f" have been taken back by these rules; of {good} that stayed {counts['false']} would"
            " have been taken back for nothing"
        )
        if (earlier := self.earlier_seconds) is not None:
            said += f"; in the middle {span(abs(earlier))} {'earlier' if earlier >= 0 else 'later'}"
        return f"{said}."


def past_plans(plans: QuerySet[Plan]) -> QuerySet[Plan]:
    """Return the plans that are over and have something to replay; rehearsals are none of them."""
    drills = RollbackDrill.objects.filter(kind=RollbackDrill.REHEARSAL).values("plan")
    judged = JudgedLook.objects.order_by().values("plan")
    return (
        plans.filter(pk__in=judged, ended_at__isnull=False)
        .exclude(state__in=LIVE_PLAN_STATES)
        .exclude(pk__in=drills)
        .order_by("-ended_at")
    )


def tally(
    plans: QuerySet[Plan],
    *,
    policy: UpgradePolicy | None = None,
    thresholds: dict[str, float] | None = None,
    evidence: dict[str, Any] | None = None,
    most: int | None = None,
    on_a_page: bool = False,
) -> Tally:
    """Return past plans under the policy, or each under its own, with other numbers.

    A plan whose own policy does not judge a Kpi of the thresholds, has no evidence test to change,
    or is too long for a page, is left out and counted.
    """
    found: list[Counterfactual] = []
    left_out = 0
    chosen = past_plans(plans)
    for plan in chosen[:most] if most is not None else chosen:
        try:
            rules = with_thresholds(policy or own_policy(plan), thresholds or {})
            rules = with_evidence(rules, evidence or {})
            found.append(replay_under(plan, scaled(rules), on_a_page=on_a_page))
        except (BadInput, NothingToReplay, TooMuchForAPage):
            left_out += 1
    return Tally(tuple(found), left_out)
