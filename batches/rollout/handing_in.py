"""Take a plan as a pipeline hands it in: new, changed, adjusted while it runs, or the same."""

from dataclasses import dataclass, replace
from datetime import datetime

from django.db import transaction

from batches.adjust.apply import Adjusted, adjust
from batches.adjust.proposal import ADJUSTABLE
from batches.adjust.wanted import ChangeSet
from batches.configured import deployers
from batches.rollout import planning
from plans.drafting.drafting import (
    PlanDraft,
    chosen_tenants,
    current_revision,
    latest_policy,
    policy_of,
)
from plans.models import Plan, PlanTenant, User
from plans.people.permissions import may, require
from plans.refusal import BadInput, Refused

# In these states the same content again asks for a new try, not for what is there.
OVER_WITHOUT_A_START = frozenset({"rejected", "expired", "cancelled"})


@dataclass(frozen=True, slots=True)
class HandedIn:
    """The plan as it is now; `created` tells a new one from one that was there."""

    plan: Plan
    created: bool
    adjusted: Adjusted | None = None


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
    if submit and not _is_under_way(draft.external_id):
        planning.probe_before(draft=draft, now=now, via=via)
    with transaction.atomic():
        plan = Plan.objects.filter(external_id=draft.external_id).first()
        if plan is not None and not may(by, "view", plan):
            raise Refused(
                f"There is already a plan {draft.external_id!r}; choose another id.",
                code="external_id_taken",
            )
        created = plan is None
        if plan is not None and str(plan.state) in ADJUSTABLE:
            return _handed_to_a_running_plan(plan, draft, by=by, now=now, via=via)
        if plan is None:
            draft = replace(draft, owner_name=by.get_full_name(), owner_email=by.email)
            plan = planning.draft_plan(draft=draft, author=by, now=now, via=via)
        elif str(plan.state) in OVER_WITHOUT_A_START or not says_the_same(plan, draft, by):
            draft = replace(
                draft, owner_name=plan.owner_name, owner_email=plan.owner_email, note=plan.note
            )
            plan = planning.revise_plan(plan_id=plan.pk, draft=draft, editor=by, now=now, via=via)
        if submit and str(plan.state) == "draft":
            plan = planning.submit(plan_id=plan.pk, by=by, now=now, via=via)
    return HandedIn(plan, created)


def _is_under_way(external_id: str) -> bool:
    return Plan.objects.filter(external_id=external_id, state__in=ADJUSTABLE).exists()


def _handed_to_a_running_plan(
    plan: Plan, draft: PlanDraft, *, by: User, now: datetime, via: str
) -> HandedIn:
    """Adjust a running plan to the newest text of the policy that the draft names."""
    if frozen := different(plan, draft):
        raise Refused(
            f"The plan runs with another {' and another '.join(frozen)}; only its policy can be"
            " changed now. Roll it back or let it end, and plan again.",
            code="plan_runs",
            possible=plan.lifecycle.possible(str(plan.state)),
        )
    policy = latest_policy(draft.policy)
    if policy is not None and policy.digest == current_revision(plan).policy_digest:
        return HandedIn(plan, created=False)
    adjusted = adjust(
        plan_id=plan.pk,
        wanted=ChangeSet(policy=draft.policy),
        by=by,
        reason=f"the newest text of the policy {draft.policy} was handed in",
        now=now,
        via=via,
    )
    return HandedIn(adjusted.plan, created=False, adjusted=adjusted)


def different(plan: Plan, draft: PlanDraft) -> list[str]:
    """Return the names of what the draft says otherwise than the plan, but for its policy."""
    revision = current_revision(plan)
    pairs = {
        "plugin": (draft.plugin, plan.plugin.key),
        "to_version": (draft.to_version, plan.release.version),
        "deployer": (draft.deployer, plan.deployer),
        "not_before": (draft.not_before, plan.not_before),
        "approvals": (draft.approvals or policy_of(revision).approvals, revision.approvals),
        "tenants": (draft.tenants.to_json(), revision.tenant_choice),
    }
    return [name for name, (asked, there) in pairs.items() if asked != there]


def says_the_same(plan: Plan, draft: PlanDraft, by: User) -> bool:
    """Tell whether the draft is what the plan's current revision says, tenant for tenant."""
    policy = latest_policy(draft.policy)
    if policy is None or policy.digest != current_revision(plan).policy_digest:
        return False
    if different(plan, draft):
        return False
    # Labels and `all` may mean other tenants than they did when the plan was drafted.
    chosen, _problems = chosen_tenants(draft.tenants, by=by)
    placed = PlanTenant.objects.filter(plan=plan).values_list("tenant__key", flat=True)
    return {tenant.key for tenant in chosen} == set(placed)
