"""Give roles and end them; an administrator's own approval role takes a second administrator.

Roles are never edited: another reach or another day is another binding. So what somebody held at
any time can be read from the rows.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q

from plans import events
from plans.models import CONSOLE_ROLES, RoleBinding, RoleRequest, User
from plans.permissions import may, require
from plans.reach import selector_problems, selector_words
from plans.refusal import BadInput, NotAllowed, NotFound, Refused

ADMINISTRATOR = "administrator"
KNOWN_CONSOLE_ROLES = tuple(role for role, _label in CONSOLE_ROLES)


class HoldsItAlready(Refused):
    """The person holds exactly this role for exactly these tenants, or has asked for it."""

    default_code = "holds_it_already"


class HasEnded(Refused):
    """The binding has been ended already."""

    default_code = "has_ended"


class LastAdministrator(Refused):
    """Nobody could administer the console any more."""

    default_code = "last_administrator"


class DecidedAlready(Refused):
    """Somebody has confirmed or refused it."""

    default_code = "already_decided"


@transaction.atomic
def give_role(
    *,
    user: User,
    kind: str,
    role: str,
    by: User | None,
    now: datetime,
    via: str,
    selector: Mapping[str, str] | None = None,
    expires_at: datetime | None = None,
    why: str = "",
) -> RoleBinding | RoleRequest:
    """Give a role; `by` None is a command run on the machine itself.

    An approval role that an administrator gives to themselves waits for another administrator:
    then what comes back is the request, and nothing has been given.
    Raise BadInput with all problems, HoldsItAlready, NotAllowed.
    """
    if by is not None:
        require(by, "administer")
    wanted = dict(sorted((selector or {}).items()))
    if problems := _problems(user, kind, role, wanted, expires_at, now):
        raise BadInput(problems)
    # Two at once see each other's: the trail's lock is taken before what they could both do.
    events.lock_system_stream()
    open_one = RoleBinding.objects.filter(
        user=user, kind=kind, role=role, selector=wanted, ended_at=None
    ).first()
    if open_one is not None and (open_one.expires_at is None or open_one.expires_at > now):
        raise HoldsItAlready(
            f"{user.get_full_name()} is {_shown(role)} for {selector_words(wanted)} already; end"
            " that first to give it for another time."
        )
    if kind == RoleBinding.APPROVAL and by is not None and by.pk == user.pk:
        return _ask(user, role, wanted, expires_at, why, now, via)
    made = RoleBinding(
        user=user,
        kind=kind,
        role=role,
        selector=wanted,
        expires_at=expires_at,
        why=why.strip(),
        given_by=by,
    )
    return _bind(made, by=by, now=now, via=via)


def _problems(
    user: User,
    kind: str,
    role: str,
    selector: Mapping[str, Any],
    expires_at: datetime | None,
    now: datetime,
) -> list[str]:
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


def _ask(
    user: User,
    role: str,
    selector: dict[str, str],
    expires_at: datetime | None,
    why: str,
    now: datetime,
    via: str,
) -> RoleRequest:
    if RoleRequest.objects.filter(user=user, role=role, selector=selector, outcome="").exists():
        raise HoldsItAlready(
            f"You have asked to be {_shown(role)} for {selector_words(selector)} already; another"
            " administrator has to confirm it."
        )
    request = RoleRequest.objects.create(
        user=user, role=role, selector=selector, expires_at=expires_at, why=why.strip(),
        asked_at=now,
    )  # fmt: skip
    events.record(
        stream=None,
        kind="role_asked",
        sentence=f"{user.get_full_name()}, who administers, asked to be {_shown(role)} for"
        f" {selector_words(selector)}; another administrator has to confirm it{because(why)}.",
        actor=user,
        via=via,
        now=now,
        payload=_facts(request),
    )
    return request


def _bind(binding: RoleBinding, *, by: User | None, now: datetime, via: str) -> RoleBinding:
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
        sentence=f"{giver} made {binding.user.get_full_name()} {_shown(binding.role)}"
        f" ({binding.get_kind_display().lower()}) for {selector_words(binding.selector)}"
        f"{until}{second}{because(binding.why)}.",
        actor=by,
        via=via,
        now=now,
        payload=_facts(binding) | {"kind": binding.kind},
    )
    return binding


@transaction.atomic
def confirm_role(*, request_id: uuid.UUID, by: User, now: datetime, via: str) -> RoleBinding:
    """Confirm as the second administrator; it counts from now on.

    Never by who asked, nor by somebody who became an administrator after that: whoever could make
    the second person would need none.
    """
    require(by, "administer")
    events.lock_system_stream()
    request = _open_request(request_id)
    if request.user_id == by.pk:
        raise NotAllowed("You asked for this role yourself; another administrator confirms it.")
    if not may_second(request, by, now):
        raise NotAllowed(
            "You have become an administrator after this was asked; somebody who was one then has"
            " to confirm it."
        )
    user = request.user
    problems = _problems(
        user, RoleBinding.APPROVAL, request.role, request.selector, request.expires_at, now
    )
    if problems:
        raise BadInput(problems)
    _decide(request, RoleRequest.CONFIRMED, by, "", now)
    made = RoleBinding(
        user=user,
        kind=RoleBinding.APPROVAL,
        role=request.role,
        selector=request.selector,
        expires_at=request.expires_at,
        why=request.why,
        given_by=user,
        confirmed_by=by,
    )
    return _bind(made, by=by, now=now, via=via)


def may_second(request: RoleRequest, by: User, now: datetime) -> bool:
    """Tell whether the person is another administrator, and was one when it was asked."""
    held = RoleBinding.objects.in_force(now).filter(
        user=by,
        kind=RoleBinding.CONSOLE,
        role=ADMINISTRATOR,
        selector={},
        created_at__lte=request.asked_at,
    )
    return request.user_id != by.pk and held.exists()


@transaction.atomic
def refuse_role(
    *, request_id: uuid.UUID, why: str, by: User, now: datetime, via: str
) -> RoleRequest:
    """Refuse a role that was asked for, or take one's own request back."""
    require(by, "administer")
    events.lock_system_stream()
    request = _open_request(request_id)
    own = request.user_id == by.pk
    if not own and not why.strip():
        raise BadInput(["reason: say why; whoever asked reads it"])
    _decide(request, RoleRequest.WITHDRAWN if own else RoleRequest.REFUSED, by, why, now)
    verb = "no longer asks" if own else f"refused {request.user.get_full_name()}'s request"
    events.record(
        stream=None,
        kind="role_withdrawn" if own else "role_refused",
        sentence=f"{by.get_full_name()} {verb} to be {_shown(request.role)}{because(why)}.",
        actor=by,
        via=via,
        now=now,
        payload=_facts(request) | {"reason": why.strip()},
    )
    return request


def _open_request(request_id: uuid.UUID) -> RoleRequest:
    request = RoleRequest.objects.select_related("user").filter(pk=request_id).first()
    if request is None:
        raise NotFound("There is no such request for a role.")
    if request.outcome:
        raise DecidedAlready(f"This was {request.get_outcome_display().lower()} already.")
    return request


def _decide(request: RoleRequest, outcome: str, by: User, why: str, now: datetime) -> None:
    request.outcome, request.decided_by, request.decided_at = outcome, by, now
    request.decided_why = why.strip()
    request.save()


@transaction.atomic
def end_role(
    *, binding_id: uuid.UUID, why: str, by: User | None, now: datetime, via: str
) -> RoleBinding:
    """End a role now; that it was held stays. Raise HasEnded, LastAdministrator, BadInput."""
    if by is not None:
        require(by, "administer")
    if not why.strip():
        raise BadInput(["reason: say why the role ends"])
    events.lock_system_stream()
    binding = RoleBinding.objects.select_related("user").filter(pk=binding_id).first()
    if binding is None:
        raise NotFound("There is no such role.")
    if not RoleBinding.objects.in_force(now).filter(pk=binding.pk).exists():
        raise HasEnded(f"{binding.user.get_full_name()} does not hold this role any more.")
    refuse_last_administrator({binding.pk}, now)
    end_bindings([binding], why.strip(), by, now)
    events.record(
        stream=None,
        kind="role_ended",
        sentence=f"{who(by)} ended that {binding.user.get_full_name()} is"
        f" {_shown(binding.role)} for {selector_words(binding.selector)}{because(why)}.",
        actor=by,
        via=via,
        now=now,
        payload=_facts(binding) | {"kind": binding.kind, "reason": why.strip()},
    )
    return binding


def end_bindings(bindings: list[RoleBinding], why: str, by: User | None, now: datetime) -> None:
    """End these bindings; the caller tells the trail."""
    for binding in bindings:
        binding.ended_at, binding.ended_by, binding.ended_why = now, by, why
        # One by one: the field-level history sees no bulk update.
        binding.save()


def refuse_last_administrator(ending: set[uuid.UUID], now: datetime) -> None:
    """Raise LastAdministrator when nobody would administer all of the console afterwards."""
    # One that ends by itself one day is no one to rely on.
    lasting = RoleBinding.objects.filter(
        Q(expires_at=None),
        kind=RoleBinding.CONSOLE,
        role=ADMINISTRATOR,
        selector={},
        ended_at=None,
        user__is_active=True,
    )
    if lasting.filter(pk__in=ending).exists() and not lasting.exclude(pk__in=ending).exists():
        raise LastAdministrator(
            "Nobody else administers the console without an end; give that role to somebody first."
        )


def open_requests_for(person: User, *, now: datetime) -> list[tuple[RoleRequest, bool]]:
    """Return the requests that wait, each with whether this person may confirm it."""
    if not may(person, "administer"):
        return []
    waiting = RoleRequest.objects.filter(outcome="").select_related("user").order_by("asked_at")
    return [(request, may_second(request, person, now)) for request in waiting]


def _shown(role: str) -> str:
    return role.replace("_", " ") if role in KNOWN_CONSOLE_ROLES else role


def who(by: User | None) -> str:
    """Return whose act it was, as a sentence begins."""
    return by.get_full_name() if by is not None else "The console"


def because(why: str) -> str:
    """Return the reason as a sentence ends with it, nothing where none was given."""
    return f": {why.strip().rstrip('.')}" if why.strip() else ""


def _facts(row: RoleBinding | RoleRequest) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "user": str(row.user_id),
        "role": row.role,
        "selector": row.selector,
        "expires_at": row.expires_at.isoformat() if row.expires_at else None,
    }
