"""The pages of the trail: of the system and of one plan, checked, filtered, exported."""

import uuid
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_GET

from plans.models import SYSTEM_STREAM, Event, Plan, Stream, TrailCheck
from plans.pages.access import asked, one_page, person, visible_plan
from plans.people.permissions import may, require
from plans.trail.checkpoints import newest
from plans.trail.download import as_csv, as_json_lines
from plans.trail.events import ChainCheck, check_chain
from plans.trail.export import Excerpt, csv_lines

EVENTS_PER_PAGE = 100
CHECKED_UNASKED = 5000
"""A longer chain is walked only when somebody asks for it."""


def _chosen(request: HttpRequest) -> dict[str, str]:
    return {name: asked(request, name) for name in ("q", "kind", "who", "from", "to")}


def _day(text: str) -> datetime | None:
    """Return the beginning of a day (UTC); None where the text names none."""
    try:
        day = parse_date(text)
    except ValueError:
        return None
    return datetime.combine(day, time(), UTC) if day is not None else None


def _period(chosen: dict[str, str]) -> tuple[datetime | None, datetime | None]:
    """Return from when until when; the last day is part of it."""
    last = _day(chosen["to"])
    # After the last day of the calendar nothing comes.
    ends = last is not None and last.date() < date.max
    return _day(chosen["from"]), last + timedelta(days=1) if last and ends else None


def _events(plan: Plan | None, chosen: dict[str, str]) -> QuerySet[Event]:
    since, until = _period(chosen)
    events = Event.objects.told_of(plan).order_by("-seq").select_related("stream", "address")
    if chosen["q"]:
        events = events.filter(sentence__icontains=chosen["q"])
    if chosen["kind"]:
        events = events.filter(kind=chosen["kind"])
    if chosen["who"]:
        events = events.filter(actor_name=chosen["who"])
    if since is not None:
        events = events.filter(at__gte=since)
    return events.filter(at__lt=until) if until is not None else events


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
    reads_all = may(person(request), "read_trail")
    context |= {
        "kinds": _different(plan, "kind"),
        "people": _different(plan, "actor_name"),
        "addresses": reads_all,
        "checkpoint": newest(),
        "last_check": TrailCheck.objects.order_by("-at").first() if reads_all else None,
        "plan": plan,
    }
    return render(request, "plans/trail.html", context)


def _csv(request: HttpRequest, plan: Plan | None, name: str) -> HttpResponseBase:
    events = _events(plan, _chosen(request)).reverse()
    lines = csv_lines(events, addresses=may(person(request), "read_trail"))
    return as_csv(request, lines, name)


def _jsonl(request: HttpRequest, stream_key: str, name: str) -> HttpResponseBase:
    since, until = _period(_chosen(request))
    reads_all = may(person(request), "read_trail")
    return as_json_lines(request, Excerpt(stream_key, since, until, addresses=reads_all), name)


@login_required
@require_GET
def system_trail(request: HttpRequest) -> HttpResponse:
    """Show what happened outside of plans."""
    require(person(request), "read_trail")
    return _page(request, None)


@login_required
@require_GET
def system_trail_csv(request: HttpRequest) -> HttpResponseBase:
    """Hand out the filtered system trail, oldest first."""
    require(person(request), "read_trail")
    return _csv(request, None, "trail-system")


@login_required
@require_GET
def system_trail_jsonl(request: HttpRequest) -> HttpResponseBase:
    """Hand out the system's trail for the verifier."""
    require(person(request), "read_trail")
    return _jsonl(request, SYSTEM_STREAM, "trail-system")


@login_required
@require_GET
def everything_jsonl(request: HttpRequest) -> HttpResponseBase:
    """Hand out the whole trail, with all checkpoints and keys, for the verifier."""
    require(person(request), "read_trail")
    return _jsonl(request, "", "trail-everything")


@login_required
@require_GET
def plan_trail(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Show all that happened to a plan, with its hashes."""
    plan = visible_plan(request, plan_id)
    return _page(request, plan)


def _name(plan: Plan) -> str:
    return f"trail-{plan.external_id}"


@login_required
@require_GET
def plan_trail_csv(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponseBase:
    """Hand out the filtered trail of a plan, oldest first."""
    plan = visible_plan(request, plan_id)
    return _csv(request, plan, _name(plan))


@login_required
@require_GET
def plan_trail_jsonl(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponseBase:
    """Hand out the trail of a plan for the verifier."""
    plan = visible_plan(request, plan_id)
    return _jsonl(request, plan.stream_key, _name(plan))
