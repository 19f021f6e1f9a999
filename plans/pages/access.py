"""What every page begins with: who asks, which plan they may see, which part of a long list."""

import uuid
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Page, Paginator
from django.http import HttpRequest

from plans.models import Plan, User
from plans.models.plan import PlanQuerySet
from plans.people.permissions import require
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
    plans = Plan.objects.visible_to(person(request))
    plan = plans.filter(pk=plan_id).select_related("plugin", "release", "author").first()
    if plan is None:
        raise NotFound("There is no such plan.")
    return plan


def visible_plans(user: User) -> PlanQuerySet:
    """Return the plans that `may(user, 'view', plan)` allows, in one query."""
    return Plan.objects.visible_to(user)


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
