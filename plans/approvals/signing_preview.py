"""What a yes would sign, shown to whoever is about to give it."""

from dataclasses import dataclass
from datetime import datetime

from plans.approvals import grants
from plans.approvals.grant_claims import START_ONE_WAY
from plans.models import ApprovalRequest, Plan, PlanTenant


@dataclass(frozen=True, slots=True)
class Signs:
    """The members that a person can look at before they sign."""

    action: str
    plan_digest: str
    tenants: int
    tenants_digest: str
    artifact_sha256: str
    until: datetime
    one_way: bool


def what_is_signed(plan: Plan, request: ApprovalRequest, *, now: datetime) -> Signs:
    """Return what a yes to the request would sign right now; writes nothing."""
    bound = grants.bound_by_request(plan, request)
    return Signs(
        action=bound.action,
        plan_digest=bound.plan_digest,
        tenants=PlanTenant.objects.filter(plan=plan, excluded=False).count(),
        tenants_digest=bound.tenants_digest,
        artifact_sha256=bound.artifact_sha256,
        until=grants.counts_until(plan, request, now=now),
        one_way=bound.action == START_ONE_WAY,
    )
