"""What people do in a world: a table of acts, each of which only calls the use case.

To add an act: write one function here and put it into ACTS; scenarios name it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from batches import control, launch, planning, rollback, settling
from batches.models import TenantUpgrade
from plans import approval, drafting
from plans.models import Plan, User


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
    "release_hold": _release_hold,
    "roll_back": _roll_back("plan"),
    "roll_back_batch": _roll_back("batch"),
    "roll_back_tenants": _roll_back_tenants,
    "settle_rolled_back": _settle_as("rolled_back"),
    "settle_upgraded": _settle_as("upgraded"),
    "settle_excluded": _settle_as("excluded"),
    "retry": _retry,
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
)
