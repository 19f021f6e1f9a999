"""What approvers weigh about a plan that has not started, read for its page and for their inbox."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID

from django.db.models import Count

from batches.live.points_to_weigh import LOOKED_AT, Before, Point, points_to_weigh
from batches.models import Rollback, RollbackDrill
from batches.rollback.rollback import headline
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Plan, PlanTenant, User
from plans.policies.policy_words import span

UNSTARTED = frozenset({"draft", "awaiting_approval", "approved"})
BEFORE_SHOWN = 3
ROWS_READ = 200


@dataclass(frozen=True, slots=True)
class Weighing:
    """What the plan does, and what to weigh about it."""

    sizes: tuple[int, ...]
    soak: str
    points: tuple[Point, ...]
    looked_at = LOOKED_AT

    @property
    def tenants(self) -> int:
        """Return how many tenants it goes to."""
        return sum(self.sizes)


def weighing_of(plan: Plan, snapshot: Mapping[str, Any], person: User) -> Weighing | None:
    """Return what somebody weighs about a plan that has not started; None for any other."""
    if str(plan.state) not in UNSTARTED:
        return None
    policy = policy_of(current_revision(plan))
    sizes = sizes_of([plan.pk]).get(plan.pk, ())
    whole = snapshot["quote"]["whole"]
    points = points_to_weigh(
        policy,
        sizes,
        version=plan.release.version,
        standing=plan.release.standing,
        running=snapshot["plan"]["from_versions"],
        before=taken_back_before([plan], person).get(plan.pk, ()),
        # Nothing is promised for a release without a way back; the page says so by itself.
        first_over=whole["first_over"] if whole and not plan.release.irreversible else None,
        rehearsal=plan.pk in rehearsals([plan]),
    )
    soak = span(sum(batch.soak_seconds for batch in policy.batches))
    return Weighing(sizes=sizes, soak=soak, points=tuple(points))


def sizes_of(ids: Sequence[UUID]) -> dict[UUID, tuple[int, ...]]:
    """Return how many tenants each batch of each plan has, in the order of the batches."""
    rows = (
        PlanTenant.objects.filter(plan__in=ids, excluded=False)
        .order_by("plan_id", "batch_number")
        .values_list("plan_id", "batch_number")
        .annotate(n=Count("pk"))
    )
    found: dict[UUID, list[int]] = defaultdict(list)
    for plan_id, _number, n in rows:
        found[plan_id].append(n)
    return {plan_id: tuple(sizes) for plan_id, sizes in found.items()}


def rehearsals(plans: Sequence[Plan]) -> set[UUID]:
    """Return which of the plans are rehearsals: what they put on, the console takes back."""
    drills = RollbackDrill.objects.filter(plan__in=plans, kind=RollbackDrill.REHEARSAL)
    return set(drills.values_list("plan_id", flat=True))


def taken_back_before(plans: Sequence[Plan], person: User) -> dict[UUID, tuple[Before, ...]]:
    """Return the newest rollbacks of each plan's release that the person may see, rehearsals apart.

    One query, however many plans.
    """
    rows = (
        Rollback.objects.filter(
            plan__release__in={plan.release_id for plan in plans},
            plan__in=Plan.objects.visible_to(person),
        )
        .exclude(plan__drills__kind="rehearsal")
        .select_related("plan", "by")
        .order_by("-triggered_at")[:ROWS_READ]
    )
    told: dict[UUID, dict[UUID, Before]] = defaultdict(dict)
    for row in rows:
        # Once for each plan, by what began it: a further try says nothing more of the release.
        told[row.plan.release_id][row.plan_id] = Before(
            str(row.plan_id), row.plan.external_id, row.touched, headline(row)
        )
    return {
        plan.pk: tuple(islice(told.get(plan.release_id, {}).values(), BEFORE_SHOWN))
        for plan in plans
    }
