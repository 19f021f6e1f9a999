"""Roll back: begin it, finish it, hand over what could not be taken back, settle it."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Max

from batches.effect_ports import settle_time
from batches.launch import free_reservations
from batches.models import Batch, DeployerCall, Rollback, Ruling, TenantUpgrade
from batches.models.batch import TenantUpgradeQuerySet
from batches.quote import Quote, rollback_quote
from batches.readiness import way_back
from plans import events
from plans.drafting import current_revision, policy_of
from plans.models import Plan, User
from plans.permissions import require
from plans.policy import PAUSE_SECONDS, UpgradePolicy
from plans.refusal import BadInput, Refused

NOT_BACK = ("upgrading", "upgraded", "failed", "unknown", "restoring")
ROLLED_BACK_FROM = ("deploying", "soaking", "held", "passed", "needs_hand")


def in_scope(rollback: Rollback) -> TenantUpgradeQuerySet:
    """Return the tenant upgrades that a rollback is about."""
    upgrades = TenantUpgrade.objects.filter(plan_id=rollback.plan_id)
    if rollback.scope == "batch":
        return upgrades.filter(batch=rollback.batch) if rollback.batch else upgrades.none()
    if rollback.scope == "tenants":
        return upgrades.filter(tenant_key__in=rollback.tenants)
    return upgrades


def open_rollback(plan: Plan) -> Rollback | None:
    """Return the plan's unfinished rollback."""
    return Rollback.objects.filter(plan=plan, finished_at=None).first()


def request_rollback(
    *,
    plan_id: Any,
    by: User | None,
    reason: str,
    now: datetime,
    via: str,
    trigger: str = "person",
    scope: str | None = None,
    tenants: Sequence[str] = (),
    ruling: Ruling | None = None,
) -> Rollback:
    """Take touched tenants back; while one rollback runs, asking again returns that one.

    Asking for the whole plan while only a part of it goes back widens: the part's record is closed
    and a new one takes over what it left. Needs no approval and ignores windows, holds and
    switches. Raises Refused when nothing of the plan was ever started, BadInput for tenants that
    are not in the plan.
    """
    with transaction.atomic():
        plan = Plan.objects.locked(plan_id)
        if by is not None:
            require(by, "rollback", plan)
        running = open_rollback(plan)
        chosen = "tenants" if tenants else scope or "plan"
        widens = running is not None and chosen == "plan" and running.scope != "plan"
        if running is not None and not widens:
            return running
        policy = policy_of(current_revision(plan))
        if chosen not in {"plan", "batch", "tenants"}:
            raise BadInput([f"scope: {chosen!r} is unknown; write plan or batch"])
        _check_tenants(plan, tenants)
        was_paused_at = plan.paused_at if str(plan.state) == "paused" else None
        if running is not None:
            _close_part(running, now)
        else:
            plan.move("begin_rollback")
        plan.epoch += 1
        clock_from, deadline = now, now + timedelta(seconds=policy.limits.rollback_seconds)
        if trigger == "pause" and was_paused_at is not None:
            clock_from = was_paused_at
            deadline = min(deadline, was_paused_at + timedelta(seconds=PAUSE_SECONDS))
        rollback = Rollback(
            plan=plan,
            scope=chosen,
            tenants=list(tenants),
            trigger=trigger,
            ruling=ruling,
            reason=reason,
            by=by,
            via=via,
            triggered_at=now,
            clock_from=clock_from,
            deadline=deadline,
        )
        plan.paused_at = plan.resume_by = plan.pause_deadline = plan.ended_at = None
        plan.waiting_for = ""
        plan.save()
        _move_batches(plan, rollback)
        rollback.touched = in_scope(rollback).to_restore().count()
        _note_quote(rollback, _quoted(plan, policy, rollback, now))
        who = by.get_full_name() if by else "The console"
        rollback.sentence = (
            f"{who} rolls back {_words(rollback)}: {reason or 'no reason given'}."
            f" {rollback.touched} tenants go back by {rollback.deadline:%H:%M:%S} UTC"
            f" ({_quote_words(rollback)})."
        )
        rollback.save()
        events.record(
            stream=plan,
            kind="rollback_begun",
            sentence=rollback.sentence,
            actor=by,
            via=via,
            now=now,
            payload={
                "rollback": str(rollback.pk),
                "trigger": trigger,
                "scope": chosen,
                "touched": rollback.touched,
                "deadline": rollback.deadline.isoformat(),
                "quote": rollback.quote_seconds,
                "expected": rollback.expected_seconds,
            },
        )
    return rollback


def _close_part(part: Rollback, now: datetime) -> None:
    """End the record of a part: the rollback of the whole plan takes over what is left."""
    part.finished_at = now
    part.restored = (
        in_scope(part).filter(state="rolled_back", restored_at__gte=part.triggered_at).count()
    )
    part.sentence += " It was widened to the whole plan before it ended."
    part.save()


def _quoted(plan: Plan, policy: UpgradePolicy, rollback: Rollback, now: datetime) -> Quote | None:
    """Return the quote; None when the deployers file is broken: nobody waits for it."""
    try:
        way = way_back(deployer=plan.deployer, policy=policy, plan=plan)
    except BadInput:
        return None
    late = _late_seconds(rollback, policy.limits.call_timeout_seconds, now)
    return rollback_quote(way, touched=rollback.touched, late_seconds=late)


def _late_seconds(rollback: Rollback, call_timeout: float, now: datetime) -> float:
    """Return how long forward calls that are open or lost now may still be applied."""
    calls = DeployerCall.objects.filter(
        plan_id=rollback.plan_id,
        direction=DeployerCall.INSTALL,
        outcome__in=("", "unknown"),
        started_at__gt=now - timedelta(seconds=2 * call_timeout),
    )
    last = calls.aggregate(last=Max("started_at"))["last"]
    until = settle_time(last, call_timeout=call_timeout, outcome="") if last else None
    return max(0.0, (until - now).total_seconds()) if until is not None else 0.0


def _note_quote(rollback: Rollback, quote: Quote | None) -> None:
    if quote is None:
        return
    rollback.quote_seconds = quote.seconds
    rollback.expected_seconds = quote.expected_seconds
    rollback.quote_terms = quote.to_json()["terms"]


def _quote_words(rollback: Rollback) -> str:
    if rollback.quote_seconds is None:
        return "no quote: the deployers file cannot be read"
    words = f"quoted {rollback.quote_seconds:.0f} s"
    if rollback.expected_seconds is not None:
        words += f" at worst, expected {rollback.expected_seconds:.0f} s"
    return words


def _words(rollback: Rollback) -> str:
    if rollback.scope == "plan":
        return "the plan"
    if rollback.scope == "batch":
        return "the newest batch"
    return f"{len(rollback.tenants)} tenants"


def _check_tenants(plan: Plan, tenants: Sequence[str]) -> None:
    if not tenants:
        return
    known = set(
        TenantUpgrade.objects.filter(plan=plan, tenant_key__in=tenants).values_list(
            "tenant_key", flat=True
        )
    )
    unknown = [key for key in tenants if key not in known]
    if unknown:
        raise BadInput([f"tenants: {key!r} is not in this plan" for key in unknown])


def _move_batches(plan: Plan, rollback: Rollback) -> None:
    batches = Batch.objects.select_for_update().filter(plan=plan, state__in=ROLLED_BACK_FROM)
    if rollback.scope == "tenants":
        # Batches keep their states: only some of their tenants go back.
        return
    if rollback.scope == "batch":
        batches = batches.order_by("-number")[:1]
    for batch in batches:
        if rollback.scope == "batch":
            rollback.batch = batch
        batch.move("begin_rollback")
        batch.soak_counted_at = None
        batch.save()


@transaction.atomic
def note_escalation(*, rollback_id: Any, left: Sequence[str], now: datetime) -> Rollback:
    """Say after 150 s which tenants are not back yet."""
    rollback = Rollback.objects.select_for_update().get(pk=rollback_id)
    rollback.escalated_at = now
    rollback.save()
    shown = ", ".join(left[:10]) + ("…" if len(left) > 10 else "")
    events.record(
        stream=rollback.plan,
        kind="rollback_escalated",
        sentence=f"{len(left)} tenants are not back yet, the promise ends at"
        f" {rollback.deadline:%H:%M:%S} UTC: {shown}.",
        actor=None,
        via="watch",
        now=now,
        payload={"rollback": str(rollback.pk), "left": list(left)},
    )
    return rollback


@transaction.atomic
def note_missed(*, rollback_id: Any, left: int, now: datetime) -> Rollback:
    """Say honestly that the deadline was missed; work goes on."""
    rollback = Rollback.objects.select_for_update().get(pk=rollback_id)
    rollback.missed_at = now
    rollback.save()
    events.record(
        stream=rollback.plan,
        kind="rollback_missed",
        sentence=f"The promise was missed: {left} tenants were not back by"
        f" {rollback.deadline:%H:%M:%S} UTC. Work on them goes on.",
        actor=None,
        via="watch",
        now=now,
        payload={"rollback": str(rollback.pk), "left": left},
    )
    return rollback


def finish(*, rollback_id: Any, now: datetime) -> Plan:
    """Close a rollback when nothing is left to restore, with what became of every tenant.

    After a part was taken back the plan waits, paused, for a person to choose; tenants of that part
    that need a hand are listed and settled there.
    """
    with transaction.atomic():
        rollback = Rollback.objects.select_for_update().get(pk=rollback_id)
        plan = Plan.objects.locked(rollback.plan_id)
        upgrades = in_scope(rollback)
        if rollback.finished_at is not None:
            raise Refused("This rollback has ended already.", code="rollback_ended")
        if upgrades.touched().filter(state__in=NOT_BACK).exists():
            raise Refused("Not every tenant is back yet.", code="not_back_yet")
        needs_hand = sorted(
            upgrades.filter(state="needs_hand").values_list("tenant_key", flat=True)
        )
        rollback.finished_at = now
        back = upgrades.filter(state="rolled_back", restored_at__gte=rollback.triggered_at)
        rollback.restored = back.count()
        rollback.needs_hand = len(needs_hand)
        if not needs_hand:
            last = back.aggregate(last=Max("observed_at"))["last"]
            rollback.verified_at = last or now
            if rollback.verified_at > rollback.deadline and rollback.missed_at is None:
                rollback.missed_at = now
        rollback.save()
        _account_for_untouched(plan, rollback, now)
        _end_batches(plan)
        if rollback.scope != "plan":
            plan.move("finish_part")
        else:
            plan.move("escalate" if needs_hand else "finish_rollback")
            plan.ended_at = now
            if not needs_hand:
                free_reservations(plan)
        plan.save()
        events.record(
            stream=plan,
            kind="rollback_finished",
            sentence=_closing_sentence(rollback, needs_hand),
            actor=None,
            via="watch",
            now=now,
            payload={
                "rollback": str(rollback.pk),
                "restored": rollback.restored,
                "needs_hand": needs_hand,
                "superseded": rollback.superseded,
                "seconds": rollback.seconds(),
                "quote": rollback.quote_seconds,
                "expected": rollback.expected_seconds,
            },
        )
    return plan


def _closing_sentence(rollback: Rollback, needs_hand: Sequence[str]) -> str:
    seconds = rollback.seconds()
    told = f"{rollback.restored} tenants are back and were read back"
    if seconds is not None:
        told += f" {seconds:.1f} s after the trigger ({_quote_words(rollback)})"
        if rollback.verified_at is not None and rollback.clock_from != rollback.triggered_at:
            promised = (rollback.verified_at - rollback.clock_from).total_seconds()
            told += f", {promised:.1f} s after the pause"
    if rollback.superseded:
        told += f"; {len(rollback.superseded)} were left alone: a newer plan has moved them on"
    if needs_hand:
        told += f"; {len(needs_hand)} need a hand: {', '.join(needs_hand[:10])}"
    return f"{told}."


def _account_for_untouched(plan: Plan, rollback: Rollback, now: datetime) -> None:
    """Leave out whom the rolled-back part never reached; nothing of it will be called any more."""
    if rollback.scope == "tenants":
        return
    batches = Batch.objects.filter(plan=plan, state="rolling_back")
    if rollback.scope == "plan":
        for batch in Batch.objects.select_for_update().filter(plan=plan, state="pending"):
            batch.move("skip")
            batch.save()
        batches = Batch.objects.filter(plan=plan)
    exclude_untouched(plan, now=now, batches=batches, states=("failed", "pending", "upgrading"))


def exclude_untouched(
    plan: Plan,
    *,
    now: datetime,
    batches: Iterable[Batch],
    states: Sequence[str] = ("failed",),
) -> int:
    """Account for tenants that no call ever reached: they stay on their version, as excluded."""
    upgrades = TenantUpgrade.objects.filter(plan=plan, touched_at=None, batch__in=batches)
    chosen = dict(upgrades.filter(state__in=states).values_list("pk", "tenant_key"))
    if not chosen:
        return 0
    TenantUpgrade.objects.filter(pk__in=list(chosen)).update(state="excluded")
    events.record(
        stream=plan,
        kind="tenants_moved",
        sentence=f"Tenants: {len(chosen)} excluded, never touched.",
        actor=None,
        via="watch",
        now=now,
        payload={"tenants": dict.fromkeys(chosen.values(), "excluded"), "errors": {}},
    )
    return len(chosen)


def _end_batches(plan: Plan) -> None:
    for batch in Batch.objects.select_for_update().filter(plan=plan, state="rolling_back"):
        left = TenantUpgrade.objects.filter(batch=batch, state="needs_hand").exists()
        batch.move("escalate" if left else "finish_rollback")
        batch.save()
