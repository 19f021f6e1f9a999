"""The drill within a plan: take one tenant of the first batch back and forward again.

The calls go through the effect loop like any other; here are the rows, the Events and the facts.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from batches.decisions.decision_facts import DrillFacts
from batches.decisions.plan_rows import drilled_by
from batches.drills.steps import Drilled, first_of, next_step, verdict
from batches.models import Batch, RollbackDrill, TenantUpgrade
from batches.rollout.readiness import quote_for
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Plan
from plans.openings.freezes import opening_for, places_of
from plans.policies.policy import UpgradePolicy
from plans.refusal import BadInput, Refused
from plans.trail import events

FAILED = "drill_failed"


def drill_facts(
    plan: Plan, policy: UpgradePolicy, drill: RollbackDrill | None, now: datetime
) -> DrillFacts | None:
    """Return how it stands with the plan's drill; None when nothing of it is to be done."""
    if drill is None:
        candidate = _candidate(plan) if policy.rollback.drill else None
        if candidate is None:
            return None
        return DrillFacts("begin", closed=closed_for(plan, policy, [candidate], now))
    if drill.ended_at is not None:
        return (
            DrillFacts("failed", drill.sentence.rstrip(".")) if drill.outcome == "failed" else None
        )
    step, sentence = next_step(drill.phase, _drilled(drill))
    # A drill that has failed is ended first; that it failed holds the plan at the next look.
    forward = step == "run" and drill.phase == "forward"
    closed = closed_for(plan, policy, drill.tenants, now) if forward else ""
    return DrillFacts("lost" if step == "failed" else step, sentence, str(drill.pk), closed)


def closed_for(plan: Plan, policy: UpgradePolicy, tenants: Sequence[str], now: datetime) -> str:
    """Return why these tenants may not be called forward now; empty when they may.

    A drill is not begun then either: its tenant would wait on the version before.
    """
    places = places_of(plan).filter(tenant__key__in=tenants)
    found = opening_for(plan, policy, places, now, begun=True)
    return "" if found.is_open else found.sentence.rstrip(".")


def plan_drill(plan: Plan) -> RollbackDrill | None:
    """Return the drill within the plan, begun or ended."""
    return RollbackDrill.objects.filter(plan=plan, kind=RollbackDrill.PLAN).first()


def drilled_upgrades(plan: Plan) -> set[int]:
    """Return the tenant upgrades that a drill has moved: what became of them is no failure."""
    drilled = drilled_by(plan_drill(plan))
    if drilled is None:
        return set()
    moved = TenantUpgrade.objects.filter(drilled).exclude(state="upgraded")
    return set(moved.values_list("pk", flat=True))


def under_drill() -> set[int]:
    """Return the tenant upgrades, over all plans, that a drill moves right now."""
    open_ones = RollbackDrill.objects.filter(kind=RollbackDrill.PLAN, ended_at=None)
    return {pk for drill in open_ones.select_related("plan") for pk in drilled_upgrades(drill.plan)}


def _candidate(plan: Plan) -> str | None:
    batch = Batch.objects.filter(plan=plan).order_by("number").first()
    if batch is None or str(batch.state) != "soaking":
        return None
    upgraded = TenantUpgrade.objects.filter(batch=batch, state="upgraded")
    return first_of(list(upgraded.values_list("position", "tenant_key")[:1000]))


def _drilled(drill: RollbackDrill) -> Drilled:
    row = TenantUpgrade.objects.filter(plan=drill.plan_id, tenant_key__in=drill.tenants).get()
    return Drilled(row.tenant_key, row.state, row.exhausted_at is not None, row.last_error)


@transaction.atomic
def begin_plan_drill(*, batch_id: int, now: datetime) -> RollbackDrill:
    """Begin the drill at the beginning of the first batch's soak."""
    batch, plan = Batch.objects.locked(batch_id)
    tenant = _candidate(plan)
    if str(plan.state) != "running" or tenant is None or plan_drill(plan) is not None:
        raise Refused("No drill is to begin here.", code="no_drill")
    policy = policy_of(current_revision(plan))
    try:
        quote = quote_for(deployer=plan.deployer, policy=policy, touched=1, plan=plan).seconds
    except BadInput:
        # A broken deployers file: the calls will say what is wrong with it.
        quote = None
    drill = RollbackDrill.objects.create(
        kind=RollbackDrill.PLAN,
        plan=plan,
        deployer=plan.deployer,
        tenants=[tenant],
        phase="back",
        epoch=plan.epoch,
        started_at=now,
        clock_from=now,
        quote_seconds=quote,
        limit_seconds=policy.limits.rollback_seconds,
    )
    quoted = f", quoted {quote:.0f} s" if quote is not None else ""
    _tell(
        drill,
        "drill_begun",
        f"Drill: {tenant} of batch {batch.number} ({batch.name}) is taken back and forward again"
        f" before the plan widens{quoted}.",
        now,
    )
    return drill


@transaction.atomic
def advance(*, drill_id: Any, step: str, why: str, now: datetime) -> RollbackDrill:
    """Take a drill's next step; Refused when somebody has taken it already."""
    plan = Plan.objects.locked(
        RollbackDrill.objects.values_list("plan_id", flat=True).get(pk=drill_id)
    )
    drill = RollbackDrill.objects.select_for_update(no_key=True).get(pk=drill_id)
    expected = {"restored": "back", "undo": "forward", "passed": "forward"}
    if drill.ended_at is not None or expected.get(step, drill.phase) != drill.phase:
        raise Refused("This drill is further on already.", code="drill_moved_on")
    if step == "restored":
        _restored(drill, now)
    elif step == "undo":
        drill.phase = "undo"
        _tell(drill, "drill_undone", f"Drill: {why}; it is taken back again.", now)
    elif step == "passed":
        _passed(drill, plan, now)
    else:
        _end(drill, "failed", f"Drill failed: {why}.", now)
    drill.save()
    return drill


def restart_clock(*, drill_id: Any, epoch: int, now: datetime) -> RollbackDrill:
    """Let the seconds begin anew when the plan was paused or held since the drill began."""
    with transaction.atomic():
        drill = RollbackDrill.objects.select_for_update(no_key=True).get(pk=drill_id)
        if drill.epoch != epoch:
            drill.epoch = epoch
            if drill.phase == "back":
                drill.clock_from = now
            drill.save()
    return drill


def cut_short(
    plan: Plan,
    *,
    now: datetime,
    tenants: Sequence[str] = (),
    why: str = "the plan is rolled back",
) -> None:
    """End a drill over which something goes that takes care of its tenant.

    `tenants`: only they are taken care of. A drill of another one goes on when the plan does:
    nobody else would take its tenant forward, or back, again.
    """
    open_ones = RollbackDrill.objects.select_for_update(no_key=True).filter(
        plan=plan, kind=RollbackDrill.PLAN, ended_at=None
    )
    for drill in open_ones:
        if tenants and not {*drill.tenants} & {*tenants}:
            continue
        _end(drill, "cut_short", f"Drill cut short: {why}.", now)
        drill.save()


def _restored(drill: RollbackDrill, now: datetime) -> None:
    row = TenantUpgrade.objects.get(plan=drill.plan_id, tenant_key__in=drill.tenants)
    drill.restored_at = row.restored_at or now
    drill.seconds = max(0.0, (drill.restored_at - drill.clock_from).total_seconds())
    drill.phase = "forward"
    _tell(
        drill,
        "drill_restored",
        f"Drill: {row.tenant_key} is back and was read back {drill.seconds:.1f} s after the"
        " trigger; it goes forward again.",
        now,
    )


def _passed(drill: RollbackDrill, plan: Plan, now: datetime) -> None:
    drill.forward_at = now
    tenant = ", ".join(map(str, drill.tenants))
    seconds = drill.seconds or 0.0
    late = verdict(seconds=seconds, quote=drill.quote_seconds, limit=drill.limit_seconds)
    if late:
        _end(drill, "failed", f"Drill failed: {late} ({tenant}).", now)
        return
    quoted = f", quoted {drill.quote_seconds:.0f} s" if drill.quote_seconds is not None else ""
    _end(
        drill,
        "passed",
        f"Drill passed: {tenant} was back in {seconds:.1f} s{quoted}, and runs"
        f" {plan.release.version} again.",
        now,
    )


def _end(drill: RollbackDrill, outcome: str, sentence: str, now: datetime) -> None:
    drill.phase, drill.outcome, drill.ended_at = "ended", outcome, now
    drill.sentence = sentence
    _tell(drill, f"drill_{outcome}", sentence, now)


def _tell(drill: RollbackDrill, kind: str, sentence: str, now: datetime) -> None:
    events.record(
        stream=drill.plan,
        kind=kind,
        sentence=sentence,
        actor=None,
        via="watch",
        now=now,
        payload={
            "drill": str(drill.pk),
            "drilled": list(drill.tenants),
            "seconds": drill.seconds,
            "quote": drill.quote_seconds,
        },
    )
