"""Which policy was in force when, and from when to when each limit held."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from batches.guardrails.pinned_policy import Limit, limits_of
from plans.drafting.drafting import policy_of
from plans.models import Adjustment, Plan, PlanRevision
from plans.policies.policy import UpgradePolicy


@dataclass(frozen=True, slots=True)
class InForce:
    """A policy and its time: `since` None = from the beginning, `until` None = still."""

    revision: int
    policy: UpgradePolicy
    since: datetime | None
    until: datetime | None


@dataclass(frozen=True, slots=True)
class LimitStep:
    """A limit over the time in which it held."""

    limit: Limit
    since: datetime | None
    until: datetime | None

    @property
    def drawn(self) -> bool:
        """Tell whether it is a fixed level that a chart can draw."""
        return self.limit.value is not None and self.limit.against == "absolute"


def policies_in_force(plan: Plan) -> list[InForce]:
    """Return the policies under which the plan ran, the first one first; two queries."""
    changes = list(
        Adjustment.objects.filter(plan=plan, state=Adjustment.APPLIED)
        .select_related("before", "revision")
        .order_by("applied_at", "revision__number")
    )
    first = (
        changes[0].before if changes else PlanRevision.objects.get(plan=plan, number=plan.revision)
    )
    starts = [None, *(change.applied_at for change in changes)]
    revisions = [first, *(change.revision for change in changes)]
    ends = [*starts[1:], None]
    return [
        InForce(revision.number, policy_of(revision), since, until)
        for revision, since, until in zip(revisions, starts, ends, strict=True)
    ]


def limit_steps(periods: Sequence[InForce]) -> list[LimitStep]:
    """Return each limit with its time; one that a change left as it was is one step."""
    steps: list[LimitStep] = []
    for period in periods:
        for limit in limits_of(period.policy):
            same = next(
                (
                    index
                    for index, step in enumerate(steps)
                    if step.until is not None
                    and step.until == period.since
                    and _as_drawn(step.limit) == _as_drawn(limit)
                ),
                None,
            )
            since = period.since
            if same is not None:
                since = steps.pop(same).since
            steps.append(LimitStep(limit, since, period.until))
    return steps


def _as_drawn(limit: Limit) -> tuple[object, ...]:
    return limit.kpi, limit.value, limit.label, limit.against
