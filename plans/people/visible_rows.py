"""Which rows of any table a person may see: the door for pages that show every table alike."""

from typing import TypeVar

from django.db import models
from django.db.models import Q

from plans.models import Plan, Tenant, User
from plans.models.rights import sight

RowT = TypeVar("RowT", bound=models.Model)
LONGEST_WAY = 3


def visible_rows(rows: "models.QuerySet[RowT]", user: User) -> "models.QuerySet[RowT]":
    """Return the rows that the person may see.

    A table has a door of its own (`visible_to`), or its rows lead to plans and tenants by foreign
    keys: then all that a row leads to must be visible. What leads to neither concerns no tenant.
    """
    door = getattr(rows, "visible_to", None)
    if door is not None:
        return door(user)  # type: ignore[no-any-return]
    ways = ways_to_tenants(rows.model)
    if not ways or sight(user).everything:
        return rows
    plans, tenants = Plan.objects.visible_to(user), Tenant.objects.visible_to(user)
    told = Q()
    for way, target in ways.items():
        told &= Q(**{f"{way}__in": plans if target is Plan else tenants})
    return rows.filter(told)


def keys_seen(user: User) -> frozenset[str] | None:
    """Return the keys of the tenants that the person may know of, None for all of them."""
    if sight(user).everything:
        return None
    return frozenset(Tenant.objects.visible_to(user).values_list("key", flat=True))


def ways_to_tenants(
    model: type[models.Model], *, most: int = LONGEST_WAY
) -> dict[str, type[models.Model]]:
    """Return the foreign keys by which a table's rows lead to a plan or a tenant, the nearest."""
    ways: dict[str, type[models.Model]] = {}
    fields = [one for one in model._meta.get_fields() if isinstance(one, models.ForeignKey)]
    for field in fields:
        if field.related_model in (Plan, Tenant):
            ways[field.name] = field.related_model
    if ways or most == 1:
        return ways
    for field in fields:
        target = field.related_model
        if target is not model:
            further = ways_to_tenants(target, most=most - 1)
            ways |= {f"{field.name}__{way}": found for way, found in further.items()}
    return ways
