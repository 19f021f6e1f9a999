"""What the bindings of a person add up to: over which tenants they hold some roles."""

from collections.abc import Collection
from datetime import datetime

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
    found = RoleBinding.objects.in_force(at or timezone.now()).filter(user=user)
    reach = Reach.of(
        binding.selector
        for binding in found
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
