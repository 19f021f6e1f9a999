"""API tokens: a machine's access in a person's name, made once, shown once, kept as a hash."""

import hashlib
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from plans.models import ApiToken, RoleBinding, User
from plans.models.people import ApiTokenQuerySet
from plans.people.permissions import may, require
from plans.people.token_scopes import SCOPES, no_wider
from plans.reach import EVERYTHING, selector_problems, selector_words
from plans.reading_direction import turning_problems
from plans.refusal import BadInput, NotAllowed, NotFound, Refused
from plans.trail import events

MARK = "upc_"
PREFIX_LENGTH = 12
LONGEST_DAYS = 366


class AlreadyRevoked(Refused):
    """The token is dead already."""

    default_code = "already_revoked"


class WiderThanItself(NotAllowed):
    """A token was to make a token that reaches further than it does."""

    default_code = "wider_than_its_maker"


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made; `secret` exists nowhere else and is never shown again."""

    token: ApiToken
    secret: str


def hashed(secret: str) -> str:
    """Return what is kept of a secret; it is 256 random bits, so one round of SHA-256 will do."""
    return hashlib.sha256(secret.encode()).hexdigest()


@transaction.atomic
def make_token(
    *,
    user: User,
    name: str,
    days: int,
    scopes: Sequence[str] = (),
    selector: Mapping[str, str] | None = None,
    by: User | None,
    now: datetime,
    via: str,
) -> NewToken:
    """Make a token for `user`; `by` None is a command run on the machine itself.

    People make their own. An administrator makes those of machines (people who never log in), and
    such a token approves nothing: else whoever makes it could say yes in the other's name. A token
    makes none that is wider or outlives it. Raise BadInput for an unusable name, time, scope or
    selector, NotAllowed for anything else that is not theirs to do.
    """
    wanted = dict(sorted((selector or {}).items()))
    until = now + timedelta(days=min(max(days, 0), LONGEST_DAYS))
    if by is not None:
        _require_maker(by, user)
        _refuse_wider(by, scopes, wanted, until)
    problems = [*_problems(user, name, days, scopes), *selector_problems(wanted)]
    if problems:
        raise BadInput(problems)
    secret = MARK + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=user,
        name=name.strip(),
        prefix=secret[:PREFIX_LENGTH],
        token_hash=hashed(secret),
        scopes=list(scopes),
        selector=wanted,
        expires_at=until,
        made_by=by,
    )
    reach = ", ".join(scopes) or "everything that the person may do"
    where = f" for {selector_words(wanted)}" if wanted else ""
    events.record(
        stream=None,
        kind="api_token_made",
        sentence=f"An API token '{token.name}' was made for {user.get_full_name()}:"
        f" {reach}{where}, until {token.expires_at:%Y-%m-%d}.",
        actor=by,
        via=via,
        now=now,
        payload={
            "token": str(token.pk),
            "user": str(user.pk),
            "scopes": list(scopes),
            "selector": wanted,
        },
    )
    return NewToken(token, secret)


def _require_maker(by: User, user: User) -> None:
    require(by, "hold_tokens")
    if by.pk == user.pk:
        return
    require(by, "administer")
    if user.has_usable_password() or user.last_login is not None:
        raise NotAllowed(
            f"{user.get_full_name()} logs in and makes such tokens under API tokens; an"
            " administrator makes those of machines, which never log in."
        )


def _refuse_wider(
    by: User, scopes: Sequence[str], selector: Mapping[str, str], until: datetime
) -> None:
    """Raise WiderThanItself when a token asks for a token beyond itself."""
    token = by.acting_token
    if token is None:
        return
    inside = EVERYTHING.narrowed(selector)
    if not no_wider(scopes, token.scopes) or inside.narrowed(token.selector) != inside:
        raise WiderThanItself("A token makes no token that may do more than it may itself.")
    if token.expires_at is not None and until > token.expires_at:
        raise WiderThanItself(
            f"A token makes no token that outlives it; it ends on {token.expires_at:%Y-%m-%d %H:%M}"
            " UTC."
        )


def tokens_for(person: User, *, everybodys: bool) -> ApiTokenQuerySet:
    """Return the person's own tokens, newest first; everybody's only to who administers."""
    tokens = ApiToken.objects.select_related("user", "made_by", "revoked_by").order_by(
        "-created_at", "pk"
    )
    if everybodys:
        require(person, "administer")
        return tokens
    return tokens.filter(user=person)


@transaction.atomic
def revoke_token(*, token_id: uuid.UUID, by: User, now: datetime, via: str) -> ApiToken:
    """Revoke a token for good: one's own, or as an administrator anybody's.

    Raise NotFound for a token that is not theirs to see, AlreadyRevoked when it is dead.
    """
    require(by, "hold_tokens")
    token = ApiToken.objects.select_related("user").filter(pk=token_id).first()
    if token is None or not (token.user_id == by.pk or may(by, "administer")):
        raise NotFound("There is no such token.")
    revoked = ApiToken.objects.filter(pk=token.pk, revoked_at=None)
    if not revoked.update(revoked_at=now, revoked_by=by):
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
    token.revoked_at, token.revoked_by = now, by
    return token


def has_ended(user: User, *, at: datetime) -> bool:
    """Tell whether the person held roles and all of them are over: then their tokens are, too."""
    bindings = RoleBinding.objects.filter(user=user)
    return not bindings.in_force(at).exists() and bindings.exists()


def _problems(user: User, name: str, days: int, scopes: Sequence[str]) -> list[str]:
    problems = []
    if not name.strip():
        problems.append("name: say what the token is for, e.g. 'release pipeline'")
    problems += turning_problems(name)
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
