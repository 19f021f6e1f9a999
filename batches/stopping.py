"""Stop a plan where it stands: nothing more is upgraded, and nothing is taken back.

The way out for a release that cannot be taken back, and for a plan that will find no opening any
more. A plan whose release can be taken back may still be rolled back afterwards.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from batches import alerts, drilling
from batches.launch import free_reservations
from batches.left_behind import call_off_retries, exclude_untouched
from batches.models import Batch, DeployerCall, TenantUpgrade
from plans import events
from plans.drafting import current_revision, policy_of
from plans.models import Plan, User
from plans.permissions import require
from plans.refusal import BadInput, Refused

HALF_DONE = ("upgrading", "failed", "unknown", "restoring")
LIVE = ("deploying", "soaking", "held")


@transaction.atomic
def stop_here(*, plan_id: Any, reason: str, by: User, now: datetime, via: str) -> Plan:
    """End the plan as it is; tenants that are half done are given to a person.

    Raises Refused while calls are under way: what they do is not known yet.
    """
    plan = Plan.objects.locked(plan_id)
    require(by, "stop", plan)
    if not reason.strip():
        raise BadInput(["reason: say why the plan ends here; the report shows it"])
    plan.move("stop_here")
    _refuse_calls_under_way(plan, now)
    plan.epoch += 1
    plan.paused_at = plan.resume_by = plan.pause_deadline = None
    plan.waiting_for = ""
    plan.stopped_at = plan.ended_at = now
    exclude_untouched(
        plan,
        now=now,
        batches=Batch.objects.filter(plan=plan),
        states=("failed", "pending", "upgrading"),
    )
    call_off_retries(plan, TenantUpgrade.objects.filter(plan=plan), now=now)
    drilling.cut_short(plan, now=now, why="the plan is stopped where it stands")
    left = _hand_over_half_done(plan, now)
    _end_batches(plan, now)
    if left:
        plan.move("need_hand_stopped")
    plan.save()
    counts = TenantUpgrade.objects.filter(plan=plan).counts()
    if left:
        sentence = f"{len(left)} tenants need a hand: {', '.join(left[:10])}"
        alerts.fire(plan=plan, kind="needs_hand", sentence=sentence, now=now)
    else:
        free_reservations(plan)
        alerts.resolve_all(plan=plan, now=now)
    upgraded, total = counts.get("upgraded", 0), sum(counts.values())
    events.record(
        stream=plan,
        kind="plan_stopped_here",
        sentence=f"{by.get_full_name()} stopped the plan where it stands: {reason.strip()}."
        f" {upgraded} of {total} tenants run {plan.release.version} and stay on it,"
        f" {len(left)} need a hand, the others were left as they were.",
        actor=by,
        via=via,
        now=now,
        payload={"reason": reason.strip(), "counts": counts, "needs_hand": left},
    )
    return plan


def _refuse_calls_under_way(plan: Plan, now: datetime) -> None:
    timeout = policy_of(current_revision(plan)).limits.call_timeout_seconds
    under_way = DeployerCall.objects.filter(
        plan=plan, ended_at=None, started_at__gt=now - timedelta(seconds=2 * timeout)
    ).count()
    if under_way:
        raise Refused(
            f"{under_way} calls are under way; pause the plan, and stop it here when they have"
            f" ended ({timeout:g} s at most).",
            code="calls_under_way",
            possible=("pause",),
        )


def _hand_over_half_done(plan: Plan, now: datetime) -> list[str]:
    rows = TenantUpgrade.objects.filter(plan=plan).touched()
    half_done = rows.select_for_update(no_key=True).filter(state__in=HALF_DONE)
    keys = dict(half_done.values_list("pk", "tenant_key"))
    if keys:
        TenantUpgrade.objects.filter(pk__in=list(keys)).update(state="needs_hand", exhausted_at=now)
        events.record(
            stream=plan,
            kind="tenants_moved",
            sentence=f"Tenants: {len(keys)} were half done and need a hand.",
            actor=None,
            via="console",
            now=now,
            payload={"tenants": dict.fromkeys(keys.values(), "needs_hand"), "errors": {}},
        )
    return sorted(
        TenantUpgrade.objects.filter(plan=plan, state="needs_hand").values_list(
            "tenant_key", flat=True
        )
    )


def _end_batches(plan: Plan, now: datetime) -> None:
    for batch in Batch.objects.select_for_update(no_key=True).filter(
        plan=plan, state__in=("pending", *LIVE)
    ):
        if str(batch.state) == "pending":
            batch.move("skip")
        else:
            needs_hand = TenantUpgrade.objects.filter(batch=batch, state="needs_hand").exists()
            batch.move("escalate" if needs_hand else "stop")
            batch.soak_counted_at = batch.waits_since = None
            batch.ended_at = now
        batch.save()
