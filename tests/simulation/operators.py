"""What people do in a world: a table of acts, each of which only calls the use case.

To add an act: write one function here and put it into ACTS; scenarios name it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from batches.adjust.apply import adjust
from batches.adjust.proposal import Expiry
from batches.adjust.wanted import ChangeSet
from batches.break_glass.acting_alone import break_glass
from batches.models import Batch, TenantUpgrade
from batches.rollback import rollback
from batches.rollout import control, launch, leaving_out, planning, retrying, settling, stopping
from plans.approvals import approval
from plans.drafting import drafting
from plans.models import Freeze, Plan, User
from plans.openings import freezing
from plans.refusal import Refused
from plans.releases.registering import revoke_key
from plans.releases.standing import quarantine_release


@dataclass(frozen=True, slots=True)
class Cast:
    """The people of the world."""

    mara: User
    olga: User
    aram: User
    sona: User


@dataclass(frozen=True, slots=True)
class Moment:
    """Who acts, when, and the dice with which they choose."""

    cast: Cast
    now: datetime
    dice: random.Random


Act = Callable[[Moment, Plan], object]


def _submit(moment: Moment, plan: Plan) -> object:
    return planning.submit(plan_id=plan.pk, by=moment.cast.mara, now=moment.now, via="api")


def _approve(moment: Moment, plan: Plan) -> object:
    who = moment.dice.choice([moment.cast.aram, moment.cast.sona])
    return approval.approve(plan_id=plan.pk, approver=who, now=moment.now, via="page")


def _approve_as(name: str) -> Act:
    def act(moment: Moment, plan: Plan) -> object:
        who = getattr(moment.cast, name)
        return approval.approve(plan_id=plan.pk, approver=who, now=moment.now, via="page")

    return act


def _reject(moment: Moment, plan: Plan) -> object:
    return approval.reject(
        plan_id=plan.pk, approver=moment.cast.sona, reason="not now", now=moment.now, via="page"
    )


def _revise(moment: Moment, plan: Plan) -> object:
    revision = drafting.current_revision(plan)
    draft = drafting.PlanDraft(
        plan.plugin.key,
        plan.release.version,
        revision.policy_name,
        plan.deployer,
        drafting.TenantChoice.from_json(revision.tenant_choice),
        plan.external_id,
    )
    return planning.revise_plan(
        plan_id=plan.pk, draft=draft, editor=moment.cast.mara, now=moment.now, via="api"
    )


def _cancel(moment: Moment, plan: Plan) -> object:
    return approval.cancel(
        plan_id=plan.pk, by=moment.cast.mara, reason="", now=moment.now, via="page"
    )


def _archive(moment: Moment, plan: Plan) -> object:
    return approval.archive(plan_id=plan.pk, by=moment.cast.mara, now=moment.now, via="page")


def _start(moment: Moment, plan: Plan) -> object:
    return launch.start(plan_id=plan.pk, by=moment.cast.olga, now=moment.now, via="page")


def _pause(moment: Moment, plan: Plan) -> object:
    return control.pause(
        plan_id=plan.pk, by=moment.cast.olga, reason="to look", now=moment.now, via="page"
    )


def _resume(moment: Moment, plan: Plan) -> object:
    return control.resume(plan_id=plan.pk, by=moment.cast.olga, now=moment.now, via="page")


def _promote(moment: Moment, plan: Plan) -> object:
    return control.promote(plan_id=plan.pk, by=moment.cast.olga, now=moment.now, via="page")


def _break_glass(what: str) -> Act:
    def act(moment: Moment, plan: Plan) -> object:
        return break_glass(
            plan_id=plan.pk,
            act=what,
            by=moment.cast.olga,
            reason="the hole is being used right now",
            now=moment.now,
            via="page",
        )

    return act


def _release_hold(moment: Moment, plan: Plan) -> object:
    return control.release_hold(
        plan_id=plan.pk, by=moment.cast.olga, reason="seen", now=moment.now, via="page"
    )


def _roll_back(scope: str) -> Act:
    def act(moment: Moment, plan: Plan) -> object:
        return rollback.request_rollback(
            plan_id=plan.pk,
            by=moment.cast.olga,
            reason="it looks wrong",
            now=moment.now,
            via="page",
            scope=scope,
        )

    return act


def _roll_back_tenants(moment: Moment, plan: Plan) -> object:
    keys = sorted(TenantUpgrade.objects.filter(plan=plan).values_list("tenant_key", flat=True))
    chosen = moment.dice.sample(keys, k=min(len(keys), moment.dice.randint(1, 2)))
    return rollback.request_rollback(
        plan_id=plan.pk,
        by=moment.cast.olga,
        reason="these look wrong",
        now=moment.now,
        via="api",
        tenants=chosen,
    )


def _settle_as(outcome: str) -> Act:
    def act(moment: Moment, plan: Plan) -> object:
        waiting = TenantUpgrade.objects.filter(plan=plan, state="needs_hand")
        return settling.settle(
            plan_id=plan.pk,
            tenant_keys=sorted(waiting.values_list("tenant_key", flat=True)),
            outcome=outcome,
            reason="looked at it by hand",
            by=moment.cast.olga,
            now=moment.now,
            via="page",
        )

    return act


def _retry(moment: Moment, plan: Plan) -> object:
    return settling.retry_needs_hand(
        plan_id=plan.pk, by=moment.cast.olga, now=moment.now, via="page"
    )


def _quarantine(moment: Moment, plan: Plan) -> object:
    return quarantine_release(
        release_id=plan.release_id,
        reason="the build machine was broken into",
        by=moment.cast.olga,
        now=moment.now,
        via="page",
    )


def _revoke_key(moment: Moment, plan: Plan) -> object:
    return revoke_key(
        key_id=plan.release.signed_by.key_id,
        reason="its private half was copied",
        by=None,
        now=moment.now,
        via="command",
    )


# Other ways on, and out.


def _stop_here(moment: Moment, plan: Plan) -> object:
    return stopping.stop_here(
        plan_id=plan.pk, reason="it stays so", by=moment.cast.olga, now=moment.now, via="page"
    )


def _of_plan(moment: Moment, plan: Plan, *states: str) -> list[str]:
    """Return one or two of the plan's tenants in these states, all that there are when few."""
    rows = TenantUpgrade.objects.filter(plan=plan, state__in=states)
    keys = sorted(rows.values_list("tenant_key", flat=True))
    return moment.dice.sample(keys, k=min(len(keys), moment.dice.randint(1, 2)))


def _exclude(moment: Moment, plan: Plan) -> object:
    return leaving_out.exclude(
        plan_id=plan.pk,
        tenant_keys=_of_plan(moment, plan, "pending", "rolled_back", "failed"),
        reason="they asked us to wait",
        by=moment.cast.olga,
        now=moment.now,
        via="page",
    )


def _number(moment: Moment, plan: Plan, state: str, which: str) -> int:
    numbers = Batch.objects.filter(plan=plan, state=state).order_by("number")
    found = list(numbers.values_list("number", flat=True))
    if not found:
        raise Refused(f"no batch is {state}")
    return found[-1] if which == "last" else found[0]


def _skip(which: str) -> Act:
    def act(moment: Moment, plan: Plan) -> object:
        return leaving_out.skip_batch(
            plan_id=plan.pk,
            batch_number=_number(moment, plan, "pending", which),
            reason="not these",
            by=moment.cast.olga,
            now=moment.now,
            via="page",
        )

    return act


def _jump(moment: Moment, plan: Plan) -> object:
    return leaving_out.jump(
        plan_id=plan.pk,
        batch_number=_number(moment, plan, "pending", "last"),
        reason="the last ones first",
        by=moment.cast.olga,
        now=moment.now,
        via="page",
    )


def _unskip(moment: Moment, plan: Plan) -> object:
    return leaving_out.unskip_batch(
        plan_id=plan.pk,
        batch_number=_number(moment, plan, "skipped", "first"),
        by=moment.cast.olga,
        now=moment.now,
        via="page",
    )


def _skip_rest(moment: Moment, plan: Plan) -> object:
    return leaving_out.skip_rest(
        plan_id=plan.pk, reason="enough", by=moment.cast.olga, now=moment.now, via="page"
    )


def _retry_failed(moment: Moment, plan: Plan) -> object:
    return retrying.retry(
        plan_id=plan.pk, by=moment.cast.olga, now=moment.now, via="page", reason="it was mended"
    )


def _retry_some(moment: Moment, plan: Plan) -> object:
    return retrying.retry(
        plan_id=plan.pk,
        tenant_keys=_of_plan(moment, plan, "rolled_back", "failed", "unknown", "excluded"),
        by=moment.cast.olga,
        now=moment.now,
        via="api",
    )


def _adjust(reason: str, ends_after: float | None = None, **limits: float) -> Act:
    def act(moment: Moment, plan: Plan) -> object:
        ends = None if ends_after is None else Expiry(after=timedelta(seconds=ends_after))
        return adjust(
            plan_id=plan.pk,
            wanted=ChangeSet(limits=limits),
            by=moment.cast.mara,
            reason=reason,
            now=moment.now,
            via="page",
            expiry=ends,
        )

    return act


def _freeze(moment: Moment, plan: Plan) -> object:
    rows = TenantUpgrade.objects.filter(plan=plan)
    keys = sorted(rows.values_list("tenant_key", flat=True))
    return freezing.declare_freeze(
        name=f"quiet at {moment.now:%H:%M:%S.%f}",
        reason="the books are closed",
        tenants=moment.dice.choice([(), keys[: len(keys) // 2 + 1]]),
        by=moment.cast.olga,
        now=moment.now,
        via="page",
    )


def _lift(moment: Moment, plan: Plan) -> object:
    freeze = Freeze.objects.filter(lifted_at=None).order_by("declared_at").first()
    if freeze is None:
        raise Refused("nothing is frozen")
    return freezing.lift_freeze(
        freeze_id=freeze.pk, why="done", by=moment.cast.olga, now=moment.now, via="page"
    )


ACTS: dict[str, Act] = {
    "submit": _submit,
    "approve": _approve,
    "approve_as_aram": _approve_as("aram"),
    "approve_as_sona": _approve_as("sona"),
    "approve_as_mara": _approve_as("mara"),
    "reject": _reject,
    "revise": _revise,
    "cancel": _cancel,
    "archive": _archive,
    "start": _start,
    "pause": _pause,
    "resume": _resume,
    "promote": _promote,
    "break_glass_start": _break_glass("start"),
    "break_glass_promote": _break_glass("promote"),
    "break_glass_loosen": _break_glass("loosen"),
    "release_hold": _release_hold,
    "roll_back": _roll_back("plan"),
    "roll_back_batch": _roll_back("batch"),
    "roll_back_tenants": _roll_back_tenants,
    "settle_rolled_back": _settle_as("rolled_back"),
    "settle_upgraded": _settle_as("upgraded"),
    "settle_excluded": _settle_as("excluded"),
    "retry": _retry,
    "stop_here": _stop_here,
    "exclude": _exclude,
    "skip_first": _skip("first"),
    "skip_last": _skip("last"),
    "jump": _jump,
    "unskip": _unskip,
    "skip_rest": _skip_rest,
    "retry_failed": _retry_failed,
    "retry_some": _retry_some,
    "tighten": _adjust("be careful", failure_rate=1),
    "loosen": _adjust("we know why", failure_rate=60),
    "loosen_for_a_while": _adjust("for this night", 3.0, hold_minutes=30),
    "freeze": _freeze,
    "lift": _lift,
    "quarantine": _quarantine,
    "revoke_key": _revoke_key,
}
DURING_A_RUN = (
    "pause",
    "resume",
    "promote",
    "release_hold",
    "roll_back",
    "roll_back_batch",
    "roll_back_tenants",
    "start",
    "retry",
    "settle_rolled_back",
    "stop_here",
    "exclude",
    "skip_first",
    "jump",
    "unskip",
    "skip_rest",
    "retry_failed",
    "retry_some",
    "tighten",
    "loosen_for_a_while",
    "freeze",
    "lift",
)
