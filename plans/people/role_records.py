"""Roles as they are written down: what is wrong with one, its row, its event, its words."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from plans.models import CONSOLE_ROLES, RoleBinding, RoleRequest, User
from plans.reach import selector_problems, selector_words
from plans.refusal import Refused
from plans.trail import events

KNOWN_CONSOLE_ROLES = tuple(role for role, _label in CONSOLE_ROLES)


class HoldsItAlready(Refused):
    """The person holds exactly this role for exactly these tenants, or it was asked for."""

    default_code = "holds_it_already"


def problems_with(
    user: User,
    kind: str,
    role: str,
    selector: Mapping[str, Any],
    expires_at: datetime | None,
    now: datetime,
) -> list[str]:
    """Return all that is wrong with giving this role, nothing where it can be given."""
    problems = []
    if kind not in (RoleBinding.CONSOLE, RoleBinding.APPROVAL):
        problems.append("kind: write console or approval")
    if kind == RoleBinding.CONSOLE and role not in KNOWN_CONSOLE_ROLES:
        problems.append(f"role: a console role is one of {', '.join(KNOWN_CONSOLE_ROLES)}")
    if not role.strip():
        problems.append("role: for an approval role write the policy's label, e.g. system_admin")
    if expires_at is not None and expires_at <= now:
        problems.append("expires_at: this time has passed; leave it empty for no end")
    if not user.is_active:
        problems.append(f"user: {user.email} is not active; let them in again first")
    return problems + selector_problems(selector)


def refuse_held_already(
    user: User, kind: str, role: str, selector: Mapping[str, str], now: datetime
) -> None:
    """Raise HoldsItAlready when the person holds exactly this."""
    held = RoleBinding.objects.in_force(now).filter(
        user=user, kind=kind, role=role, selector=selector
    )
    if held.exists():
        raise HoldsItAlready(
            f"{user.get_full_name()} is {shown(role)} for {selector_words(selector)} already; end"
            " that first to give it for another time."
        )


def bind(binding: RoleBinding, *, by: User | None, now: datetime, via: str) -> RoleBinding:
    """Keep the binding and tell of it; one that had expired is closed, so that it is open once."""
    RoleBinding.objects.filter(
        user=binding.user,
        kind=binding.kind,
        role=binding.role,
        selector=binding.selector,
        ended_at=None,
        expires_at__lte=now,
    ).update(ended_at=now)
    binding.save()
    until = f" until {binding.expires_at:%Y-%m-%d %H:%M} UTC" if binding.expires_at else ""
    second = (
        f", confirmed by {binding.confirmed_by.get_full_name()}" if binding.confirmed_by else ""
    )
    giver = binding.given_by.get_full_name() if binding.given_by else "The console"
    events.record(
        stream=None,
        kind="role_given",
        sentence=f"{giver} made {binding.user.get_full_name()} {shown(binding.role)}"
        f" ({binding.get_kind_display().lower()}) for {selector_words(binding.selector)}"
        f"{until}{second}{because(binding.why)}.",
        actor=by,
        via=via,
        now=now,
        payload=facts(binding),
    )
    return binding


def end_bindings(bindings: list[RoleBinding], why: str, by: User | None, now: datetime) -> None:
    """End these bindings; the caller tells the trail."""
    for binding in bindings:
        binding.ended_at, binding.ended_by, binding.ended_why = now, by, why
        # One by one: the field-level history sees no bulk update.
        binding.save()


def shown(role: str) -> str:
    """Return a role as sentences name it."""
    return role.replace("_", " ") if role in KNOWN_CONSOLE_ROLES else role


def who(by: User | None) -> str:
    """Return whose act it was, as a sentence begins."""
    return by.get_full_name() if by is not None else "The console"


def because(why: str) -> str:
    """Return the reason as a sentence ends with it, nothing where none was given."""
    return f": {why.strip().rstrip('.')}" if why.strip() else ""


def facts(row: RoleBinding | RoleRequest) -> dict[str, Any]:
    """Return what events tell of it."""
    return {
        "id": str(row.pk),
        "user": str(row.user_id),
        "kind": row.kind,
        "role": row.role,
        "selector": row.selector,
        "expires_at": row.expires_at.isoformat() if row.expires_at else None,
    }
