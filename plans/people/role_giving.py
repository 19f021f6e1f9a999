"""Give roles and end them; what lets somebody approve takes a second administrator.

Roles are never edited: another reach or another day is another binding. So what somebody held at
any time can be read from the rows.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from plans.models import RoleBinding, RoleRequest, User
from plans.people.permissions import require
from plans.people.role_confirming import ADMINISTRATOR, ask, takes_two
from plans.people.role_records import (
    because,
    bind,
    end_bindings,
    facts,
    problems_with,
    refuse_held_already,
    shown,
    who,
)
from plans.reach import selector_words
from plans.refusal import BadInput, NotFound, Refused
from plans.trail import events


class HasEnded(Refused):
    """The binding has been ended already."""

    default_code = "has_ended"


class LastAdministrator(Refused):
    """Nobody could administer the console any more."""

    default_code = "last_administrator"


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

    A role that `takes_two` waits for another administrator, whoever is to hold it: then what comes
    back is the request, and nothing has been given.
    Raise BadInput with all problems, HoldsItAlready, NoSecondPerson, NotAllowed.
    """
    if by is not None:
        require(by, "administer")
    wanted = dict(sorted((selector or {}).items()))
    if problems := problems_with(user, kind, role, wanted, expires_at, now):
        raise BadInput(problems)
    # Two at once see each other's: the trail's lock is taken before what they could both do.
    events.lock_system_stream()
    refuse_held_already(user, kind, role, wanted, now)
    if by is not None and takes_two(kind, role):
        request = RoleRequest(
            user=user, kind=kind, role=role, selector=wanted, expires_at=expires_at,
            why=why.strip(), asked_by=by, asked_at=now,
        )  # fmt: skip
        return ask(request, via=via)
    made = RoleBinding(
        user=user,
        kind=kind,
        role=role,
        selector=wanted,
        expires_at=expires_at,
        why=why.strip(),
        given_by=by,
    )
    return bind(made, by=by, now=now, via=via)


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
        f" {shown(binding.role)} for {selector_words(binding.selector)}{because(why)}.",
        actor=by,
        via=via,
        now=now,
        payload=facts(binding) | {"reason": why.strip()},
    )
    return binding


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
