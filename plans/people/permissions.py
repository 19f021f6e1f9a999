"""Who may do what: console roles as sets of actions, bound to people for a time and some tenants.

Pages, REST, admin and commands all ask here. Approving is a right of its own: it needs the
approval role that the policy names, and no console role replaces it.

A right over a plan is a right over each of its tenants. Asked without a plan, `may` tells whether
there is any tenant for which the person may do it; whoever acts on tenants beside plans asks
`require_over` or `reach_of`. A token takes away from the rights of its person and never adds.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any

from django.contrib.auth.models import AnonymousUser

from plans.models import Plan, PlanTenant, RoleBinding, Tenant, User
from plans.models.rights import SEEING_ROLES, bindings_in_force, reach_of_roles
from plans.people.token_scopes import covers
from plans.reach import NOTHING, Reach
from plans.refusal import NotAllowed

ROLES_OF_ACTION: dict[str, frozenset[str]] = {
    "view": SEEING_ROLES,
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
    "break_glass": frozenset({"break_glass"}),
    "review_break_glass": frozenset({"auditor", "administrator"}),
    "read_trail": frozenset({"auditor", "administrator"}),
    "review_access": frozenset({"auditor", "administrator"}),
    "hold_tokens": SEEING_ROLES | {"telemetry"},
}
PLATFORM_ACTIONS = frozenset({"administer", "manage_policies", "read_trail", "review_access"})
"""Acts that concern all tenants at once: a role for some of them does not reach that far."""
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
    "break_glass": "act without the approvers",
    "review_break_glass": "review what was done without the approvers",
    "read_trail": "read the system's trail",
    "review_access": "see who may do what",
    "hold_tokens": "make API tokens",
}


def reach_of(user: User | AnonymousUser, action: str, *, at: datetime | None = None) -> Reach:
    """Return the tenants over which the person may do the action."""
    if not isinstance(user, User) or not _let_by_token(user, action):
        return NOTHING
    return reach_of_roles(
        user,
        console=ROLES_OF_ACTION[action],
        approval=None if action == "view" else (),
        at=at,
    )


def _let_by_token(user: User, action: str) -> bool:
    # Looking at what an act is about belongs to the act.
    token = user.acting_token
    return token is None or action == "view" or covers(token.scopes, action)


def covers_plan(reach: Reach, plan: Plan) -> bool:
    """Tell whether the reach covers every tenant of the plan."""
    if reach.everything or reach.nothing:
        return reach.everything
    beyond = PlanTenant.objects.filter(plan=plan).exclude(tenant__in=Tenant.objects.within(reach))
    return not beyond.exists()


def _roles_with_reach(user: User, kinds: Collection[str], at: datetime) -> Mapping[str, Reach]:
    """Return each role that the person holds, with the tenants for which they do."""
    if not user.is_active:
        return {}
    selectors: dict[str, list[Any]] = {}
    for binding in bindings_in_force(user, at):
        if binding.kind in kinds:
            selectors.setdefault(binding.role, []).append(binding.selector)
    token = user.acting_token
    narrowing = {} if token is None else token.selector
    return {role: Reach.of(found).narrowed(narrowing) for role, found in selectors.items()}


def console_roles(user: User, *, at: datetime) -> set[str]:
    """Return the console roles that the person holds now, for some tenants at least."""
    held = _roles_with_reach(user, (RoleBinding.CONSOLE,), at)
    return {role for role, reach in held.items() if not reach.nothing}


def approval_roles(
    user: User,
    *,
    at: datetime,
    plan: Plan | None = None,
    tenants: Iterable[Mapping[str, Any]] | None = None,
) -> set[str]:
    """Return the approval roles that the person may stand for, on that plan or on these tenants.

    `tenants` as in `require_over`. No role through a token that somebody else made: a yes is a
    person's own.
    """
    token = user.acting_token
    if token is not None and (token.is_a_strangers or not covers(token.scopes, "approve")):
        return set()
    held = _roles_with_reach(user, (RoleBinding.APPROVAL,), at)
    over = None if tenants is None else list(tenants)
    return {
        role
        for role, reach in held.items()
        if not reach.nothing
        and (plan is None or covers_plan(reach, plan))
        and (over is None or all(reach.covers(labels) for labels in over))
    }


def roles_over(user: User, plan: Plan, *, at: datetime) -> set[str]:
    """Return every role, console or approval, that the person holds over all of the plan."""
    if not _let_by_token(user, "override_freeze"):
        return set()
    held = _roles_with_reach(user, (RoleBinding.CONSOLE, RoleBinding.APPROVAL), at)
    return {role for role, reach in held.items() if covers_plan(reach, plan)}


def may(user: User | AnonymousUser, action: str, plan: Plan | None = None) -> bool:
    """Tell whether the person may do the action (on that plan)."""
    reach = reach_of(user, action)
    if action in PLATFORM_ACTIONS:
        return reach.everything
    return not reach.nothing if plan is None else covers_plan(reach, plan)


def what_they_may(user: User, actions: Iterable[str], plan: Plan) -> dict[str, bool]:
    """Return `may` for several actions on one plan; equal reaches look at its tenants once."""
    known: dict[Reach, bool] = {}
    told: dict[str, bool] = {}
    for action in actions:
        reach = reach_of(user, action)
        if reach not in known:
            known[reach] = covers_plan(reach, plan)
        told[action] = reach.everything if action in PLATFORM_ACTIONS else known[reach]
    return told


def require(user: User | AnonymousUser, action: str, plan: Plan | None = None) -> None:
    """Raise NotAllowed, naming the roles that may, unless the person may."""
    if not may(user, action, plan):
        raise NotAllowed(_why_not(user, action))


def require_over(user: User, action: str, tenants: Iterable[Mapping[str, Any]]) -> None:
    """Raise NotAllowed unless the person may do it for every tenant, given by its labels.

    The labels of a rule (a freeze, a choice) stand for every tenant that carries them; no labels at
    all for every tenant there is.
    """
    reach = reach_of(user, action)
    if reach.nothing or not all(reach.covers(labels) for labels in tenants):
        raise NotAllowed(_why_not(user, action))


def _why_not(user: User | AnonymousUser, action: str) -> str:
    if isinstance(user, User) and not _let_by_token(user, action):
        scopes = ", ".join(user.acting_token.scopes) if user.acting_token else ""
        return f"This token is for {scopes} only; '{action}' is not part of it."
    roles = " or ".join(sorted(role.replace("_", " ") for role in ROLES_OF_ACTION[action]))
    reach = reach_of(user, action)
    if reach.nothing:
        return f"You may not {WORDS[action]}; that takes the role {roles}."
    if action in PLATFORM_ACTIONS:
        return (
            f"You may not {WORDS[action]}; that takes the role {roles} over all tenants, and yours"
            f" is for {reach.words()}."
        )
    return f"You may {WORDS[action]} for {reach.words()} only; this concerns tenants beyond that."
