"""Roles that one person alone must not give: asked for by one administrator, confirmed by another.

Whoever could make an approver alone could approve alone, by an account of their own or by a
friend's. The same holds for who may pass over the approvers, and for who confirms: administrators.
"""

import uuid
from collections.abc import Iterable
from datetime import datetime

from django.db import transaction

from plans.models import Event, RoleBinding, RoleRequest, User
from plans.models.people import RoleBindingQuerySet
from plans.people.permissions import may, require
from plans.people.role_records import (
    HoldsItAlready,
    because,
    bind,
    facts,
    problems_with,
    refuse_held_already,
    shown,
)
from plans.reach import selector_words
from plans.refusal import BadInput, NotAllowed, NotFound, Refused
from plans.trail import events

ADMINISTRATOR = "administrator"
CONSOLE_ROLES_OF_TWO = frozenset({"break_glass", ADMINISTRATOR})
OPENINGS = ("factor_reset", "person_password_set", "person_email_changed", "sso_released")
"""The events of acts after which whoever did them may come in as that person."""


class DecidedAlready(Refused):
    """Somebody has confirmed or refused it."""

    default_code = "already_decided"


class NoSecondPerson(Refused):
    """Nobody is there who could confirm it."""

    default_code = "no_second_person"


class AskerGone(Refused):
    """Whoever asked for the role administers no more."""

    default_code = "asker_gone"


def takes_two(kind: str, role: str) -> bool:
    """Tell whether the role lets its holder approve, pass over approvers, or make those who do."""
    return kind == RoleBinding.APPROVAL or role in CONSOLE_ROLES_OF_TWO


def ask(request: RoleRequest, *, via: str) -> RoleRequest:
    """Keep the request and tell of it; raise HoldsItAlready, NoSecondPerson."""
    user, by, now = request.user, request.asked_by, request.asked_at
    words = f"{shown(request.role)} for {selector_words(request.selector)}"
    same = RoleRequest.objects.filter(
        user=user, kind=request.kind, role=request.role, selector=request.selector, outcome=""
    )
    if same.exists():
        raise HoldsItAlready(
            f"It was asked already that {user.get_full_name()} becomes {words}; another"
            " administrator has to confirm it."
        )
    if not has_second(user, by, now):
        options = [f"--label {name}={value}" for name, value in request.selector.items()]
        if request.kind == RoleBinding.APPROVAL:
            options.append("--approval")
        command = " ".join(("give_role", user.email, request.role, *options))
        raise NoSecondPerson(
            f"A second administrator has to confirm that {user.get_full_name()} becomes {words},"
            " and there is none; who opened a way into that account does not count. On the machine"
            " itself it can be given, which the trail tells:"
            f" ./console manage {command}"
        )
    request.save()
    asked = (
        f"{by.get_full_name()}, who administers, asked to be {words}"
        if user == by
        else f"{by.get_full_name()} asked that {user.get_full_name()} becomes {words}"
    )
    events.record(
        stream=None,
        kind="role_asked",
        sentence=f"{asked}; another administrator has to confirm it{because(request.why)}.",
        actor=by,
        via=via,
        now=now,
        payload=facts(request),
    )
    return request


def _administrators(now: datetime) -> RoleBindingQuerySet:
    """Return the roles of those who may be a second person now."""
    return RoleBinding.objects.in_force(now).filter(
        kind=RoleBinding.CONSOLE, role=ADMINISTRATOR, selector={}, user__is_active=True
    )


def has_second(user: User, by: User, now: datetime) -> bool:
    """Tell whether somebody is there who could confirm a role of `user` that `by` asks for now."""
    others = _administrators(now).exclude(user__in=(user, by)).select_related("user")
    return any(not has_opened(one.user, user) for one in others)


def has_opened(by: User, user: User) -> bool:
    """Tell whether `by` may be able to come in as `user`, by a factor, password, address or log-in.

    Since the last time that another administrator has confirmed a role of theirs: who confirms has
    made sure of the person.
    """
    opened = Event.objects.told_of(None).filter(
        actor=by, kind__in=OPENINGS, payload__user=str(user.pk)
    )
    sure = RoleRequest.objects.filter(user=user, outcome=RoleRequest.CONFIRMED)
    last = sure.order_by("-decided_at").values_list("decided_at", flat=True).first()
    return by.pk != user.pk and (opened.filter(at__gt=last) if last else opened).exists()


def warning_of(request: RoleRequest) -> str:
    """Return what the second administrator has to make sure of; empty for nothing special."""
    if not has_opened(request.asked_by, request.user):
        return ""
    whose, asker = request.user.get_full_name(), request.asked_by.get_full_name()
    return (
        f"{asker} has opened a way into {whose}'s account. Speak with {whose} first: confirm only"
        " when you know that they have come in themselves and that the second factor is theirs."
    )


@transaction.atomic
def confirm_role(*, request_id: uuid.UUID, by: User, now: datetime, via: str) -> RoleBinding:
    """Confirm as the second administrator; it counts from now on.

    Never by who asked or is to hold it, nor by somebody who became an administrator after that:
    whoever could make the second person would need none.
    """
    require(by, "administer")
    events.lock_system_stream()
    request = _confirmable(request_id, by, now)
    _decide(request, RoleRequest.CONFIRMED, by, "", now)
    made = RoleBinding(
        user=request.user,
        kind=request.kind,
        role=request.role,
        selector=request.selector,
        expires_at=request.expires_at,
        why=request.why,
        given_by=request.asked_by,
        confirmed_by=by,
    )
    return bind(made, by=by, now=now, via=via)


def _confirmable(request_id: uuid.UUID, by: User, now: datetime) -> RoleRequest:
    """Return the request that this person may confirm as it stands; raise why they may not."""
    request = _open_request(request_id)
    user, asker = request.user, request.asked_by
    if by.pk in (asker.pk, user.pk):
        own = "You asked for this role yourself" if by.pk == asker.pk else "This role is for you"
        raise NotAllowed(f"{own}; another administrator confirms it.")
    if has_opened(by, user):
        raise NotAllowed(
            f"You have opened a way into {user.get_full_name()}'s account: another administrator"
            " confirms this. If there is none, refuse it and ask for it yourself; then"
            f" {asker.get_full_name()} can confirm."
        )
    if not may_second(request, by, now):
        raise NotAllowed(
            "You have become an administrator after this was asked; somebody who was one then has"
            " to confirm it."
        )
    if not may(asker, "administer"):
        raise AskerGone(
            f"{asker.get_full_name()}, who asked for this, administers no more; refuse it, and ask"
            " for it yourself if it is needed."
        )
    if problems := problems_with(
        user, request.kind, request.role, request.selector, request.expires_at, now
    ):
        raise BadInput(problems)
    refuse_held_already(user, request.kind, request.role, request.selector, now)
    return request


def may_second(request: RoleRequest, by: User, now: datetime) -> bool:
    """Tell whether the person is another administrator, and was one when it was asked."""
    held = _administrators(now).filter(user=by, created_at__lte=request.asked_at)
    concerned = by.pk in (request.user_id, request.asked_by_id)
    return not concerned and held.exists() and not has_opened(by, request.user)


@transaction.atomic
def refuse_role(
    *, request_id: uuid.UUID, why: str, by: User, now: datetime, via: str
) -> RoleRequest:
    """Refuse a role that was asked for, or take one's own request back."""
    require(by, "administer")
    events.lock_system_stream()
    request = _open_request(request_id)
    own = request.asked_by_id == by.pk
    if not own and not why.strip():
        raise BadInput(["reason: say why; whoever asked reads it"])
    _decide(request, RoleRequest.WITHDRAWN if own else RoleRequest.REFUSED, by, why, now)
    asker = request.asked_by.get_full_name()
    verb = "no longer asks" if own else f"refused {asker}'s request"
    whom = (
        "to be"
        if request.user_id == request.asked_by_id
        else (f"that {request.user.get_full_name()} becomes")
    )
    events.record(
        stream=None,
        kind="role_withdrawn" if own else "role_refused",
        sentence=f"{by.get_full_name()} {verb} {whom} {shown(request.role)}{because(why)}.",
        actor=by,
        via=via,
        now=now,
        payload=facts(request) | {"reason": why.strip()},
    )
    return request


def _open_request(request_id: uuid.UUID) -> RoleRequest:
    request = RoleRequest.objects.select_related("user", "asked_by").filter(pk=request_id).first()
    if request is None:
        raise NotFound("There is no such request for a role.")
    if request.outcome:
        raise DecidedAlready(f"This was {request.get_outcome_display().lower()} already.")
    return request


def withdraw(requests: Iterable[RoleRequest], *, why: str, by: User | None, now: datetime) -> None:
    """Close requests that are asked for anew; the caller tells the trail."""
    for request in requests:
        _decide(request, RoleRequest.WITHDRAWN, by, why, now)


def _decide(request: RoleRequest, outcome: str, by: User | None, why: str, now: datetime) -> None:
    request.outcome, request.decided_by, request.decided_at = outcome, by, now
    request.decided_why = why.strip()
    request.save()


def open_requests_for(person: User, *, now: datetime) -> list[tuple[RoleRequest, bool]]:
    """Return the requests that wait, each with whether this person may confirm it."""
    if not may(person, "administer"):
        return []
    waiting = RoleRequest.objects.filter(outcome="").order_by("asked_at")
    waiting = waiting.select_related("user", "asked_by")
    return [(request, may_second(request, person, now)) for request in waiting]
