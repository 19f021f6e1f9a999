"""While a rollback runs and at its end: say what is late or missed, close it, end its batches."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Max

from batches.models import Rollback, TenantUpgrade
from batches.rollback import aftermath
from batches.rollback.rollback import NOT_BACK, in_scope, locked_batches, quote_words
from batches.rollout.launch import free_reservations
from batches.rollout.left_behind import account_for_untouched, call_off_retries
from plans.counted_words import counted
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Plan
from plans.refusal import Refused
from plans.trail import events


@transaction.atomic
def note_escalation(*, rollback_id: Any, left: Sequence[str], now: datetime) -> Rollback:
    """Say after 150 s which tenants are not back yet."""
    rollback, plan = Rollback.objects.locked(rollback_id)
    rollback.escalated_at = now
    rollback.save()
    _tell_left(
        rollback,
        plan,
        "rollback_escalated",
        f"{counted(len(left), 'tenant is', 'tenants are')} not back yet, the promise ends at"
        f" {rollback.deadline:%H:%M:%S} UTC: {_named(left)}.",
        left,
        now,
    )
    return rollback


@transaction.atomic
def note_missed(*, rollback_id: Any, left: Sequence[str], now: datetime) -> Rollback:
    """Say honestly that the deadline was missed, and by whom; work goes on."""
    rollback, plan = Rollback.objects.locked(rollback_id)
    rollback.missed_at = now
    rollback.save()
    _tell_left(
        rollback,
        plan,
        "rollback_missed",
        f"The promise was missed: {counted(len(left), 'tenant was', 'tenants were')} not back by"
        f" {rollback.deadline:%H:%M:%S} UTC: {_named(left)}. Work on them goes on.",
        left,
        now,
    )
    return rollback


def _tell_left(
    rollback: Rollback, plan: Plan, kind: str, sentence: str, left: Sequence[str], now: datetime
) -> None:
    events.record(
        stream=plan,
        kind=kind,
        sentence=sentence,
        actor=None,
        via="watch",
        now=now,
        payload={"rollback": str(rollback.pk), "left": list(left)},
    )


def _named(keys: Sequence[str]) -> str:
    return ", ".join(keys[:10]) + ("…" if len(keys) > 10 else "")


def finish(*, rollback_id: Any, now: datetime, clock_moved: timedelta = timedelta(0)) -> Plan:
    """Close a rollback when nothing is left to restore, with what became of every tenant.

    `clock_moved`: how far the wall clock was moved while it ran; the record tells what it took.
    After a part was taken back the plan waits, paused, for a person to choose; tenants of that part
    that need a hand are listed and settled there.
    """
    with transaction.atomic():
        rollback, plan = Rollback.objects.locked(rollback_id)
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
            # Of looks at tenants nobody knows whether they were before the move: this is later.
            rollback.verified_at = now - clock_moved if clock_moved else last or now
            if rollback.verified_at > rollback.deadline and rollback.missed_at is None:
                rollback.missed_at = now
        watched = aftermath.begin(rollback, plan, policy_of(current_revision(plan)), now)
        rollback.save()
        call_off_retries(plan, in_scope(rollback), now=now)
        account_for_untouched(plan, rollback, now)
        _end_batches(plan, now)
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
            sentence=f"{_closing_sentence(rollback, needs_hand)} {watched}",
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
                "aftermath": rollback.aftermath,
                "expected": rollback.expected_seconds,
            },
        )
    return plan


def _closing_sentence(rollback: Rollback, needs_hand: Sequence[str]) -> str:
    seconds = rollback.seconds()
    told = counted(
        rollback.restored, "tenant is back and was read back", "tenants are back and were read back"
    )
    if seconds is not None:
        told += f" {seconds:.1f} s after the trigger ({quote_words(rollback)})"
        if rollback.verified_at is not None and rollback.clock_from != rollback.triggered_at:
            promised = (rollback.verified_at - rollback.clock_from).total_seconds()
            told += f", {promised:.1f} s after the pause"
    if rollback.superseded:
        told += (
            f"; {counted(len(rollback.superseded), 'was', 'were')} left alone, moved on by"
            " a newer plan"
        )
    if needs_hand:
        told += (
            f"; {counted(len(needs_hand), 'needs', 'need')} a hand: {', '.join(needs_hand[:10])}"
        )
    return f"{told}."


def _end_batches(plan: Plan, now: datetime) -> None:
    for batch in locked_batches(plan).filter(state="rolling_back"):
        left = TenantUpgrade.objects.filter(batch=batch, state="needs_hand").exists()
        batch.move("escalate" if left else "finish_rollback")
        batch.ended_at = now
        batch.save()
    end_settled_batches(plan, now)


def end_settled_batches(plan: Plan, now: datetime) -> None:
    """End batches of which no tenant needs a hand any more."""
    for batch in locked_batches(plan).filter(state="needs_hand"):
        counts = TenantUpgrade.objects.filter(batch=batch).counts()
        if not counts.get("needs_hand"):
            batch.move("settle_passed" if counts.get("upgraded") else "settle_rolled_back")
            batch.ended_at = now
            batch.save()
