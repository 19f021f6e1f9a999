"""Have tenants called again that failed or were taken out of their batch, and only those."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q
from django_q.tasks import async_task

from batches.lifecycle import TENANT_UPGRADE
from batches.models import Batch, TenantUpgrade
from batches.models.batch import TenantUpgradeQuerySet
from batches.rollout.launch import pass_gate, reserve_again
from batches.rollout.who_was_first import insist, told_of
from plans.approvals import grants
from plans.approvals.grant_claims import UNQUARANTINE
from plans.counted_words import counted
from plans.log_in.step_up import Proof
from plans.models import Grant, Plan, User
from plans.people.permissions import require
from plans.refusal import BadInput, Refused
from plans.trail import events

CONDITIONS_BEGUN_ANEW = ("failure_rate", "batch_overrun")
"""What a person let pass before counts again once its tenants are called again."""


def failed_ones(plan: Plan) -> TenantUpgradeQuerySet:
    """Return the tenants that failed and are not on their way back: what a retry is about."""
    upgrades = TenantUpgrade.objects.filter(plan=plan)
    return upgrades.filter(
        Q(state__in=("rolled_back", "excluded"), set_aside=TenantUpgrade.QUARANTINED)
        | Q(state__in=("failed", "unknown"), exhausted_at__isnull=False)
    )


def callable_again(plan: Plan) -> TenantUpgradeQuerySet:
    """Return whom a person may have called again by name: also who was taken back unharmed."""
    upgrades = TenantUpgrade.objects.filter(plan=plan)
    taken_back = upgrades.filter(state="rolled_back").exclude(set_aside=TenantUpgrade.EXCLUDED)
    return failed_ones(plan) | taken_back


@dataclass(frozen=True, slots=True)
class Retry:
    """Who would be called again: the rows by their batch's number."""

    by_batch: dict[int, list[TenantUpgrade]]

    @property
    def keys(self) -> list[str]:
        """Return the tenants."""
        return [row.tenant_key for rows in self.by_batch.values() for row in rows]

    @property
    def quarantined(self) -> list[str]:
        """Return those of them that are in quarantine."""
        return [
            row.tenant_key
            for rows in self.by_batch.values()
            for row in rows
            if row.set_aside == TenantUpgrade.QUARANTINED
        ]


def chosen_for_retry(
    plan: Plan, *, tenant_keys: Sequence[str] = (), batch_number: int | None = None
) -> Retry:
    """Return whom a retry of these means; Refused or BadInput when it cannot be.

    Without names: everybody who failed (in that batch); of a batch that was rolled back, all of it.
    By name also tenants that were taken back although they had not failed.
    """
    batch = None
    if batch_number is not None:
        batch = Batch.objects.filter(plan=plan, number=batch_number).first()
        if batch is None:
            raise BadInput([f"batch: this plan has no batch {batch_number}"])
    whole = bool(tenant_keys) or (batch is not None and str(batch.state) == "rolled_back")
    rows = (callable_again(plan) if whole else failed_ones(plan)).select_related("batch")
    if batch is not None:
        rows = rows.filter(batch=batch)
    if tenant_keys:
        rows = rows.filter(tenant_key__in=tenant_keys)
    by_batch: dict[int, list[TenantUpgrade]] = {}
    for row in rows.order_by("batch__number", "position"):
        by_batch.setdefault(row.batch.number, []).append(row)
    retry = Retry(by_batch)
    _check(plan, retry, tenant_keys)
    return retry


def _check(plan: Plan, retry: Retry, tenant_keys: Sequence[str]) -> None:
    known = set(
        TenantUpgrade.objects.filter(plan=plan, tenant_key__in=tenant_keys).values_list(
            "tenant_key", flat=True
        )
    )
    unknown = sorted(set(tenant_keys) - known)
    if unknown:
        raise BadInput([f"tenants: {key!r} is not in this plan" for key in unknown])
    others = sorted(set(tenant_keys) - set(retry.keys))
    if others:
        before = told_of(plan, "tenants_retried")
        raise Refused(
            f"{', '.join(others[:10])} did not fail, or is being called again already{before}.",
            code="nothing_failed",
        )
    if not retry.by_batch:
        before = told_of(plan, "tenants_retried")
        raise Refused(f"No tenant waits for another try{before}.", code="nothing_failed")
    for batch in {rows[0].batch for rows in retry.by_batch.values()}:
        if str(batch.state) in {"rolling_back", "needs_hand", "skipped"}:
            raise Refused(
                f"Batch {batch.number} is {batch.lifecycle.states[str(batch.state)].lower()};"
                " settle it first, then its tenants can be called again.",
                code="batch_not_ready",
            )


@transaction.atomic
def retry(
    *,
    plan_id: Any,
    by: User,
    now: datetime,
    via: str,
    tenant_keys: Sequence[str] = (),
    batch_number: int | None = None,
    reason: str = "",
    step_up: Proof | None = None,
) -> Plan:
    """Have failed tenants called again, each in its own batch, which then soaks anew.

    Whoever is in quarantine leaves it by a grant that the person signs for exactly these tenants.

    A batch that is under way goes on at once, also from a hold: the person has decided. One that
    had ended begins again as soon as no other batch is under way, through the same gates as a new
    one. A pause stays a pause.
    """
    plan = Plan.objects.locked(plan_id)
    require(by, "retry", plan)
    insist(plan, "another try")
    chosen = chosen_for_retry(plan, tenant_keys=tenant_keys, batch_number=batch_number)
    keys = chosen.keys
    used = _out_of_quarantine(plan, chosen, by, step_up, now)
    reserve_again(plan, keys)
    states = _put_back(plan, keys)
    for number in chosen.by_batch:
        _go_on_with(
            plan, Batch.objects.select_for_update(no_key=True).get(plan=plan, number=number), now
        )
    numbers = ", ".join(map(str, chosen.by_batch))
    events.record(
        stream=plan,
        kind="tenants_retried",
        sentence=f"{by.get_full_name()} has {_named(keys)} of batch {numbers} called again"
        f"{': ' + reason if reason else ''}.",
        actor=by,
        via=via,
        now=now,
        payload={
            "tenants": states,
            "batches": list(chosen.by_batch),
            "reason": reason,
            "grants": grants.told(used),
        },
    )
    return plan


def _out_of_quarantine(
    plan: Plan, chosen: Retry, by: User, step_up: Proof | None, now: datetime
) -> Sequence[Grant]:
    """Use up the grant that lets the tenants in quarantine out of it; none where nobody is."""
    if not chosen.quarantined:
        return ()
    grant = grants.own_act(
        plan,
        UNQUARANTINE,
        by=by,
        role="",
        step_up=step_up,
        op=f"plan:{plan.pk}:unquarantine:{now:%Y-%m-%dT%H:%M:%S.%f}Z",
        now=now,
        tenants=chosen.quarantined,
    )
    return (grant,)


def _put_back(plan: Plan, keys: Sequence[str]) -> dict[str, str]:
    """Let tenants be called again; return their new states.

    What a failed call has reached and nobody has taken back may run either version: it is unknown
    until it is read, so that a rollback before its next call takes it back all the same.
    """
    rows = TenantUpgrade.objects.filter(plan=plan, tenant_key__in=keys)
    touched = rows.touched().filter(state__in=TENANT_UPGRADE.sources("retry_touched"))
    moves = {"retry_touched": list(touched.values_list("tenant_key", flat=True))}
    moves["retry"] = sorted(set(keys) - set(moves["retry_touched"]))
    states: dict[str, str] = {}
    for move, chosen in moves.items():
        target = str(TENANT_UPGRADE.named(move).target)
        changed = rows.filter(tenant_key__in=chosen, state__in=TENANT_UPGRADE.sources(move)).update(
            state=target, exhausted_at=None, set_aside="", set_aside_at=None, set_aside_why=""
        )
        if changed != len(chosen):
            raise RuntimeError(f"put back {changed} of {len(chosen)} tenants")
        states |= dict.fromkeys(chosen, target)
    return states


def _named(keys: Sequence[str]) -> str:
    if len(keys) == 1:
        return keys[0]
    shown = ", ".join(keys[:10]) + (" and more" if len(keys) > 10 else "")
    return f"{len(keys)} tenants ({shown})"


def _go_on_with(plan: Plan, batch: Batch, now: datetime) -> None:
    """Let a batch that is under way call the tenants; one that has ended waits for its turn."""
    state = str(batch.state)
    if state in {"soaking", "held"}:
        _begin_again(batch, now)
    elif state != "deploying":
        return
    batch.save()
    if str(plan.state) == "running":
        async_task("batches.tasks.run_batch", batch.pk, cluster="effects")


def _begin_again(batch: Batch, now: datetime) -> None:
    batch.move("reopen")
    batch.soak_left = batch.soak_seconds
    batch.soak_counted_at = batch.calls_done_at = batch.ended_at = batch.held_at = None
    batch.held_from = batch.held_kind = batch.held_reason = ""
    batch.calling_since = batch.handed_out_at = now
    # How long it waited for openings belongs to the clock of its earlier calls.
    batch.waits_since, batch.waited_seconds = None, 0
    batch.acknowledged = {
        condition: at
        for condition, at in batch.acknowledged.items()
        if condition not in CONDITIONS_BEGUN_ANEW
    }


@transaction.atomic
def reopen_batch(*, batch_id: int, now: datetime) -> Batch:
    """Begin a batch again that had ended, for the tenants that a person put back to work.

    Raises QuoteExceeded when all could not be taken back in time.
    """
    batch, plan = Batch.objects.locked(batch_id)
    insist(plan, "a batch that begins again", states=("running",))
    rows = TenantUpgrade.objects.filter(batch=batch)
    # Whoever is unknown with attempts left is read, and called again if need be.
    to_call = Q(state="pending") | Q(state="unknown", exhausted_at=None)
    waiting = rows.filter(to_call).count()
    if not waiting:
        raise Refused("Nobody of this batch is to be called again.", code="nothing_waits")
    quote = pass_gate(plan, batch, now)
    _begin_again(batch, now)
    batch.quote = quote.to_json()
    batch.save()
    if plan.waiting_for:
        plan.waiting_for = ""
        plan.save()
    async_task("batches.tasks.run_batch", batch.pk, cluster="effects")
    events.record(
        stream=plan,
        kind="batch_reopened",
        sentence=f"Batch {batch.number} ({batch.name}) began again for"
        f" {counted(waiting, 'tenant')}; {quote.sentence}.",
        actor=None,
        via="watch",
        now=now,
        payload={"batch": batch.number, "waiting": waiting, "quote": quote.to_json()},
    )
    return batch
