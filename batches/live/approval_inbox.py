"""What waits for one approver, with enough to decide, and what they decided lately."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet

from batches.live.plan_list import from_versions
from batches.live.points_to_weigh import Before, Point, points_to_weigh
from batches.live.weighing import rehearsals, sizes_of, taken_back_before
from batches.placebo.beside import Beside, beside_revision
from batches.quotes.quote import Quote
from batches.rollout.readiness import quote_for
from plans.approvals import approval
from plans.approvals.approved_acts import START
from plans.drafting.drafting import policy_of
from plans.models import Adjustment, Approval, ApprovalRequest, Plan, User
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
    points: tuple[Point, ...] = ()


def inbox(person: User, *, now: datetime) -> list[InboxLine]:
    """Return the requests on which the person can decide, most urgent first."""
    requests = approval.waiting_for(person, now=now)
    plans = [request.plan for request in requests]
    versions = from_versions(plans)
    sizes = sizes_of([plan.pk for plan in plans])
    before = taken_back_before(plans, person)
    rehearsed = rehearsals(plans)
    lines: list[InboxLine] = []
    for request in requests:
        sizes_here = sizes.get(request.plan_id, ())
        tenants = sum(sizes_here)
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
                batches=len(sizes_here),
                first_batch=sizes_here[0] if sizes_here else 0,
                soak=span(sum(batch.soak_seconds for batch in policy.batches)),
                missing=tuple(request.missing_roles(request.approvals.all())),
                quote=quote,
                trouble=trouble,
                urgent=(request.deadline - now).total_seconds() < 15 * 60,
                adjustment=getattr(request, "adjustment", None),
                beside=beside_revision(request.revision),
                points=_points(
                    request,
                    sizes_here,
                    versions.get(request.plan_id, ()),
                    before.get(request.plan_id, ()),
                    rehearsal=request.plan_id in rehearsed,
                ),
            )
        )
    return lines


def _points(
    request: ApprovalRequest,
    sizes: Sequence[int],
    running: Sequence[str],
    before: Sequence[Before],
    *,
    rehearsal: bool,
) -> tuple[Point, ...]:
    """Return what to weigh before a start; a change of a running plan speaks for itself.

    Whether all could be back in time is said by the quote of the line.
    """
    if request.action != START:
        return ()
    release = request.plan.release
    policy = policy_of(request.revision)
    told = points_to_weigh(
        policy,
        sizes,
        version=release.version,
        standing=release.standing,
        running=running,
        before=before,
        first_over=None,
        rehearsal=rehearsal,
    )
    return tuple(told)


def decided_by(person: User) -> QuerySet[Approval]:
    """Return the newest verdicts of the person, on plans that they may still see."""
    seen = Plan.objects.visible_to(person)
    return (
        Approval.objects.filter(user=person, request__plan__in=seen)
        .select_related("request__plan__plugin", "request__plan__release")
        .order_by("-at")[:DECIDED_SHOWN]
    )
