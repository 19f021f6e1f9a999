"""What the bindings of a person add up to: over which tenants they hold some roles."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from django.utils import timezone

from plans.models.people import RoleBinding, User
from plans.reach import NOTHING, Reach

SEEING_ROLES = frozenset(
    {
        *("viewer", "operator", "release_manager", "approver", "auditor", "administrator"),
        "break_glass",
    }
)
"""The console roles whose holders look at plans and tenants; those of approval all do."""

_kept: ContextVar[dict[Any, list[RoleBinding]] | None] = ContextVar("kept", default=None)


@contextmanager
def bindings_read_once() -> Iterator[None]:
    """Read the bindings of each person once while something is shown; an act reads them anew."""
    before = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(before)


def bindings_in_force(user: User, at: datetime) -> list[RoleBinding]:
    """Return the person's bindings that have neither expired nor been ended."""
    kept = _kept.get()
    if kept is None:
        return list(RoleBinding.objects.in_force(at).filter(user=user))
    if user.pk not in kept:
        kept[user.pk] = list(RoleBinding.objects.filter(user=user, ended_at=None))
    return [b for b in kept[user.pk] if b.expires_at is None or b.expires_at > at]


def reach_of_roles(
    user: User,
    *,
    console: Collection[str] = (),
    approval: Collection[str] | None = (),
    at: datetime | None = None,
) -> Reach:
    """Return over which tenants the person holds one of the roles; `approval` None = any label.

    A right over several tenants may come from several bindings: it is a right over each of them.
    """
    if not user.is_active:
        return NOTHING
    reach = Reach.of(
        binding.selector
        for binding in bindings_in_force(user, at or timezone.now())
        if (
            binding.role in console
            if binding.kind == RoleBinding.CONSOLE
            else approval is None or binding.role in approval
        )
    )
    token = user.acting_token
    return reach if token is None else reach.narrowed(token.selector)


def sight(user: User, *, at: datetime | None = None) -> Reach:
    """Return the tenants that exist for the person."""
    return reach_of_roles(user, console=SEEING_ROLES, approval=None, at=at)
