"""Give and take the roles that the identity provider vouches for, at each log-in and for a time."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from plans import events
from plans.models import MappedRole, RoleBinding, User
from plans.sso_mapping import RoleMapping, RoleRule


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
        (one.binding.kind, one.binding.role): one
        for one in MappedRole.objects.filter(user=user).select_related("binding")
    }
    taken = [mapped[key] for key in mapped.keys() - granted.keys()]
    RoleBinding.objects.filter(pk__in=[one.binding_id for one in taken]).delete()
    given = []
    for key, rule in granted.items():
        if key in mapped:
            _renew(mapped[key], rule, now)
        elif _give(user, rule, now):
            given.append(rule)
    if given or taken:
        _tell(user, given, [one.binding.role for one in taken], now)


def _until(rule: RoleRule, now: datetime) -> datetime:
    return now + timedelta(hours=rule.hours)


def _renew(one: MappedRole, rule: RoleRule, now: datetime) -> None:
    binding = one.binding
    binding.selector, binding.expires_at = dict(rule.selector), _until(rule, now)
    binding.save()


def _give(user: User, rule: RoleRule, now: datetime) -> bool:
    binding, made = RoleBinding.objects.get_or_create(
        user=user,
        kind=rule.kind,
        role=rule.role,
        defaults={"selector": dict(rule.selector), "expires_at": _until(rule, now)},
    )
    if made:
        MappedRole.objects.create(user=user, binding=binding, value=rule.value)
    return made


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
