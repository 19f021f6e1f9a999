"""Stop a plan where it stands: nothing more is upgraded, and nothing is taken back.

The way out for a release that cannot be taken back, and for a plan that will find no opening any
more. A plan whose release can be taken back may still be rolled back afterwards.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from batches.alerting import alerts
from batches.deployers.base import Observed, ObserveFailed
from batches.drills import drilling
from batches.effects.seen import digest_fits
from batches.lifecycle import TENANT_UPGRADE
from batches.models import Batch, DeployerCall, TenantUpgrade
from batches.models.batch import TenantUpgradeQuerySet
from batches.rollback.ending import end_settled_batches
from batches.rollout.launch import free_reservations
from batches.rollout.left_behind import call_off_retries, exclude_untouched
from batches.rollout.settling import end_settled
from plans.counted_words import counted
from plans.drafting.drafting import current_revision, policy_of
from plans.models import Plan, User
from plans.people.permissions import require
from plans.refusal import BadInput, Refused
from plans.trail import events

HALF_DONE = ("upgrading", "failed", "unknown", "restoring")
LIVE = ("deploying", "soaking", "held")


@transaction.atomic
def stop_here(*, plan_id: Any, reason: str, by: User, now: datetime, via: str) -> Plan:
    """End the plan as it is; who is half done is read, and given to a person if that tells nothing.

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
    half_done, left = _hand_over_half_done(plan, now)
    _end_batches(plan, now)
    if left:
        plan.move("need_hand_stopped")
    plan.save()
    counts = TenantUpgrade.objects.filter(plan=plan).counts()
    if left:
        # Those that are read first: most of them need nobody.
        _tell_who_is_left(plan, sorted(set(left) - half_done), now)
    else:
        free_reservations(plan)
        alerts.resolve_all(plan=plan, now=now)
    upgraded, total = counts.get("upgraded", 0), sum(counts.values())
    events.record(
        stream=plan,
        kind="plan_stopped_here",
        sentence=f"{by.get_full_name()} stopped the plan where it stands: {reason.strip()}."
        f" {upgraded} of {counted(total, 'tenant')} run {plan.release.version} and stay on it,"
        f" {_left_words(half_done, left)}, the others were left as they were.",
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
            f"{counted(under_way, 'call is', 'calls are')} under way; pause the plan, and stop"
            f" it here afterwards ({timeout:g} s at most).",
            code="calls_under_way",
            possible=("pause",),
        )


def _left_words(half_done: set[str], left: Sequence[str]) -> str:
    words = f"{counted(len(left) - len(half_done), 'needs', 'need')} a hand"
    return words + (
        f", {counted(len(half_done), 'was half done and is', 'were half done and are')} read now"
        if half_done
        else ""
    )


def _tell_who_is_left(plan: Plan, left: Sequence[str], now: datetime) -> None:
    if left:
        sentence = (
            f"{counted(len(left), 'tenant needs', 'tenants need')} a hand: {', '.join(left[:10])}"
        )
        alerts.fire(plan=plan, kind="needs_hand", sentence=sentence, now=now)


def to_be_read(plan: Plan) -> TenantUpgradeQuerySet:
    """Return the tenants that the stop found half done and that nobody has looked at since."""
    rows = TenantUpgrade.objects.filter(plan=plan, state="needs_hand").touched()
    return rows.filter(exhausted_at=plan.stopped_at) if plan.stopped_at else rows.none()


def may_be_read(plan: Plan, call_timeout: float, now: datetime) -> bool:
    """Tell whether somebody is to be read, and no call of theirs can be applied any more."""
    waiting = to_be_read(plan)
    if not waiting.exists():
        return False
    late = DeployerCall.objects.filter(
        upgrade__in=waiting,
        direction=DeployerCall.INSTALL,
        outcome__in=("", "unknown"),
        started_at__gt=now - timedelta(seconds=2 * call_timeout),
    )
    return not late.exists()


@transaction.atomic
def settle_as_read(
    *, plan_id: Any, seen: Mapping[str, Observed | ObserveFailed], now: datetime
) -> Plan:
    """Settle who was half done by the version that it shows; who shows neither needs a person."""
    plan = Plan.objects.locked(plan_id)
    if str(plan.state) != "needs_hand":
        # Somebody takes it back by now, or has settled all of it.
        return plan
    rows = to_be_read(plan).select_for_update(no_key=True).filter(tenant_key__in=list(seen))
    outcomes: dict[str, str] = {}
    for row in rows.order_by("tenant_key"):
        found = seen[row.tenant_key]
        move, row.last_error = _what_it_shows(row, found, plan)
        if isinstance(found, Observed):
            row.version_observed, row.observed_at = found.version, now
        if move is None:
            # Not read again: from here on it is a person's.
            row.exhausted_at = now
        else:
            row.state = str(TENANT_UPGRADE.named(move).target)
            outcomes[row.tenant_key] = row.state
        row.save()
    if outcomes:
        events.record(
            stream=plan,
            kind="tenants_settled",
            sentence="Tenants:"
            f" {counted(len(outcomes), 'that was half done was', 'that were half done were')}"
            f" read and settled by what they show: {', '.join(sorted(outcomes)[:10])}.",
            actor=None,
            via="watch",
            now=now,
            payload={"tenants": outcomes, "reason": "read back after the stop"},
        )
    end_settled_batches(plan, now)
    left = TenantUpgrade.objects.filter(plan=plan, state="needs_hand").order_by("tenant_key")
    if left.exists():
        _tell_who_is_left(plan, list(left.values_list("tenant_key", flat=True)), now)
    else:
        end_settled(plan, by=None, now=now, via="watch")
    return plan


def _what_it_shows(
    row: TenantUpgrade, found: Observed | ObserveFailed, plan: Plan
) -> tuple[str | None, str]:
    """Return the move by which the tenant is settled, None for none, and what is said of it."""
    if isinstance(found, ObserveFailed):
        return None, f"half done when the plan was stopped; could not be read: {found.reason}"[:480]
    if found.version == plan.release.version and digest_fits(plan.release.digest, found.digest):
        return "settle_upgraded", ""
    if found.version == row.version_before:
        return "settle_rolled_back", row.last_error
    return None, f"half done when the plan was stopped; shows {found.version}"[:480]


def _hand_over_half_done(plan: Plan, now: datetime) -> tuple[set[str], list[str]]:
    """Return the tenants that are to be read, and all that need a hand."""
    rows = TenantUpgrade.objects.filter(plan=plan).touched()
    half_done = rows.select_for_update(no_key=True).filter(state__in=HALF_DONE)
    keys = dict(half_done.values_list("pk", "tenant_key"))
    if keys:
        TenantUpgrade.objects.filter(pk__in=list(keys)).update(state="needs_hand", exhausted_at=now)
        events.record(
            stream=plan,
            kind="tenants_moved",
            sentence=f"Tenants: {counted(len(keys), 'was', 'were')} half done; they are read"
            " before a person gets them.",
            actor=None,
            via="console",
            now=now,
            payload={"tenants": dict.fromkeys(keys.values(), "needs_hand"), "errors": {}},
        )
    left = TenantUpgrade.objects.filter(plan=plan, state="needs_hand")
    return set(keys.values()), sorted(left.values_list("tenant_key", flat=True))


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
