"""Declare a freeze, lift it, or let one plan through it. A rollback never asks about freezes."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from plans.approvals import grants
from plans.approvals.grant_claims import OVERRIDE_FREEZE
from plans.log_in.step_up import Proof
from plans.models import (
    CONSOLE_ROLES,
    Freeze,
    FreezeOverride,
    Plan,
    Plugin,
    RoleBinding,
    Tenant,
    User,
)
from plans.openings.freezes import WAITING_STATES, covered, held_plans, overrides_of, places_of
from plans.people.permissions import require, require_over, roles_over
from plans.reading_direction import turning_problems
from plans.refusal import BadInput, NotAllowed, NotFound, Refused
from plans.trail import events

JUST_NOW = timedelta(minutes=2)
OPEN_TO_OVERRIDE = ("draft", "awaiting_approval", *WAITING_STATES)


class FreezeIsOver(Refused):
    """The freeze was lifted or has ended."""

    default_code = "freeze_is_over"


class NotHeld(Refused):
    """The freeze does not hold this plan."""

    default_code = "not_held_by_freeze"


class AlreadyLetThrough(Refused):
    """The plan was let through this freeze already."""

    default_code = "already_let_through"


def known_roles() -> list[str]:
    """Return the roles that a freeze may name: the console's, and approval roles of people."""
    held = RoleBinding.objects.filter(kind=RoleBinding.APPROVAL).values_list("role", flat=True)
    console = [role for role, _label in CONSOLE_ROLES]
    return [*console, *sorted(set(held) - set(console))]


@transaction.atomic
def declare_freeze(
    *,
    name: str,
    reason: str,
    by: User,
    now: datetime,
    via: str,
    begins_at: datetime | None = None,
    ends_at: datetime | None = None,
    plugin: str = "",
    tenants: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    overriders: Sequence[str] = (),
) -> Freeze:
    """Let nothing new be called from `begins_at` (now) to `ends_at` (until it is lifted).

    Calls in flight end; batches that are being called wait. Raise BadInput with all problems.
    """
    require(by, "freeze")
    # A tenant that is not theirs to see is unknown, and named among the problems as such.
    seen = Tenant.objects.visible_to(by)
    _require_over(by, tenants, labels or {}, seen)
    begins = begins_at or now
    if now - JUST_NOW <= begins < now:
        # A form knows minutes only, and a request takes its time.
        begins = now
    freeze = Freeze(
        name=name.strip(),
        reason=reason.strip(),
        plugin=Plugin.objects.filter(key=plugin).first() if plugin else None,
        tenants=list(dict.fromkeys(tenants)),
        labels=dict(labels or {}),
        overriders=list(dict.fromkeys(overriders)),
        begins_at=begins,
        ends_at=ends_at,
        declared_by=by,
        declared_at=now,
    )
    if problems := _problems(freeze, plugin, now, seen):
        raise BadInput(problems)
    freeze.save()
    sentence = (
        f"{by.get_full_name()} declared the freeze '{freeze.name}' for {scope_words(freeze)},"
        f" {span_words(freeze)}: {freeze.reason.rstrip('.')}."
    )
    _tell(freeze, "freeze_declared", sentence, by=by, via=via, now=now)
    return freeze


def _require_over(
    by: User, keys: Sequence[str], labels: Mapping[str, str], among: QuerySet[Tenant]
) -> None:
    """Raise NotAllowed unless the person may freeze every tenant that this would hold up."""
    over: list[Mapping[str, Any]] = [labels] if labels or not keys else []
    over += among.filter(key__in=keys).values_list("labels", flat=True)
    require_over(by, "freeze", over)


def named_of(freeze: Freeze, seen: frozenset[str] | None) -> list[str]:
    """Return the tenants that the freeze names, as far as they are among those seen (None: all)."""
    return [key for key in freeze.tenants if seen is None or key in seen]


def _problems(freeze: Freeze, plugin: str, now: datetime, seen: QuerySet[Tenant]) -> list[str]:
    problems = []
    if not freeze.name:
        problems.append("name: give the freeze a name, such as 'Black Friday'")
    problems += turning_problems(freeze.name)
    if not freeze.reason:
        problems.append("reason: say why; everybody who is held up reads it")
    if plugin and freeze.plugin is None:
        problems.append(f"plugin: there is no plugin {plugin!r}; leave it empty for every plugin")
    if freeze.begins_at < now:
        problems.append("begins_at: this time has passed; leave it empty to begin now")
    if freeze.ends_at is not None and freeze.ends_at <= freeze.begins_at:
        problems.append("ends_at: it must come after the beginning; empty = until it is lifted")
    known = set(seen.filter(key__in=freeze.tenants).values_list("key", flat=True))
    problems += [
        f"tenants: there is no tenant {key!r}" for key in freeze.tenants if key not in known
    ]
    problems += [
        f"labels: {label!r} needs a text as its value"
        for label, value in freeze.labels.items()
        if not label or not isinstance(value, str) or not value
    ]
    roles = known_roles()
    problems += [
        f"overriders: nobody holds a role {role!r}; known: {', '.join(roles)}"
        for role in freeze.overriders
        if role not in roles
    ]
    return problems


@transaction.atomic
def lift_freeze(*, freeze_id: Any, why: str, by: User, now: datetime, via: str) -> Freeze:
    """End a freeze before its time; raise FreezeIsOver when it has ended."""
    require(by, "freeze")
    freeze = _locked(freeze_id)
    if not Freeze.objects.visible_to(by).filter(pk=freeze.pk).exists():
        raise NotFound("There is no such freeze.")
    _require_over(by, freeze.tenants, freeze.labels, Tenant.objects.all())
    if not why.strip():
        raise BadInput(["reason: say why the freeze may be lifted"])
    _refuse_over(freeze, now)
    freeze.lifted_by, freeze.lifted_at, freeze.lifted_why = by, now, why.strip()
    freeze.save()
    sentence = f"{by.get_full_name()} lifted the freeze '{freeze.name}': {why.strip().rstrip('.')}."
    _tell(freeze, "freeze_lifted", sentence, by=by, via=via, now=now)
    return freeze


@transaction.atomic
def override_freeze(
    *,
    plan_id: Any,
    freeze_id: Any,
    reason: str,
    by: User,
    now: datetime,
    via: str,
    expires_at: datetime | None = None,
    step_up: Proof | None = None,
) -> FreezeOverride:
    """Let one plan through a freeze, as long as the plan lives or until `expires_at`.

    Takes one of the roles that the freeze names, over all tenants of the plan, and a grant that
    the person signs for exactly this freeze and plan.
    """
    plan = Plan.objects.locked(plan_id)
    freeze = _locked(freeze_id)
    role = _role_to_override(freeze, plan, by, now)
    problems = []
    if not reason.strip():
        problems.append("reason: say why this plan may not wait; the report shows it")
    if expires_at is not None and expires_at <= now:
        problems.append("expires_at: this time has passed; leave it empty for the plan's life")
    if problems:
        raise BadInput(problems)
    _refuse_over(freeze, now)
    state = str(plan.state)
    if state not in OPEN_TO_OVERRIDE:
        raise NotHeld(f"This plan is {plan.lifecycle.states[state].lower()}; no freeze holds it.")
    is_about = freeze.plugin_id in {None, plan.plugin_id}
    if not is_about or not covered(freeze, places_of(plan)).exists():
        raise NotHeld(f"The freeze '{freeze.name}' covers no tenant of this plan.")
    if freeze.pk in overrides_of(plan, now):
        raise AlreadyLetThrough(f"This plan was let through '{freeze.name}' already.")
    grant = grants.own_act(
        plan,
        OVERRIDE_FREEZE,
        by=by,
        role=role,
        step_up=step_up,
        op=f"plan:{plan.pk}:override_freeze:{freeze.pk}",
        now=now,
        subject=str(freeze.pk),
    )
    override = FreezeOverride.objects.create(
        freeze=freeze,
        plan=plan,
        reason=reason.strip(),
        role=role,
        by=by,
        at=now,
        expires_at=expires_at,
    )
    until = f" until {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else ""
    sentence = (
        f"FREEZE OVERRIDDEN: {by.get_full_name()}, as {role}, let {plan.external_id} through"
        f" the freeze '{freeze.name}'{until}: {override.reason.rstrip('.')}."
    )
    for stream in (plan, None):
        events.record(
            stream=stream,
            kind="freeze_overridden",
            sentence=sentence,
            actor=by,
            via=via,
            now=now,
            payload={
                "freeze": str(freeze.pk),
                "plan": str(plan.pk),
                "role": role,
                "reason": override.reason,
                "expires_at": expires_at.isoformat() if expires_at else None,
                "grants": grants.told([grant]),
            },
        )
    return override


def may_override(freeze: Freeze, plan: Plan, by: User, now: datetime) -> bool:
    """Tell whether the person may let the plan through the freeze."""
    return bool(roles_over(by, plan, at=now) & set(freeze.overriders))


def _role_to_override(freeze: Freeze, plan: Plan, by: User, now: datetime) -> str:
    if not freeze.overriders:
        raise NotAllowed(
            f"Nobody may override the freeze '{freeze.name}'; it has to be lifted.",
            code="nobody_may_override",
        )
    held = roles_over(by, plan, at=now)
    role: str | None = next((role for role in freeze.overriders if role in held), None)
    if role is None:
        roles = " or ".join(role.replace("_", " ") for role in freeze.overriders)
        raise NotAllowed(
            f"You may not override the freeze '{freeze.name}'; that takes the role {roles}"
            " over all tenants of the plan."
        )
    return role


def _locked(freeze_id: Any) -> Freeze:
    freeze = Freeze.objects.select_for_update(no_key=True).filter(pk=freeze_id).first()
    if freeze is None:
        raise NotFound("There is no such freeze.")
    return freeze


def _refuse_over(freeze: Freeze, now: datetime) -> None:
    stage = freeze.stage(now)
    if stage == "lifted":
        raise FreezeIsOver(f"The freeze '{freeze.name}' was lifted already.")
    if stage == "past":
        raise FreezeIsOver(f"The freeze '{freeze.name}' has ended by itself.")


def scope_words(freeze: Freeze) -> str:
    """Return what the freeze covers, in words."""
    parts = []
    if freeze.tenants:
        shown = ", ".join(freeze.tenants[:5]) + (" …" if len(freeze.tenants) > 5 else "")
        parts.append(shown)
    if freeze.labels:
        parts.append("tenants with " + ", ".join(f"{k}={v}" for k, v in freeze.labels.items()))
    whom = " and ".join(parts) or "every tenant"
    return f"{freeze.plugin.key} on {whom}" if freeze.plugin else whom


def span_words(freeze: Freeze) -> str:
    """Return from when to when it holds, in words."""
    until = f"until {freeze.ends_at:%Y-%m-%d %H:%M} UTC" if freeze.ends_at else "until it is lifted"
    return f"from {freeze.begins_at:%Y-%m-%d %H:%M} UTC {until}"


def _tell(freeze: Freeze, kind: str, sentence: str, *, by: User, via: str, now: datetime) -> None:
    """Write the event to the plans that are held up, in a fixed order, and to the system."""
    for stream in (*held_plans(freeze), None):
        events.record(
            stream=stream,
            kind=kind,
            sentence=sentence,
            actor=by,
            via=via,
            now=now,
            payload={
                "freeze": str(freeze.pk),
                "name": freeze.name,
                "reason": freeze.reason,
                "begins_at": freeze.begins_at.isoformat(),
                "ends_at": freeze.ends_at.isoformat() if freeze.ends_at else None,
                "overriders": freeze.overriders,
            },
        )
