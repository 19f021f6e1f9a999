"""The long lists of the live page, read a page at a time: tenants, events, answers."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.db.models import Case, Value, When

from batches.lifecycle import TENANT_UPGRADE
from batches.live.messages import Message, answers, event, tone
from batches.live.snapshot_batches import WORST_FIRST
from batches.models import DeployerCall, TenantUpgrade
from plans.models import Event, Plan, PlanTenant

TENANTS_PER_PAGE = 100
EVENTS_PER_PAGE = 60
ANSWERS_SHOWN = 40
LOG_FILTERS = {
    "all": "Everything",
    "decisions": "Without tenant moves",
    "alarm": "Alarms",
    "people": "People",
}


def page_of_tenants(plan: Plan, asked: Mapping[str, str]) -> dict[str, Any]:
    """Return one page of the plan's tenants, worst first, filtered by state, batch and search."""
    state, batch, search = (asked.get(name, "").strip() for name in ("state", "batch", "q"))
    known = (*TENANT_UPGRADE.states, TenantUpgrade.QUARANTINED)
    state = state if state in known else ""
    batch = batch if batch.isascii() and batch.isdigit() else ""
    started = plan.started_at is not None
    rows = _upgrades(plan, state, batch) if started else _places(plan, batch)
    if search:
        rows = rows.filter(**{f"{'tenant_key' if started else 'tenant__key'}__icontains": search})
    chosen = {"state": state, "batch": batch, "q": search}
    return {
        "page": Paginator(rows, TENANTS_PER_PAGE).get_page(asked.get("page")),
        "chosen": chosen,
        "query": urlencode({name: value for name, value in chosen.items() if value}),
        "planned": not started,
    }


def _upgrades(plan: Plan, state: str, batch: str) -> Any:
    rows = TenantUpgrade.objects.filter(plan=plan).select_related("batch")
    if state == TenantUpgrade.QUARANTINED:
        rows = rows.filter(set_aside=state)
    elif state:
        rows = rows.filter(state=state)
    if batch:
        rows = rows.filter(batch__number=int(batch))
    rank = Case(
        *(When(state=word, then=Value(place)) for place, word in enumerate(WORST_FIRST)),
        default=Value(len(WORST_FIRST)),
    )
    return rows.annotate(rank=rank).order_by("rank", "batch__number", "position")


def _places(plan: Plan, batch: str) -> Any:
    rows = PlanTenant.objects.filter(plan=plan).select_related("tenant")
    if batch:
        rows = rows.filter(batch_number=int(batch))
    return rows.order_by("excluded", "batch_number", "position")


@dataclass(frozen=True, slots=True)
class EventRows:
    """A stretch of the log, newest first; `older` is where the next one begins."""

    of: str
    rows: list[Message]
    older: int | None


def event_rows(plan: Plan, *, of: str, before: int | None = None) -> EventRows:
    """Return the newest events of one kind of loudness, those before a sequence number."""
    chosen = of if of in LOG_FILTERS else "all"
    events = Event.objects.filter(stream__key=plan.stream_key).order_by("-seq")
    if before is not None:
        events = events.filter(seq__lt=before)
    if chosen == "people":
        events = events.filter(actor__isnull=False)
    elif chosen == "decisions":
        events = events.exclude(kind="tenants_moved")
    elif chosen == "alarm":
        kinds = (
            Event.objects.filter(stream__key=plan.stream_key)
            .order_by()
            .values_list("kind", flat=True)
        )
        events = events.filter(kind__in=[k for k in kinds.distinct() if tone(k) == "alarm"])
    found = list(events[: EVENTS_PER_PAGE + 1])
    shown = found[:EVENTS_PER_PAGE]
    older = shown[-1].seq if len(found) > EVENTS_PER_PAGE else None
    return EventRows(chosen, [event(row) for row in shown], older)


def recent_answers(plan_id: uuid.UUID) -> list[Message]:
    """Return what the deployers answered last, newest first."""
    calls = (
        DeployerCall.objects.filter(plan_id=plan_id, ended_at__isnull=False)
        .select_related("upgrade")
        .order_by("-ended_at")[:ANSWERS_SHOWN]
    )
    told: list[Message] = answers(calls)["answers"]
    return told
