"""I5: nothing that needs people's word happens without it, and each word counts once."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from plans.drafting.drafting import current_revision
from plans.models import (
    Adjustment,
    Approval,
    ApprovalRequest,
    BreakGlass,
    Event,
    Grant,
    Plan,
    PlanRevision,
)
from tests.simulation.judging import all_plans
from tests.simulation.world import World


def i5_every_start_was_agreed_to(world: World) -> Iterator[str]:
    """Nothing starts without the approvals of exactly this content, by people who may give them."""
    for plan in all_plans(world):
        if plan.started_at is None:
            continue
        applied = Adjustment.objects.filter(plan=plan).exclude(applied_at=None)
        first = applied.order_by("revision__number").first()
        revision = current_revision(plan) if first is None else first.before
        request = (
            ApprovalRequest.objects.filter(plan=plan, action="start", outcome="approved")
            .order_by("-opened_at")
            .first()
        )
        for loose in applied.filter(direction="looser", restores=None):
            if loose.request is None or loose.request.outcome not in {"approved", "broken_glass"}:
                yield f"{plan} was loosened without an approval"
        if BreakGlass.objects.filter(plan=plan, act="start").exists():
            continue
        if request is None or request.plan_digest != revision.plan_digest:
            yield f"{plan} was started without an approval of what it is"
            continue
        yield from _agreed_by_the_right_people(plan, request, revision)


def _agreed_by_the_right_people(
    plan: Plan, request: ApprovalRequest, revision: PlanRevision
) -> Iterator[str]:
    given = list(request.approvals.filter(verdict=Approval.APPROVED))
    mine = PlanRevision.objects.filter(plan=plan, number__lte=revision.number)
    writers = set(mine.values_list("author_id", flat=True))
    if {one.role for one in given} != set(request.roles):
        yield f"{plan} was started without all roles"
    if len({one.user_id for one in given}) != len(given):
        yield f"one person approved {plan} twice"
    if writers & {one.user_id for one in given}:
        yield f"an author approved {plan}"
    if request.closed_at > plan.started_at + timedelta(seconds=30):
        yield f"{plan} was started before it was approved"


NEED_A_GRANT = {"plan_started": "start", "batch_promoted": "promote", "plan_adjusted": "loosen"}
"""What tells of an act that took a grant, and the operation that the grant was used up for."""


def i5_what_needs_a_grant_used_one_up(world: World) -> Iterator[str]:
    """Each such act used up grants of its own, and no grant was used up for anything else."""
    used: Counter[str] = Counter()
    rows = {str(grant.jti): grant for grant in Grant.objects.all()}
    for event in Event.objects.filter(kind__in=NEED_A_GRANT).select_related("stream"):
        told = event.payload["grants"]
        used.update(one["jti"] for one in told)
        act = NEED_A_GRANT[event.kind]
        if not told and (act != "loosen" or event.payload["request"]):
            yield f"{event} took no grant"
        for one in told:
            grant = rows[one["jti"]]
            if not grant.op.startswith(f"{event.stream.key}:{act}:"):
                yield f"{event} names a grant that was used for {grant.op or 'nothing'}"
    for jti, times in used.items():
        if times > 1:
            yield f"the grant {jti} was used {times} times"
    told_of = set(used) | _of_other_acts()
    for jti, grant in rows.items():
        if grant.consumed_at is not None and jti not in told_of:
            yield f"{grant} was used up and nothing tells of it"


def _of_other_acts() -> set[str]:
    events = Event.objects.filter(kind__in=("freeze_overridden", "tenants_retried"))
    return {one["jti"] for event in events for one in event.payload["grants"]}
