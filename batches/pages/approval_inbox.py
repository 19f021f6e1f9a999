"""What waits for one approver, with enough to decide, and what they decided lately."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, Max, Q, QuerySet

from batches.pages.plan_list import from_versions
from batches.placebo.beside import Beside, beside_revision
from batches.quotes.quote import Quote
from batches.rollout.readiness import quote_for
from plans.approvals import approval
from plans.drafting.drafting import policy_of
from plans.models import Adjustment, Approval, ApprovalRequest, Plan, PlanTenant, User
from plans.policies.policy_words import span
from plans.refusal import BadInput

DECIDED_SHOWN = 20


@dataclass(frozen=True, slots=True)
class InboxLine:
    """One request as its approver sees it; `quote` None = `trouble` says why it is not known."""

    request: ApprovalRequest
    from_versions: tuple[str, ...]
    tenants: int
    batches: int
    first_batch: int
    soak: str
    missing: tuple[str, ...]
    quote: Quote | None
    trouble: str
    urgent: bool
    adjustment: Adjustment | None = None
    beside: Beside | None = None


def inbox(person: User, *, now: datetime) -> list[InboxLine]:
    """Return the requests on which the person can decide, most urgent first."""
    requests = approval.waiting_for(person, now=now)
    plans = [request.plan for request in requests]
    versions = from_versions(plans)
    sizes = _sizes([plan.pk for plan in plans])
    lines: list[InboxLine] = []
    for request in requests:
        tenants, batches, first = sizes.get(request.plan_id, (0, 0, 0))
        policy = policy_of(request.revision)
        quote, trouble = None, ""
        try:
            quote = quote_for(
                deployer=request.plan.deployer,
                policy=policy,
                touched=tenants,
                plan=request.plan,
            )
        except BadInput as bad:
            trouble = "; ".join(bad.problems)
        lines.append(
            InboxLine(
                request=request,
                from_versions=versions.get(request.plan_id, ()),
                tenants=tenants,
                batches=batches,
                first_batch=first,
                soak=span(sum(batch.soak_seconds for batch in policy.batches)),
                missing=tuple(request.missing_roles(request.approvals.all())),
                quote=quote,
                trouble=trouble,
                urgent=(request.deadline - now).total_seconds() < 15 * 60,
                adjustment=getattr(request, "adjustment", None),
                beside=beside_revision(request.revision),
            )
        )
    return lines


def _sizes(ids: Sequence[UUID]) -> dict[UUID, tuple[int, int, int]]:
    rows = (
        PlanTenant.objects.filter(plan__in=ids, excluded=False)
        .order_by()
        .values("plan_id")
        .annotate(
            n=Count("pk"), last=Max("batch_number"), first=Count("pk", filter=Q(batch_number=1))
        )
    )
    return {row["plan_id"]: (row["n"], row["last"], row["first"]) for row in rows}


def decided_by(person: User) -> QuerySet[Approval]:
    """Return the newest verdicts of the person, on plans that they may still see."""
    seen = Plan.objects.visible_to(person)
    return (
        Approval.objects.filter(user=person, request__plan__in=seen)
        .select_related("request__plan__plugin", "request__plan__release")
        .order_by("-at")[:DECIDED_SHOWN]
    )
