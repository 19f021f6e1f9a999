"""Give and take the roles that the identity provider vouches for, at each log-in and for a time."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from plans.models import MappedRole, RoleBinding, User
from plans.people.role_records import end_bindings
from plans.sso.mapping import RoleMapping, RoleRule
from plans.trail import events


@transaction.atomic
def apply_mapping(
    *, user: User, claims: Mapping[str, Any], mapping: RoleMapping, now: datetime
) -> None:
    """Let the person hold the roles that the claims give, and no longer those they gave before.

    A role that an administrator gave is left as it is. Each mapped role expires by itself, so that
    somebody who leaves the company and never logs in again holds none.
    """
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    granted = {(rule.kind, rule.role): rule for rule in mapping.granted(claims)}
    mapped = {
        (one.binding.kind, one.binding.role): one.binding
        for one in MappedRole.objects.filter(user=user, binding__ended_at=None).select_related(
            "binding"
        )
    }
    taken = [mapped[key] for key in mapped.keys() - granted.keys()]
    end_bindings(taken, "the identity provider vouches for it no more", None, now)
    given = []
    for key, rule in granted.items():
        if key in mapped:
            _renew(user, mapped[key], rule, now)
        elif _give(user, rule, now):
            given.append(rule)
    if given or taken:
        _tell(user, given, [binding.role for binding in taken], now)


def _renew(user: User, binding: RoleBinding, rule: RoleRule, now: datetime) -> None:
    # What was held when stays known, so no row changes; and a log-in a minute later writes none.
    half = timedelta(hours=rule.hours) / 2
    lasts = binding.expires_at is not None and binding.expires_at - now > half
    if lasts and binding.selector == dict(rule.selector):
        return
    end_bindings([binding], "renewed at a later log-in", None, now)
    _bind(user, rule, now)


def _give(user: User, rule: RoleRule, now: datetime) -> bool:
    held = RoleBinding.objects.filter(user=user, kind=rule.kind, role=rule.role)
    if held.in_force(now).exists():
        return False
    end_bindings(list(held.filter(ended_at=None)), "it had expired", None, now)
    _bind(user, rule, now)
    return True


def _bind(user: User, rule: RoleRule, now: datetime) -> None:
    binding = RoleBinding.objects.create(
        user=user,
        kind=rule.kind,
        role=rule.role,
        selector=dict(rule.selector),
        expires_at=now + timedelta(hours=rule.hours),
        why=f"the identity provider vouches for {rule.value}",
    )
    MappedRole.objects.create(user=user, binding=binding, value=rule.value)


def _tell(user: User, given: Sequence[RoleRule], taken: Sequence[str], now: datetime) -> None:
    said = []
    if given:
        said.append(f"given {', '.join(sorted(rule.role for rule in given))}")
    if taken:
        said.append(f"taken {', '.join(sorted(taken))}")
    events.record(
        stream=None,
        kind="roles_mapped",
        sentence=f"The identity provider changed what {user.get_full_name()} may do:"
        f" {'; '.join(said)}.",
        actor=None,
        via="sso",
        now=now,
        payload={
            "user": str(user.pk),
            "given": [
                {"kind": rule.kind, "role": rule.role, "value": rule.value, "hours": rule.hours}
                for rule in given
            ],
            "taken": list(taken),
        },
    )
