"""The list of plans: filtered, and drawn with its progress in a constant number of queries."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery

from batches.live.ladder import BAR_ORDER, Share, shares
from batches.models import Batch, Rollback, TenantUpgrade
from batches.rollback.back_in_band import ending_shown
from plans.lifecycle import PLAN
from plans.models import Plan, PlanRevision, PlanTenant

PLANS_PER_PAGE = 25
VERSIONS_SHOWN = 3
GROUPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "live": ("Running", ("running", "paused", "rolling_back")),
    "awaiting_approval": ("Waiting for approval", ("awaiting_approval",)),
    "approved": ("Ready to start", ("approved",)),
    "needs_hand": ("Need a hand", ("needs_hand",)),
}
"""The counts above the list; each is a filter as well."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One count above the list."""

    state: str
    label: str
    n: int
    icon: str


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One plan as the list shows it."""

    plan: Plan
    badge: str
    label: str
    from_versions: tuple[str, ...]
    tenants: int
    upgraded: int
    rolled_back: int
    bar: tuple[Share, ...]
    started: bool
    back_in: float | None
    quoted: float | None


def tiles(plans: QuerySet[Plan]) -> list[Tile]:
    """Return how many of the plans are in each group."""
    rows = plans.order_by().values("state").annotate(n=Count("pk", distinct=True))
    counts = {row["state"]: row["n"] for row in rows}
    return [
        Tile(
            name,
            label,
            sum(counts.get(state, 0) for state in states),
            "running" if name == "live" else name,
        )
        for name, (label, states) in GROUPS.items()
    ]


def filtered(plans: QuerySet[Plan], chosen: Mapping[str, str]) -> QuerySet[Plan]:
    """Return the plans of a state (or group), a plugin and a text.

    Archived ones and rehearsals of rollbacks only when asked for.
    """
    if chosen.get("state") == "drills":
        return filtered(plans.filter(drills__kind="rehearsal"), {**chosen, "state": "any"})
    state, plugin, text = (chosen.get(name, "") for name in ("state", "plugin", "q"))
    if state in GROUPS:
        plans = plans.filter(state__in=GROUPS[state][1])
    elif state in PLAN.states:
        plans = plans.filter(state=state)
    elif state != "any":
        plans = plans.exclude(state="archived").exclude(drills__kind="rehearsal")
    if plugin:
        plans = plans.filter(plugin__key=plugin)
    current = PlanRevision.objects.filter(plan=OuterRef("pk"), number=OuterRef("revision"))
    plans = plans.annotate(policy_name=Subquery(current.values("policy_name")[:1]))
    if text:
        plans = plans.filter(
            Q(external_id__icontains=text)
            | Q(owner_name__icontains=text)
            | Q(author__name__icontains=text)
            | Q(note__icontains=text)
            | Q(release__version__icontains=text)
            | Q(policy_name__icontains=text)
        )
    return plans.select_related("plugin", "release", "author").order_by("-created_at", "pk")


def lines(plans: Sequence[Plan]) -> list[PlanLine]:
    """Return one page of plans with their progress: six queries, however many plans."""
    ids = [plan.pk for plan in plans]
    counts = _upgrade_counts(ids)
    places = _place_counts(ids)
    versions = from_versions(plans)
    aftermaths = _aftermaths(ids)
    shown = {plan.pk: ending_shown(str(plan.state), aftermaths.get(plan.pk, "")) for plan in plans}
    # A plan of which a batch is held runs by its state, and stands still until a person decides.
    held = Batch.objects.filter(plan__in=ids, plan__state="running", state="held")
    shown |= dict.fromkeys(held.values_list("plan_id", flat=True), ("held", "Held"))
    backs = {row.plan_id: row for row in Rollback.objects.filter(plan__in=ids)}
    return [
        PlanLine(
            plan=plan,
            badge=shown[plan.pk][0],
            label=shown[plan.pk][1],
            from_versions=versions.get(plan.pk, ()),
            tenants=sum(counts[plan.pk].values()) or places.get(plan.pk, 0),
            upgraded=counts[plan.pk].get("upgraded", 0),
            rolled_back=counts[plan.pk].get("rolled_back", 0),
            bar=tuple(shares(counts[plan.pk], BAR_ORDER)),
            started=plan.started_at is not None,
            back_in=backs[plan.pk].seconds() if plan.pk in backs else None,
            quoted=backs[plan.pk].quote_seconds if plan.pk in backs else None,
        )
        for plan in plans
    ]


def _upgrade_counts(ids: Sequence[UUID]) -> dict[UUID, dict[str, int]]:
    rows = (
        TenantUpgrade.objects.filter(plan__in=ids)
        .order_by()
        .values("plan_id", "state")
        .annotate(n=Count("pk"))
    )
    counts: dict[UUID, dict[str, int]] = defaultdict(dict)
    for row in rows:
        counts[row["plan_id"]][row["state"]] = row["n"]
    return counts


def _aftermaths(ids: Sequence[UUID]) -> dict[UUID, str]:
    """Return what followed each plan's last rollback."""
    rows = Rollback.objects.filter(plan__in=ids).order_by("triggered_at")
    return dict(rows.values_list("plan_id", "aftermath"))


def _place_counts(ids: Sequence[UUID]) -> dict[UUID, int]:
    rows = (
        PlanTenant.objects.filter(plan__in=ids, excluded=False)
        .order_by()
        .values("plan_id")
        .annotate(n=Count("pk"))
    )
    return {row["plan_id"]: row["n"] for row in rows}


def from_versions(plans: Sequence[Plan]) -> dict[UUID, tuple[str, ...]]:
    """Return which versions each plan's tenants come from: observed once it ran, else as known."""
    started = [plan.pk for plan in plans if plan.started_at is not None]
    waiting = [plan.pk for plan in plans if plan.started_at is None]
    observed = (
        TenantUpgrade.objects.filter(plan__in=started)
        .exclude(version_before="")
        .order_by()
        .values_list("plan_id", "version_before")
        .distinct()
    )
    known = (
        PlanTenant.objects.filter(
            plan__in=waiting,
            excluded=False,
            tenant__installations__plugin=F("plugin"),
        )
        .exclude(tenant__installations__version="")
        .order_by()
        .values_list("plan_id", "tenant__installations__version")
        .distinct()
    )
    found: dict[UUID, set[str]] = defaultdict(set)
    pairs: list[tuple[Any, Any]] = [*observed, *known]
    for plan_id, version in pairs:
        found[plan_id].add(str(version))
    return {plan_id: tuple(sorted(names)[:VERSIONS_SHOWN]) for plan_id, names in found.items()}
