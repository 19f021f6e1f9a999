"""Ways into somebody's account that an administrator opens: what it approves with waits then.

Whoever takes away a second factor, sets a password or writes an e-mail address may come in as that
person. So what takes two to give (`takes_two`) ends with it and is asked for again, for another
administrator to confirm. All else the person keeps: who operates pauses and rolls back at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from plans.models import MappedRole, RoleBinding, RoleRequest, User
from plans.people.role_confirming import NoSecondPerson, ask, has_second, takes_two, withdraw
from plans.people.role_giving import refuse_last_administrator
from plans.people.role_records import end_bindings, facts, shown
from plans.reach import selector_words
from plans.trail import events

LONGEST_WHY = 300


@dataclass(frozen=True, slots=True)
class WayIn:
    """One act that opens an account: what was done, and the machine's own command for it."""

    done: str
    command: str


@dataclass(frozen=True, slots=True)
class Affected:
    """What an opened account approves with: roles to confirm, those that single sign-on gives."""

    held: tuple[RoleBinding, ...]
    mapped: tuple[RoleBinding, ...]
    asked: tuple[RoleRequest, ...]
    """Roles that wait already: whoever opens the account now must not be the one to confirm."""

    @property
    def to_confirm(self) -> list[str]:
        """Return in words what another administrator has to confirm."""
        return _named((*self.held, *self.asked))


def affected_by(user: User, *, now: datetime) -> Affected:
    """Return what would wait if an administrator opened a way into this account now."""
    in_force = RoleBinding.objects.in_force(now).filter(user=user).order_by("kind", "role", "pk")
    two = [one for one in in_force if takes_two(one.kind, one.role)]
    from_company = set(
        MappedRole.objects.filter(binding__in=two).values_list("binding_id", flat=True)
    )
    return Affected(
        held=tuple(one for one in two if one.pk not in from_company),
        mapped=tuple(one for one in two if one.pk in from_company),
        asked=tuple(one for one in waiting_roles(user) if takes_two(one.kind, one.role)),
    )


def _named(roles: Sequence[RoleBinding | RoleRequest]) -> list[str]:
    return [
        f"the {'approval ' if one.kind == RoleBinding.APPROVAL else ''}role {shown(one.role)}"
        f" for {selector_words(one.selector)}"
        for one in roles
    ]


def _wait(names: Sequence[str]) -> str:
    """Return what becomes of roles of these names, as a part of a sentence."""
    one = len(names) == 1
    return (
        f"{' and '.join(names)} {'waits' if one else 'wait'} until another administrator has"
        f" confirmed {'it' if one else 'them'}"
    )


def _come_back(names: Sequence[str]) -> str:
    verb = "comes" if len(names) == 1 else "come"
    return f"{' and '.join(names)} {verb} back with the next log-in at the company"


def what_waits(user: User, *, by: User, now: datetime) -> str:
    """Return what an administrator is told before opening the account; empty when nothing waits."""
    if by.pk == user.pk:
        return ""
    affected, name = affected_by(user, now=now), user.get_full_name()
    told = []
    if affected.to_confirm:
        told.append(f"Of {name}'s roles, {_wait(affected.to_confirm)}.")
        if not has_second(user, by, now):
            told.append("There is nobody who could: this can be done on the machine alone.")
    if affected.mapped:
        told.append(f"Of {name}'s roles, {_come_back(_named(affected.mapped))}.")
    return " ".join(told)


def let_roles_wait(
    *, user: User, way: WayIn, reason: str, by: User | None, now: datetime, via: str
) -> list[RoleRequest]:
    """End what the opened account approves with, and ask for it again; return what waits.

    Part of the act that opens the account, in its transaction and under the system trail's lock.
    Nothing ends where the machine's own command opened it, or people open their own. Raise
    NoSecondPerson where nobody could confirm, LastAdministrator where nobody would administer.
    """
    if by is None or by.pk == user.pk:
        return []
    affected = affected_by(user, now=now)
    held = [*affected.held, *affected.mapped]
    if not held and not affected.asked:
        return []
    if affected.to_confirm and not has_second(user, by, now):
        raise NoSecondPerson(
            f"With this, of {user.get_full_name()}'s roles {_wait(affected.to_confirm)}, and there"
            " is nobody who could. On the machine itself it can be done, which the trail tells:"
            f" ./console manage {way.command}"
        )
    refuse_last_administrator({one.pk for one in held}, now)
    why = f"{by.get_full_name()} {way.done}: {' '.join(reason.split())}"[:LONGEST_WHY]
    end_bindings(held, why, by, now)
    withdraw(affected.asked, why=why, by=by, now=now)
    again: list[RoleBinding | RoleRequest] = [*affected.asked, *affected.held]
    wanted = {(one.kind, one.role, selector_words(one.selector)): one for one in again}
    requests = [
        RoleRequest(
            user=user, kind=one.kind, role=one.role, selector=one.selector,
            expires_at=one.expires_at, why=why, asked_by=by, asked_at=now,
        )
        for one in wanted.values()
    ]  # fmt: skip
    _tell(user, way, by, now, via, affected, requests)
    return [ask(request, via=via) for request in requests]


def _tell(
    user: User,
    way: WayIn,
    by: User,
    now: datetime,
    via: str,
    affected: Affected,
    requests: list[RoleRequest],
) -> None:
    told = []
    if requests:
        told.append(_wait(_named(requests)))
    if affected.mapped:
        told.append(_come_back(_named(affected.mapped)))
    events.record(
        stream=None,
        kind="roles_wait",
        sentence=f"{by.get_full_name()} {way.done} of {user.get_full_name()}: {'; '.join(told)}.",
        actor=by,
        via=via,
        now=now,
        payload={
            "user": str(user.pk),
            "ended": [facts(one) for one in (*affected.held, *affected.mapped)],
            "asked": [facts(one) for one in requests],
        },
    )


def waiting_roles(user: User) -> list[RoleRequest]:
    """Return the roles of the person that wait for another administrator."""
    return list(
        RoleRequest.objects.filter(user=user, outcome="").order_by("asked_at", "kind", "role", "pk")
    )


def waiting_words(user: User) -> str:
    """Return in words what of the person's waits, as they read it themselves; empty for nothing."""
    waiting = waiting_roles(user)
    return f"Of your roles, {_wait(_named(waiting))}." if waiting else ""
