"""What a token may be narrowed to: names for groups of the actions of plans.people.permissions."""

from collections.abc import Sequence

SCOPES = {
    "read": frozenset({"view", "read_trail"}),
    "plan": frozenset({"draft", "submit", "adjust", "cancel", "archive", "probe"}),
    "approve": frozenset({"approve", "review_break_glass"}),
    "break_glass": frozenset({"break_glass"}),
    "operate": frozenset(
        {
            *("start", "pause", "resume", "rollback", "promote", "settle"),
            *("retry", "exclude", "skip", "stop", "freeze", "override_freeze", "probe"),
            "quarantine",
        }
    ),
    "push": frozenset({"push"}),
    "manage": frozenset({"manage_tenants", "manage_releases", "manage_policies"}),
}


def covers(scopes: Sequence[str], action: str) -> bool:
    """Tell whether a token with these scopes may be used for the action; no scopes = all."""
    return not scopes or any(action in SCOPES.get(scope, frozenset()) for scope in scopes)


def no_wider(scopes: Sequence[str], than: Sequence[str]) -> bool:
    """Tell whether the first scopes allow nothing that the second do not."""
    return not than or (bool(scopes) and set(scopes) <= set(than))
