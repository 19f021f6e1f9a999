"""The pages of the trail: of the system and of one plan, checked, filtered, exported."""

import csv
import json
import uuid
from collections.abc import Sequence
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from plans.chain import timestamp
from plans.events import ChainCheck, check_chain
from plans.models import SYSTEM_STREAM, Event, Plan, Stream
from plans.page_access import asked, one_page, person, visible_plan
from plans.permissions import require

EVENTS_PER_PAGE = 100
CHECKED_UNASKED = 5000
"""A longer chain is walked only when somebody asks for it."""
COLUMNS = ("seq", "at", "kind", "actor", "via", "sentence", "payload", "prev_hash", "hash")
FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n")


def guarded(cell: str) -> str:
    """Return the cell so that no spreadsheet takes it for a formula."""
    return f"'{cell}" if cell.startswith(FORMULA_BEGINS) else cell


def _chosen(request: HttpRequest) -> dict[str, str]:
    return {name: asked(request, name) for name in ("q", "kind", "who")}


def _events(plan: Plan | None, chosen: dict[str, str]) -> QuerySet[Event]:
    events = Event.objects.told_of(plan).order_by("-seq")
    if chosen["q"]:
        events = events.filter(sentence__icontains=chosen["q"])
    if chosen["kind"]:
        events = events.filter(kind=chosen["kind"])
    if chosen["who"]:
        events = events.filter(actor_name=chosen["who"])
    return events


def _check(request: HttpRequest, plan: Plan | None) -> dict[str, Any]:
    """Walk the chain where it is short or somebody asks."""
    stream_key = SYSTEM_STREAM if plan is None else plan.stream_key
    stream = Stream.objects.filter(key=stream_key).first()
    if stream is None:
        return {"check": None, "long": False}
    long = stream.head_seq > CHECKED_UNASKED and "check" not in request.GET
    check: ChainCheck | None = None if long else check_chain(stream_key)
    return {"check": check, "long": long, "stream": stream}


def _different(plan: Plan | None, column: str) -> list[str]:
    rows = Event.objects.told_of(plan).order_by(column)
    return list(rows.values_list(column, flat=True).distinct())


def _page(request: HttpRequest, plan: Plan | None) -> HttpResponse:
    chosen = _chosen(request)
    context = one_page(request, _events(plan, chosen), size=EVENTS_PER_PAGE, chosen=chosen)
    context |= _check(request, plan)
    context |= {
        "kinds": _different(plan, "kind"),
        "people": _different(plan, "actor_name"),
        "plan": plan,
    }
    return render(request, "plans/trail.html", context)


def _export(request: HttpRequest, plan: Plan | None, name: str) -> HttpResponse:
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    stamp = f"{timezone.now():%Y%m%dT%H%M%SZ}"
    response["Content-Disposition"] = f'attachment; filename="{name}-{stamp}.csv"'
    writer = csv.writer(response)
    writer.writerow(COLUMNS)
    for event in _events(plan, _chosen(request)).reverse().iterator(chunk_size=2000):
        writer.writerow([guarded(cell) for cell in _cells(event)])
    return response


def _cells(event: Event) -> Sequence[str]:
    return (
        str(event.seq),
        timestamp(event.at),
        event.kind,
        event.actor_name,
        event.via,
        event.sentence,
        json.dumps(event.payload, ensure_ascii=False, sort_keys=True),
        event.prev_hash,
        event.hash,
    )


@login_required
@require_GET
def system_trail(request: HttpRequest) -> HttpResponse:
    """Show what happened outside of plans."""
    require(person(request), "read_trail")
    return _page(request, None)


@login_required
@require_GET
def system_trail_csv(request: HttpRequest) -> HttpResponse:
    """Hand out the filtered system trail, oldest first."""
    require(person(request), "read_trail")
    return _export(request, None, "trail-system")


@login_required
@require_GET
def plan_trail(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Show all that happened to a plan, with its hashes."""
    plan = visible_plan(request, plan_id)
    return _page(request, plan)


@login_required
@require_GET
def plan_trail_csv(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Hand out the filtered trail of a plan, oldest first."""
    plan = visible_plan(request, plan_id)
    return _export(request, plan, f"trail-{plan.external_id}")
