"""Ask for a rollback: what it is about, its deadline and its quote, and who goes back.

`batches/rollback/ending.py` ends it.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, F, Max

from batches.adjust.apply import drop_waiting
from batches.drills import drilling
from batches.effects.ports import settle_time
from batches.lifecycle import LIVE_BATCH_STATES
from batches.models import Batch, DeployerCall, Rollback, Ruling, TenantUpgrade
from batches.models.batch import BatchQuerySet, TenantUpgradeQuerySet
from batches.quotes.quote import Quote, rollback_quote
from batches.rollback import aftermath
from batches.rollout.blast_radius import Meeting, meeting
from batches.rollout.launch import reserve_for_rollback
from batches.rollout.pacing import soak_left
from batches.rollout.readiness import way_back
from plans.counted_words import counted
from plans.drafting.drafting import current_revision, policy_of
from plans.drafting.old_versions import standing_of_versions, unverified, words_of
from plans.models import Adjustment, Plan, User
from plans.people.permissions import require
from plans.policies.policy import PAUSE_SECONDS, UpgradePolicy
from plans.reading_direction import straight
from plans.refusal import BadInput, Refused
from plans.trail import events

NOT_BACK = ("upgrading", "upgraded", "failed", "unknown", "restoring")
ROLLED_BACK_FROM = ("deploying", "soaking", "held", "passed", "stopped", "needs_hand")


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


class CannotBeTakenBack(Refused):
    """The release of the plan is irreversible: nothing of it is ever restored."""

    default_code = "irreversible"


def need_a_way_back(plan: Plan) -> None:
    """Raise CannotBeTakenBack when the plan's release is irreversible."""
    if plan.release.irreversible:
        raise CannotBeTakenBack(
            f"{plan.release.version} cannot be taken back, so nothing is restored. Pause the"
            " plan and stop it here: no further tenant is upgraded then, and what runs the new"
            " version stays on it.",
            possible=[
                name
                for name in plan.lifecycle.possible(str(plan.state))
                if name != "begin_rollback"
            ],
        )


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

    Asking for more than the part that goes back now widens: the part's record is closed and a new
    one takes over what it left. Needs no approval and ignores windows, holds and switches. Raises
    Refused when nothing of the plan was ever started or when a batch and tenants beyond it are
    asked for at once, CannotBeTakenBack when its release is irreversible, BadInput for tenants
    that are not in the plan.
    """
    with transaction.atomic():
        plan = Plan.objects.locked(plan_id)
        if by is not None:
            require(by, "rollback", plan)
        need_a_way_back(plan)
        running = open_rollback(plan)
        chosen = "tenants" if tenants else scope or "plan"
        policy = policy_of(current_revision(plan))
        if chosen not in {"plan", "batch", "tenants"} or (chosen == "tenants" and not tenants):
            raise BadInput([f"scope: {chosen!r} is unknown; write plan or batch, or name tenants"])
        _check_tenants(plan, tenants)
        if running is not None:
            if _joins(running, chosen, tenants) == "same":
                return running
            if chosen == "tenants":
                tenants = sorted({*tenants, *running.tenants})
        was_paused_at = plan.paused_at if str(plan.state) == "paused" else None
        if running is not None:
            _close_part(running, now)
        else:
            plan.move("begin_rollback")
        aftermath.cut_short(
            plan, why="Not watched to the end: another rollback of this plan began.", now=now
        )
        drilling.cut_short(plan, now=now, tenants=tenants)
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
        if chosen == "tenants":
            _quarantine(rollback)
        going_back = in_scope(rollback).to_restore()
        rollback.touched = going_back.count()
        reserve_for_rollback(plan, going_back)
        _note_quote(rollback, _quoted(plan, policy, rollback, now))
        unsigned = _note_unverified(plan, rollback, now)
        rollback.sentence = (
            f"{headline(rollback)} {counted(rollback.touched, 'tenant goes', 'tenants go')} back by"
            f" {rollback.deadline:%H:%M:%S} UTC ({quote_words(rollback)}).{unsigned}"
        )
        rollback.save()
        _end_what_waits(plan, by, via, now)
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
                "unverified": rollback.unverified,
            },
        )
    return rollback


def _note_unverified(plan: Plan, rollback: Rollback, now: datetime) -> str:
    """Note the versions that come back without a signature that holds, and return that sentence.

    It stops nobody: what matters now is that the tenants are back.
    """
    going_back = in_scope(rollback).to_restore().order_by()
    counted = dict(going_back.values_list("version_before").annotate(n=Count("pk")))
    found = unverified(standing_of_versions(plan.plugin, counted, now))
    rollback.unverified = [asdict(one) for one in found]
    return f" Without a signature that holds: {words_of(found)}." if found else ""


def _end_what_waits(plan: Plan, by: User | None, via: str, now: datetime) -> None:
    """Nothing is loosened while tenants are taken back."""
    waiting = Adjustment.objects.filter(plan=plan, state=Adjustment.WAITING).first()
    if waiting is not None:
        why = "the plan is taken back"
        drop_waiting(waiting, Adjustment.DROPPED, why, by=by, via=via, now=now)


def _quarantine(rollback: Rollback) -> None:
    """Mark named tenants: they leave their batch alone, and the plan may go on without them."""
    failed = rollback.trigger == "failure_rate"
    in_scope(rollback).to_restore().exclude(set_aside=TenantUpgrade.QUARANTINED).update(
        set_aside=TenantUpgrade.QUARANTINED,
        set_aside_at=rollback.triggered_at,
        set_aside_why=F("last_error") if failed else rollback.reason[:500],
    )


def _joins(running: Rollback, chosen: str, tenants: Sequence[str]) -> Meeting:
    """Return what asking means beside the rollback that runs; Refused when both cannot be."""
    covered = running.scope == chosen == "batch"
    if chosen == "tenants":
        under_way = in_scope(running).filter(tenant_key__in=tenants)
        covered = under_way.count() == len(set(tenants))
    meets = meeting(running.scope, chosen, covered=covered)
    if meets == "apart":
        raise Refused(
            f"A rollback of {_words(running)} runs since {running.triggered_at:%H:%M:%S} UTC;"
            " ask again when it has ended, or roll back the whole plan now.",
            code="another_part_runs",
        )
    return meets


def _close_part(part: Rollback, now: datetime) -> None:
    """End the record of a part: a wider rollback takes over what is left."""
    part.finished_at = now
    part.restored = (
        in_scope(part).filter(state="rolled_back", restored_at__gte=part.triggered_at).count()
    )
    part.sentence += " It was widened before it ended."
    part.aftermath, part.aftermath_at = "not_watched", now
    part.aftermath_sentence = "Not watched: it was widened before it ended."
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


def quote_words(rollback: Rollback) -> str:
    """Say in words what the rollback was quoted at."""
    if rollback.quote_seconds is None:
        return "no quote: the deployers file cannot be read"
    words = f"quoted {rollback.quote_seconds:.0f} s"
    if rollback.expected_seconds is not None:
        words += f" at worst, expected {rollback.expected_seconds:.0f} s"
    return words


def headline(rollback: Rollback) -> str:
    """Say who takes what back and why; in the past tense once it has ended."""
    who = rollback.by.get_full_name() if rollback.by else "The console"
    verb = "rolls back" if rollback.finished_at is None else "rolled back"
    return straight(f"{who} {verb} {_words(rollback)}: {rollback.reason or 'no reason given'}.")


def _words(rollback: Rollback) -> str:
    if rollback.scope == "plan":
        return "the plan"
    if rollback.scope == "batch":
        return "the newest batch"
    return counted(len(rollback.tenants), "tenant")


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


def locked_batches(plan: Plan) -> BatchQuerySet:
    """Return the batches of a plan, each under its row lock; the plan is locked before."""
    return Batch.objects.select_for_update(no_key=True).filter(plan=plan)


def _move_batches(plan: Plan, rollback: Rollback) -> None:
    batches = locked_batches(plan).filter(state__in=ROLLED_BACK_FROM)
    if rollback.scope == "tenants":
        # Batches keep their states: only some of their tenants go back. A soak stands still
        # meanwhile; resuming the plan starts it again.
        for batch in batches.filter(state="soaking").exclude(soak_counted_at=None):
            _stop_soak(batch, rollback.triggered_at)
        return
    if rollback.scope == "batch":
        newest = newest_batch(plan)
        batches = batches.filter(pk=newest.pk) if newest is not None else batches.none()
    for batch in batches:
        if rollback.scope == "batch":
            rollback.batch = batch
        batch.move("begin_rollback")
        batch.soak_counted_at = batch.waits_since = None
        batch.save()


def newest_batch(plan: Plan) -> Batch | None:
    """Return the batch that a rollback of one batch takes back, None when none has begun.

    The one under way is the newest, also where it had ended once and began again.
    """
    begun = Batch.objects.filter(plan=plan, state__in=ROLLED_BACK_FROM)
    live = begun.filter(state__in=LIVE_BATCH_STATES).first()
    return live or begun.order_by("-number").first()


def _stop_soak(batch: Batch, now: datetime) -> None:
    batch.soak_left = soak_left(batch.soak_left, batch.soak_counted_at, now, counting=True)
    batch.soak_counted_at = None
    batch.save()
