"""Which freezes hold a plan: those over its plugin that cover a tenant whose call comes next.

One covered tenant is enough: a batch goes as a whole or waits as a whole, so that its soak and its
guardrails see the tenants that the approvers saw.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import reduce
from operator import and_
from typing import Any

from django.db.models import Q, QuerySet, TextField, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.lookups import Exact

from plans.models import Freeze, FreezeOverride, Plan, PlanTenant, Tenant
from plans.openings.opening import FreezeSpan, Opening, opening
from plans.policies.policy import UpgradePolicy

WAITING_STATES = ("approved", "running", "paused")
"""The states of a plan that a freeze may hold up."""


def covered(freeze: Freeze, places: QuerySet[PlanTenant]) -> QuerySet[PlanTenant]:
    """Return the places whose tenants the freeze covers."""
    return places.filter(_covered(freeze, "tenant__"))


def _covered(freeze: Freeze, path: str) -> Q:
    """Return the condition that a tenant, found along the path, is covered by the freeze."""
    if not freeze.tenants and not freeze.labels:
        return Q()
    named = Q(**{f"{path}key__in": freeze.tenants})
    if freeze.labels:
        # By expression: as a lookup path a label's name could mean something to Django.
        carried = (_carries(f"{path}labels", *label) for label in freeze.labels.items())
        named |= reduce(and_, carried)
    return named


def _carries(labels: str, name: str, value: str) -> Q:
    return Q(Exact(KeyTextTransform(name, labels), Value(value, output_field=TextField())))


def places_of(plan: Plan) -> QuerySet[PlanTenant]:
    """Return the places of all tenants that the plan upgrades."""
    return PlanTenant.objects.filter(plan=plan, excluded=False)


def first_places(plan: Plan) -> QuerySet[PlanTenant]:
    """Return the places of the first batch: with them the plan starts."""
    first = places_of(plan).order_by("batch_number").values("batch_number")[:1]
    return places_of(plan).filter(batch_number__in=first)


def overrides_of(plan: Plan, at: datetime) -> dict[Any, datetime | None]:
    """Return the freezes that the plan was let through, with the time when that ends."""
    ends: dict[Any, datetime | None] = {}
    for freeze_id, expires in FreezeOverride.objects.filter(plan=plan).values_list(
        "freeze_id", "expires_at"
    ):
        if expires is not None and expires <= at:
            continue
        known = ends.get(freeze_id, expires)
        ends[freeze_id] = max(known, expires) if known is not None and expires else None
    return ends


def spans_over(plan: Plan, places: QuerySet[PlanTenant], at: datetime) -> tuple[FreezeSpan, ...]:
    """Return the freezes, of now and to come, that the tenants of these places must obey."""
    freezes = list(Freeze.objects.standing(at).over_plugin(plan.plugin_id))
    if not freezes:
        return ()
    let_through = overrides_of(plan, at)
    spans: list[FreezeSpan] = []
    for freeze in freezes:
        if freeze.pk in let_through and let_through[freeze.pk] is None:
            continue
        if covered(freeze, places).exists():
            span = as_span(freeze)
            again = let_through.get(freeze.pk)
            if again is not None:
                span = replace(span, begins_at=max(span.begins_at, again))
            spans.append(span)
    return tuple(span for span in spans if span.ends_at is None or span.ends_at > span.begins_at)


def spans_over_tenants(plugin_id: Any, keys: Sequence[str], at: datetime) -> tuple[FreezeSpan, ...]:
    """Return the freezes that a plan over these tenants would have to obey."""
    tenants = Tenant.objects.filter(key__in=keys)
    return tuple(
        as_span(freeze)
        for freeze in Freeze.objects.standing(at).over_plugin(plugin_id)
        if tenants.filter(_covered(freeze, "")).exists()
    )


def as_span(freeze: Freeze) -> FreezeSpan:
    """Return a freeze as the decision about openings takes it."""
    return FreezeSpan(
        pk=str(freeze.pk),
        name=freeze.name,
        reason=freeze.reason,
        begins_at=freeze.begins_at,
        ends_at=freeze.ends_at,
    )


def opening_for(
    plan: Plan,
    policy: UpgradePolicy,
    places: QuerySet[PlanTenant],
    at: datetime,
    *,
    begun: bool = False,
) -> Opening:
    """Return whether the tenants of these places may be called now, and when they may.

    `begun`: they are those of a batch whose calls are under way.
    """
    windows = policy.windows_over(begun=begun)
    return opening(windows, policy.not_after, spans_over(plan, places, at), at)


def is_frozen(plan: Plan, places: QuerySet[PlanTenant], at: datetime) -> bool:
    """Tell whether a freeze holds these tenants now; one query as long as none is in force."""
    if not Freeze.objects.in_force(at).over_plugin(plan.plugin_id).exists():
        return False
    return any(span.holds(at) for span in spans_over(plan, places, at))


def held_plans(freeze: Freeze) -> Sequence[Plan]:
    """Return the plans that the freeze may hold up, in a fixed order (their trails are locked)."""
    plans = Plan.objects.filter(state__in=WAITING_STATES).order_by("pk")
    if freeze.plugin_id is not None:
        plans = plans.filter(plugin_id=freeze.plugin_id)
    return [plan for plan in plans if covered(freeze, places_of(plan)).exists()]
