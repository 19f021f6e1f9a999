"""API tokens: a machine's access in a person's name, made once, shown once, kept as a hash."""

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from plans import events
from plans.models import ApiToken, User
from plans.permissions import require
from plans.refusal import BadInput, Refused

MARK = "upc_"
PREFIX_LENGTH = 12
LONGEST_DAYS = 366

# What a token may be narrowed to; the actions are those of plans.permissions.
SCOPES = {
    "read": frozenset({"view", "read_trail"}),
    "plan": frozenset({"draft", "submit", "adjust", "cancel", "archive", "probe"}),
    "approve": frozenset({"approve"}),
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


class AlreadyRevoked(Refused):
    """The token is dead already."""

    default_code = "already_revoked"


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made; `secret` exists nowhere else and is never shown again."""

    token: ApiToken
    secret: str


def hashed(secret: str) -> str:
    """Return what is kept of a secret; it is 256 random bits, so one round of SHA-256 will do."""
    return hashlib.sha256(secret.encode()).hexdigest()


def covers(scopes: Sequence[str], action: str) -> bool:
    """Tell whether a token with these scopes may be used for the action; no scopes = all."""
    return not scopes or any(action in SCOPES.get(scope, frozenset()) for scope in scopes)


@transaction.atomic
def make_token(
    *,
    user: User,
    name: str,
    days: int,
    scopes: Sequence[str] = (),
    by: User | None,
    now: datetime,
    via: str,
) -> NewToken:
    """Make a token for `user`; `by` None is a command run on the machine itself.

    Raise BadInput for an unusable name, time or scope, NotAllowed unless `by` administers.
    """
    if by is not None:
        require(by, "administer")
    problems = _problems(user, name, days, scopes)
    if problems:
        raise BadInput(problems)
    secret = MARK + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=user,
        name=name.strip(),
        prefix=secret[:PREFIX_LENGTH],
        token_hash=hashed(secret),
        scopes=list(scopes),
        expires_at=now + timedelta(days=days),
    )
    reach = ", ".join(scopes) or "everything that the person may do"
    events.record(
        stream=None,
        kind="api_token_made",
        sentence=f"An API token '{token.name}' was made for {user.get_full_name()}: {reach}, "
        f"until {token.expires_at:%Y-%m-%d}.",
        actor=by,
        via=via,
        now=now,
        payload={"token": str(token.pk), "user": str(user.pk), "scopes": list(scopes)},
    )
    return NewToken(token, secret)


@transaction.atomic
def revoke_token(*, token_id: uuid.UUID, by: User, now: datetime, via: str) -> ApiToken:
    """Revoke a token for good; raise AlreadyRevoked when it is."""
    require(by, "administer")
    token = ApiToken.objects.select_related("user").get(pk=token_id)
    if not ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now):
        raise AlreadyRevoked(f"The token '{token.name}' is revoked already.")
    events.record(
        stream=None,
        kind="api_token_revoked",
        sentence=f"The API token '{token.name}' of {token.user.get_full_name()} was revoked.",
        actor=by,
        via=via,
        now=now,
        payload={"token": str(token.pk), "user": str(token.user_id)},
    )
    token.revoked_at = now
    return token


def _problems(user: User, name: str, days: int, scopes: Sequence[str]) -> list[str]:
    problems = []
    if not name.strip():
        problems.append("name: say what the token is for, e.g. 'release pipeline'")
    if not 1 <= days <= LONGEST_DAYS:
        problems.append(f"days: {days} is not between 1 and {LONGEST_DAYS}")
    if not user.is_active:
        problems.append(f"{user.email} is not active; tokens are for active people")
    problems += [
        f"scopes: {scope!r} is not one of {', '.join(SCOPES)}"
        for scope in scopes
        if scope not in SCOPES
    ]
    return problems
