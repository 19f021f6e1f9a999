"""What every page begins with: who asks, which plan they may see, which part of a long list."""

import uuid
from functools import reduce
from operator import or_
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from plans.models import Plan, PlanTenant, RoleBinding, User
from plans.permissions import ROLES_OF_ACTION, may, require
from plans.refusal import NotFound

LONGEST_SEARCH = 120


def person(request: HttpRequest) -> User:
    """Return who asks; only behind login_required."""
    if not isinstance(request.user, User):
        raise NotFound("There is nothing here.")
    return request.user


def viewer(request: HttpRequest) -> User:
    """Return who asks, when they may look at anything at all."""
    user = person(request)
    require(user, "view")
    return user


def visible_plan(request: HttpRequest, plan_id: uuid.UUID) -> Plan:
    """Return the plan; raise NotFound when there is none, or none for this person."""
    plan = Plan.objects.filter(pk=plan_id).select_related("plugin", "release", "author").first()
    if plan is None or not may(person(request), "view", plan):
        raise NotFound("There is no such plan.")
    return plan


def visible_plans(user: User) -> QuerySet[Plan]:
    """Return the plans that `may(user, 'view', plan)` allows, in one query."""
    plans = Plan.objects.all()
    if user.is_superuser:
        return plans
    # Each binding covers plans of its own; together they are all that the person may see.
    covered: list[Q] = []
    bindings = RoleBinding.objects.in_force(timezone.now()).filter(user=user)
    for binding in bindings:
        counts = binding.kind == RoleBinding.APPROVAL or binding.role in ROLES_OF_ACTION["view"]
        if not counts:
            continue
        if not binding.selector:
            return plans
        covered.append(Q(~Exists(_tenants_outside(binding.selector))))
    return plans.filter(reduce(or_, covered)) if covered else plans.none()


def _tenants_outside(selector: dict[str, Any]) -> QuerySet[PlanTenant]:
    outside = Q()
    for label, value in selector.items():
        path = f"tenant__labels__{label}"
        # A tenant without the label: in SQL neither equal nor unequal.
        outside |= ~Q(**{path: value}) | Q(**{f"{path}__isnull": True})
    return PlanTenant.objects.filter(outside, plan=OuterRef("pk"))


def asked(request: HttpRequest, name: str) -> str:
    """Return a filter of the address line, trimmed."""
    return request.GET.get(name, "").strip()[:LONGEST_SEARCH]


def one_page(
    request: HttpRequest, rows: Any, *, size: int, chosen: dict[str, str]
) -> dict[str, Any]:
    """Return the page that the address names, with its filters as the pager repeats them."""
    page: Page[Any] = Paginator(rows, size).get_page(request.GET.get("page"))
    query = urlencode({name: value for name, value in chosen.items() if value})
    return {"page": page, "chosen": chosen, "query": query}
