"""Drop the looks at plans that ended long ago; their course, rulings and report stay.

Rows go a few at a time, each few in a transaction of their own: rollbacks write to the same
database. Whatever breaks off is taken up at the next turn.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django_q.tasks import async_task

from batches.looks.kpi_courses import keep_courses
from batches.models import (
    EvidenceBaseline,
    EvidenceLook,
    JudgedLook,
    KpiBaseline,
    KpiCourse,
    KpiCursor,
    KpiSample,
)
from batches.runtime import surroundings
from plans.counted_words import counted
from plans.lifecycle import LIVE_PLAN_STATES
from plans.models import Plan, PlanTenant
from plans.trail import events

TASK: Final = "batches.tasks.forget_looks"
CLUSTER: Final = "paperwork"
EVERY_SECONDS: Final = 3600.0
TURN_SECONDS: Final = 20.0
"""How long one turn goes on: the paperwork has reports to make."""
POINTS_AT_ONCE: Final = 50_000
"""A look holds a point of each tenant; so many go in one transaction."""
MOST_ROWS_AT_ONCE: Final = 500
EVIDENCE_LOOKS_KEPT: Final = 1200
"""What a report draws of the course of the evidence test."""

_handed_out: dict[str, float] = {}


def hand_out(now: datetime) -> None:
    """Ask the paperwork to drop what is due, once an hour; a chore of the watch."""
    clock = surroundings.here().monotonic()
    before = _handed_out.get("at")
    if before is not None and before <= clock < before + EVERY_SECONDS:
        return
    _handed_out["at"] = clock
    if _due(now).exists():
        async_task(TASK, cluster=CLUSTER)


def forget_looks(now: datetime, *, seconds: float = TURN_SECONDS) -> None:
    """Drop what is due for as long as one turn may take; doing it twice changes nothing."""
    ends = surroundings.here().monotonic() + seconds
    for plan_id in list(_due(now).values_list("pk", flat=True)):
        for _step in _forget(plan_id, now):
            if surroundings.here().monotonic() >= ends:
                return


def _due(now: datetime) -> "QuerySet[Plan]":
    edge = now - timedelta(days=settings.LOOKS_KEPT_DAYS)
    mine = OuterRef("pk")
    looked_at = Exists(KpiSample.objects.filter(plan=mine)) | Exists(
        JudgedLook.objects.filter(plan=mine)
    )
    over = Plan.objects.exclude(state__in=LIVE_PLAN_STATES).filter(ended_at__lt=edge)
    return over.filter(looked_at).order_by("ended_at", "pk")


def _forget(plan_id: Any, now: datetime) -> Iterator[None]:
    """Drop the looks at one plan step by step, at last those that say that something is left."""
    plan = Plan.objects.get(pk=plan_id)
    tenants = PlanTenant.objects.filter(plan=plan).count()
    few = max(5, min(MOST_ROWS_AT_ONCE, POINTS_AT_ONCE // max(1, tenants)))
    for rows in (
        JudgedLook.objects.filter(plan=plan),
        KpiCursor.objects.filter(plan=plan),
        KpiBaseline.objects.filter(plan=plan),
        EvidenceBaseline.objects.filter(plan=plan),
    ):
        while _drop(rows, few):
            yield
    undrawn = _undrawn(plan)
    for start in range(0, len(undrawn), few):
        EvidenceLook.objects.filter(pk__in=undrawn[start : start + few]).delete()
        yield
    while _drop_samples(plan_id, few, tenants, now):
        yield


def _drop(rows: "QuerySet[Any]", few: int) -> bool:
    """Drop a few rows; tell whether there were any."""
    chosen = list(rows.order_by("pk").values_list("pk", flat=True)[:few])
    if chosen:
        rows.model._default_manager.filter(pk__in=chosen).delete()
    return bool(chosen)


def _undrawn(plan: Plan) -> list[int]:
    """Return the looks of the evidence test that no report draws."""
    looks = EvidenceLook.objects.filter(plan=plan).order_by("-at", "-pk")
    ids = list(looks.values_list("pk", flat=True))
    step = max(1, len(ids) // EVIDENCE_LOOKS_KEPT)
    return [pk for number, pk in enumerate(ids) if number % step]


@transaction.atomic
def _drop_samples(plan_id: Any, few: int, tenants: int, now: datetime) -> bool:
    """Drop a few looks, with the first of them keep their course, with the last one say so."""
    plan = Plan.objects.locked(str(plan_id))
    samples = KpiSample.objects.filter(plan=plan)
    chosen = list(samples.order_by("pk").values_list("pk", flat=True)[: few + 1])
    if str(plan.state) in LIVE_PLAN_STATES or not chosen:
        # Somebody takes it back just now, or it was done before.
        return False
    keep_courses(plan, tenants=tenants)
    KpiSample.objects.filter(pk__in=chosen[:few]).delete()
    if len(chosen) > few:
        return True
    looks = sum(KpiCourse.objects.filter(plan=plan).values_list("looks", flat=True))
    events.record(
        stream=plan,
        kind="looks_dropped",
        sentence=f"{counted(looks, 'look at this plan was', 'looks at this plan were')} dropped,"
        f" {counted(settings.LOOKS_KEPT_DAYS, 'day')}"
        " after its end. Their course, its rulings and its report stay; they cannot be replayed"
        " any more.",
        actor=None,
        via="watch",
        now=now,
        payload={"looks": looks, "kept_days": settings.LOOKS_KEPT_DAYS},
    )
    return False
