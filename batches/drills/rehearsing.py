"""Rehearse a rollback in the live installation: a plan of its own that is meant to be taken back.

It is drafted, approved, called and rolled back by the same machinery as any upgrade. What is put in
its way happens to plans that have a rehearsal's row, and to no other.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from batches.alerting import alerts
from batches.configured import dictionary
from batches.drills.drilling import FAILED as DRILL_FAILED
from batches.drills.faults import HUNG_HOOK, KILLED_WORKER
from batches.drills.rehearsal_policy import (
    CONSOLE_TRIGGERS,
    GIVE_UP_MINUTES,
    INJECTS,
    NEEDS_KPI,
    Rehearsed,
    outcome_of,
    policy_name,
    policy_of_rehearsal,
    usable_kpi,
)
from batches.models import Batch, DeployerCall, DrillSchedule, Rollback, RollbackDrill
from batches.rollout import planning
from batches.rollout.readiness import quote_for
from plans.counted_words import counted
from plans.drafting.drafting import PlanDraft, TenantChoice, current_revision, policy_of
from plans.models import Plan, PlanTenant, User
from plans.people.permissions import require
from plans.policies.keeping import save_policy_text
from plans.policies.newest import REHEARSALS, written_by_people
from plans.policies.policy import ApprovalRule
from plans.policies.policy_yaml import parse_policy_file
from plans.refusal import BadInput
from plans.trail import events


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be rehearsed, where and with which fault."""

    deployer: str
    plugin: str
    to_version: str
    tenants: TenantChoice
    inject: str = "none"


def approval_rule() -> ApprovalRule:
    """Return who must agree to a rehearsal: the entry `drill` of the policies, else `default`."""
    found: dict[str, ApprovalRule] = {}
    for row in written_by_people():
        for name, rule in parse_policy_file(row.text).approvals.items():
            found.setdefault(name, rule)
    for name in ("drill", "default"):
        if name in found:
            return found[name]
    raise BadInput(["approvals: no policy names who must agree; write an entry drill or default"])


def check(wanted: Wanted) -> str:
    """Return the policy text of the rehearsal; BadInput when it cannot be rehearsed."""
    if wanted.inject not in INJECTS:
        raise BadInput([f"inject: {wanted.inject!r} is unknown; write {', '.join(INJECTS)}"])
    kpi = None
    if wanted.inject in NEEDS_KPI:
        known = dictionary()
        mapped = [kpi for kpi in known.kpis.values() if known.mappings_for(kpi.name)]
        kpi = usable_kpi(mapped)
        if kpi is None:
            raise BadInput(
                [f"inject: {wanted.inject} needs a ratio or a gauge in the Kpi dictionary"]
            )
    rule = approval_rule()
    return policy_of_rehearsal(
        wanted.inject,
        kpi=kpi,
        roles=rule.required_roles,
        max_pending_minutes=rule.max_pending_minutes,
    )


def begin_rehearsal(
    *,
    wanted: Wanted,
    by: User,
    now: datetime,
    via: str,
    schedule: DrillSchedule | None = None,
) -> RollbackDrill:
    """Draft and hand in the plan of a rehearsal; it begins when its approvers have agreed.

    All or nothing. Raises NotAllowed for people who may not draft plans, BadInput with everything
    that is wrong.
    """
    require(by, "draft")
    text = check(wanted)
    with transaction.atomic():
        save_policy_text(text=text, source=REHEARSALS, by=None, now=now, via=via)
        plan = planning.draft_plan(
            draft=PlanDraft(
                plugin=wanted.plugin,
                to_version=wanted.to_version,
                policy=policy_name(wanted.inject),
                deployer=wanted.deployer,
                tenants=wanted.tenants,
                external_id=f"drill-{now:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}",
                owner_name=by.get_full_name(),
                owner_email=by.email,
                note=f"Rehearsal of a rollback ({wanted.inject.replace('_', ' ')})"
                + (f", schedule {schedule.name}" if schedule is not None else ""),
            ),
            author=by,
            now=now,
            via=via,
        )
        policy = policy_of(current_revision(plan))
        keys = list(
            PlanTenant.objects.filter(plan=plan, excluded=False)
            .order_by("tenant__key")
            .values_list("tenant__key", flat=True)
        )
        drill = RollbackDrill.objects.create(
            kind=RollbackDrill.REHEARSAL,
            plan=plan,
            deployer=wanted.deployer,
            tenants=keys,
            inject=wanted.inject,
            phase="plan",
            started_at=now,
            clock_from=now,
            quote_seconds=quote_for(
                deployer=wanted.deployer, policy=policy, touched=len(keys)
            ).seconds,
            limit_seconds=policy.limits.rollback_seconds,
            schedule=schedule,
            by=by,
        )
        planning.submit(plan_id=plan.pk, by=by, now=now, via=via)
        events.record(
            stream=plan,
            kind="drill_handed_in",
            sentence=f"This plan is a rehearsal of a rollback over {counted(len(keys), 'tenant')}"
            f" ({wanted.inject.replace('_', ' ')}): it goes back by itself."
            + (f" Schedule {schedule.name}." if schedule is not None else ""),
            actor=by,
            via=via,
            now=now,
            payload={"drill": str(drill.pk), "inject": wanted.inject},
        )
    return drill


# What the machinery asks while the rehearsal's plan runs.


def open_rehearsal(plan: Plan) -> RollbackDrill | None:
    """Return the rehearsal that this plan is; None for every other plan."""
    return RollbackDrill.objects.filter(
        plan=plan, kind=RollbackDrill.REHEARSAL, ended_at=None
    ).first()


def goes_back_why(plan: Plan, rehearsal: RollbackDrill | None, now: datetime) -> str:
    """Return why the plan's open rehearsal is to ask for its rollback now, empty when it is not."""
    if rehearsal is None:
        return ""
    if rehearsal.inject in CONSOLE_TRIGGERS:
        return "the rehearsal takes everything back"
    late = plan.started_at is not None and now - plan.started_at > timedelta(
        minutes=GIVE_UP_MINUTES
    )
    return f"nothing was found out within {GIVE_UP_MINUTES:g} min" if late else ""


def is_blind(plan: Plan) -> bool:
    """Tell whether this plan's looks are to bring nothing."""
    rehearsal = open_rehearsal(plan)
    return rehearsal is not None and rehearsal.inject == "missing_metric"


def fault_of(plan: Plan, *, direction: str, executor: str, now: datetime) -> str:
    """Return the fault of a run of this plan, empty for none.

    A worker dies once, in the hands, and only while nobody else's tenants may hang on it.
    """
    rehearsal = open_rehearsal(plan)
    if rehearsal is None:
        return ""
    if rehearsal.inject == HUNG_HOOK and direction == "restore":
        return HUNG_HOOK
    if rehearsal.inject != KILLED_WORKER or direction != "install" or executor != "hands":
        return ""
    if Batch.objects.filter(state="deploying").exclude(plan=plan).exists():
        return ""
    mine = RollbackDrill.objects.filter(pk=rehearsal.pk, injected_at=None)
    return KILLED_WORKER if mine.update(injected_at=now) else ""


# The end.


def end_rehearsals(now: datetime) -> None:
    """End every rehearsal whose plan has come to its end, with how it went."""
    open_ones = RollbackDrill.objects.filter(kind=RollbackDrill.REHEARSAL, ended_at=None)
    for drill_id, plan_id in open_ones.values_list("pk", "plan_id"):
        end_rehearsal(drill_id=drill_id, plan_id=plan_id, now=now)


@transaction.atomic
def end_rehearsal(*, drill_id: Any, plan_id: Any, now: datetime) -> RollbackDrill:
    """End one rehearsal when its plan has ended; ending it twice keeps the first."""
    plan = Plan.objects.locked(plan_id)
    drill = RollbackDrill.objects.select_for_update(no_key=True).get(pk=drill_id)
    if drill.ended_at is not None:
        return drill
    rollback = Rollback.objects.filter(plan=plan).order_by("triggered_at").first()
    finished = rollback is not None and rollback.finished_at is not None
    outcome, sentence = outcome_of(
        Rehearsed(
            inject=drill.inject,
            state=str(plan.state),
            injected=_happened(drill),
            trigger=rollback.trigger if rollback is not None else "",
            seconds=rollback.seconds() if rollback is not None else None,
            limit=drill.limit_seconds,
            restored=rollback.restored if rollback is not None else 0,
            needs_hand=rollback.needs_hand if rollback is not None else 0,
            missed=rollback is not None and rollback.missed_at is not None,
            rolled_back=finished,
        )
    )
    if not outcome:
        return drill
    drill.phase, drill.outcome, drill.sentence, drill.ended_at = "ended", outcome, sentence, now
    if rollback is not None:
        drill.seconds = rollback.seconds()
        drill.restored_at = rollback.verified_at
        drill.quote_seconds = rollback.quote_seconds or drill.quote_seconds
    drill.save()
    events.record(
        stream=plan,
        kind=f"drill_{outcome}",
        sentence=sentence,
        actor=None,
        via="watch",
        now=now,
        payload={
            "drill": str(drill.pk),
            "inject": drill.inject,
            "seconds": drill.seconds,
            "quote": drill.quote_seconds,
        },
    )
    if outcome == "failed":
        alerts.fire(plan=plan, kind=DRILL_FAILED, sentence=sentence.rstrip("."), now=now)
    return drill


def _happened(drill: RollbackDrill) -> bool:
    """Tell whether the fault of the rehearsal really happened."""
    if drill.inject == KILLED_WORKER:
        return drill.injected_at is not None
    if drill.inject == HUNG_HOOK:
        return DeployerCall.objects.filter(
            plan=drill.plan_id, direction="restore", outcome="unknown"
        ).exists()
    return True
