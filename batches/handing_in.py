"""Take a plan as a pipeline hands it in: new, changed, or the same once more."""

from dataclasses import dataclass, replace
from datetime import datetime

from django.db import transaction

from batches import planning
from batches.configured import deployers
from plans.drafting import (
    PlanDraft,
    chosen_tenants,
    current_revision,
    latest_policy,
    policy_of,
)
from plans.models import Plan, PlanTenant, User
from plans.permissions import require
from plans.refusal import BadInput

# In these states the same content again asks for a new try, not for what is there.
OVER_WITHOUT_A_START = frozenset({"rejected", "expired", "cancelled"})


@dataclass(frozen=True, slots=True)
class HandedIn:
    """The plan as it is now; `created` tells a new one from one that was there."""

    plan: Plan
    created: bool


def only_deployer() -> str:
    """Return the deployer that a plan means when it names none; BadInput when there are several."""
    known = sorted(deployers())
    if len(known) != 1:
        raise BadInput([f"deployer: say which: {', '.join(known) or 'none is configured'}"])
    return known[0]


def hand_in(*, draft: PlanDraft, submit: bool, by: User, now: datetime, via: str) -> HandedIn:
    """Draft a plan, or change the one of the same external id, and submit it when asked to.

    All or nothing: when it cannot be submitted, nothing was drafted or changed. The same content
    again changes nothing, so a request whose answer was lost can be sent again.
    """
    require(by, "draft")
    with transaction.atomic():
        plan = Plan.objects.filter(external_id=draft.external_id).first()
        created = plan is None
        if plan is None:
            draft = replace(draft, owner_name=by.get_full_name(), owner_email=by.email)
            plan = planning.draft_plan(draft=draft, author=by, now=now, via=via)
        elif str(plan.state) in OVER_WITHOUT_A_START or not says_the_same(plan, draft):
            draft = replace(
                draft, owner_name=plan.owner_name, owner_email=plan.owner_email, note=plan.note
            )
            plan = planning.revise_plan(plan_id=plan.pk, draft=draft, editor=by, now=now, via=via)
        if submit and str(plan.state) == "draft":
            plan = planning.submit(plan_id=plan.pk, by=by, now=now, via=via)
    return HandedIn(plan, created)


def says_the_same(plan: Plan, draft: PlanDraft) -> bool:
    """Tell whether the draft is what the plan's current revision says, tenant for tenant."""
    revision = current_revision(plan)
    policy = latest_policy(draft.policy)
    if policy is None or policy.pk != revision.policy_id:
        return False
    asked = (
        draft.plugin,
        draft.to_version,
        draft.deployer,
        draft.not_before,
        draft.approvals or policy_of(revision).approvals,
        draft.tenants.to_json(),
    )
    there = (
        plan.plugin.key,
        plan.release.version,
        plan.deployer,
        plan.not_before,
        revision.approvals,
        revision.tenant_choice,
    )
    if asked != there:
        return False
    # Labels and `all` may mean other tenants than they did when the plan was drafted.
    chosen, _problems = chosen_tenants(draft.tenants)
    placed = PlanTenant.objects.filter(plan=plan).values_list("tenant__key", flat=True)
    return {tenant.key for tenant in chosen} == set(placed)
