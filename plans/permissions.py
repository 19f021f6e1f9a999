"""Who may do what: console roles as sets of actions, bound to people for a time and some tenants.

Pages, REST, admin and commands all ask here. Approving is a right of its own: it needs the
approval role that the policy names, and no console role replaces it.
"""

from datetime import datetime
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from plans.models import Plan, PlanTenant, RoleBinding, User
from plans.refusal import NotAllowed

ROLES_OF_ACTION: dict[str, frozenset[str]] = {
    "view": frozenset(
        {"viewer", "operator", "release_manager", "approver", "auditor", "administrator"}
    ),
    "draft": frozenset({"release_manager"}),
    "submit": frozenset({"release_manager"}),
    "start": frozenset({"release_manager", "operator"}),
    "pause": frozenset({"operator", "release_manager", "administrator"}),
    "resume": frozenset({"operator", "release_manager"}),
    "rollback": frozenset({"operator", "release_manager", "administrator"}),
    "promote": frozenset({"operator", "release_manager"}),
    "adjust": frozenset({"release_manager"}),
    "settle": frozenset({"operator", "release_manager"}),
    "retry": frozenset({"operator", "release_manager"}),
    "exclude": frozenset({"operator", "release_manager"}),
    "skip": frozenset({"operator", "release_manager"}),
    "stop": frozenset({"operator", "release_manager"}),
    "cancel": frozenset({"release_manager"}),
    "archive": frozenset({"release_manager", "administrator"}),
    "freeze": frozenset({"operator", "release_manager", "administrator"}),
    "probe": frozenset({"operator", "release_manager", "administrator"}),
    "manage_tenants": frozenset({"release_manager", "administrator"}),
    "manage_releases": frozenset({"release_manager", "administrator"}),
    "quarantine": frozenset({"operator", "release_manager", "administrator"}),
    "manage_policies": frozenset({"administrator"}),
    "push": frozenset({"telemetry", "operator", "release_manager", "administrator"}),
    "administer": frozenset({"administrator"}),
    "read_trail": frozenset({"auditor", "administrator"}),
}
WORDS = {
    "view": "look at this",
    "draft": "draft plans",
    "submit": "submit plans",
    "start": "start plans",
    "pause": "pause plans",
    "resume": "resume plans",
    "rollback": "roll plans back",
    "promote": "let the next batch begin",
    "adjust": "change running plans",
    "settle": "settle tenants that need a hand",
    "retry": "have failed tenants called again",
    "exclude": "leave tenants out of a running plan",
    "skip": "skip batches",
    "stop": "stop plans where they stand",
    "cancel": "cancel plans",
    "archive": "archive plans",
    "freeze": "declare or lift a freeze",
    "probe": "probe metric sources",
    "manage_tenants": "change tenants",
    "manage_releases": "register releases",
    "quarantine": "put releases into quarantine",
    "manage_policies": "change policies",
    "push": "send metrics and pipeline events",
    "administer": "administer the console",
    "read_trail": "read the system's trail",
}


def _covers(binding: RoleBinding, plan: Plan | None) -> bool:
    """Tell whether the binding's tenant selector covers every tenant of the plan."""
    selector: dict[str, Any] = binding.selector
    if not selector or plan is None:
        return True
    labels = PlanTenant.objects.filter(plan=plan).values_list("tenant__labels", flat=True)
    return all(
        all(label.get(name) == value for name, value in selector.items())
        for label in labels.iterator()
    )


def console_roles(user: User, *, at: datetime) -> set[str]:
    """Return the console roles that the person holds now."""
    roles = set(
        RoleBinding.objects.in_force(at)
        .filter(user=user, kind=RoleBinding.CONSOLE)
        .values_list("role", flat=True)
    )
    if user.is_superuser:
        roles.add("administrator")
    return roles


def approval_roles(user: User, *, at: datetime, plan: Plan | None = None) -> set[str]:
    """Return the approval roles that the person may stand for (on that plan's tenants)."""
    if not user.is_active:
        return set()
    bindings = RoleBinding.objects.in_force(at).filter(user=user, kind=RoleBinding.APPROVAL)
    return {binding.role for binding in bindings if _covers(binding, plan)}


def roles_over(user: User, plan: Plan, *, at: datetime) -> set[str]:
    """Return every role, console or approval, that the person holds over all of the plan."""
    if not user.is_active:
        return set()
    bindings = RoleBinding.objects.in_force(at).filter(user=user)
    roles = {binding.role for binding in bindings if _covers(binding, plan)}
    return roles | {"administrator"} if user.is_superuser else roles


def may(user: User | AnonymousUser, action: str, plan: Plan | None = None) -> bool:
    """Tell whether the person may do the action (on that plan)."""
    wanted = ROLES_OF_ACTION[action]
    if not isinstance(user, User) or not user.is_active:
        return False
    if user.is_superuser and "administrator" in wanted:
        return True
    now = timezone.now()
    bindings = RoleBinding.objects.in_force(now).filter(user=user)
    for binding in bindings:
        if binding.kind == RoleBinding.APPROVAL:
            if action == "view" and _covers(binding, plan):
                return True
        elif binding.role in wanted and _covers(binding, plan):
            return True
    return False


def require(user: User | AnonymousUser, action: str, plan: Plan | None = None) -> None:
    """Raise NotAllowed, naming the roles that may, unless the person may."""
    if not may(user, action, plan):
        roles = " or ".join(sorted(role.replace("_", " ") for role in ROLES_OF_ACTION[action]))
        raise NotAllowed(f"You may not {WORDS[action]}; that takes the role {roles}.")
