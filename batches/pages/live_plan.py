"""The live page of a plan: the page, its parts, and the acts on it."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.template.exceptions import TemplateDoesNotExist
from django.template.loader import get_template
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET, require_POST

from batches.evidence.soak_outlook import kept_outlook
from batches.lifecycle import TENANT_UPGRADE
from batches.live.ladder import rungs
from batches.live.plan_tables import event_rows, page_of_tenants, recent_answers
from batches.live.snapshot import plan_snapshot
from batches.live.snapshot_batches import WORST_FIRST
from batches.live.weighing import weighing_of
from batches.looks.charts import plan_charts
from batches.placebo.beside import beside_plan as placebo_beside
from batches.rollback import rollback
from batches.rollout import control, launch, settling, stopping
from plans.approvals import approval
from plans.approvals.signing_preview import what_is_signed
from plans.lifecycle import LIVE_PLAN_STATES
from plans.log_in.step_up import StepUpRequired, step_up_of
from plans.models import Plan
from plans.openings import freezing
from plans.pages.access import person, visible_plan
from plans.people.permissions import approval_roles, roles_over, what_they_may
from plans.refusal import BadInput, NotFound, Refused
from plans.trail.refusals import note_refusal

APPROVAL_PANEL = "plans/_approval_panel.html"
CURRENT = ("deploying", "soaking", "held", "rolling_back", "needs_hand")
ACTIONS = (
    *("start", "pause", "resume", "rollback", "promote", "settle"),
    *("retry", "exclude", "skip", "stop", "adjust", "draft", "break_glass"),
)
UNDER_WAY = ("running", "paused")
STATES = [(state, TENANT_UPGRADE.states[state]) for state in WORST_FIRST]


def _acting(request: HttpRequest, plan: Plan) -> dict[str, Any]:
    """Return what the person may do with the plan, and whether tenants can be chosen for it."""
    allowed = what_they_may(person(request), ACTIONS, plan)
    # Nobody is offered what the release forbids; the way out is to stop the plan.
    allowed["rollback"] = allowed["rollback"] and not plan.release.irreversible
    under_way = str(plan.state) in UNDER_WAY
    return {
        "may": allowed,
        "under_way": under_way,
        "choosing": under_way and any(allowed[act] for act in ("retry", "exclude", "rollback")),
    }


def _picture(request: HttpRequest, plan: Plan) -> dict[str, Any]:
    """Return what the page and its parts show."""
    snapshot = plan_snapshot(plan.pk)
    roles = roles_over(person(request), plan, at=snapshot["server_time"])
    opening = snapshot["opening"] or {"freezes": ()}
    return {
        "may_let_through": {f["id"] for f in opening["freezes"] if roles & set(f["overriders"])},
        "plan": plan,
        "snapshot": snapshot,
        "states": STATES,
        "rungs": rungs(snapshot["batches"]),
        "possible": set(snapshot["plan"]["possible"]),
        "broken_glass": plan.broken_glass.select_related("by", "reviewed_by"),
        "current": next((b for b in snapshot["batches"] if b["state"] in CURRENT), None),
        **_verdict_on_change(request, plan, snapshot),
        **_acting(request, plan),
    }


def _verdict_on_change(
    request: HttpRequest, plan: Plan, snapshot: dict[str, Any]
) -> dict[str, Any]:
    """Return for which roles the person may decide about the change that waits, or why not."""
    if snapshot["adjusting"]["waiting"] is None:
        return {}
    user, now = person(request), timezone.now()
    if not approval_roles(user, at=now, plan=plan):
        return {}
    asked = plan.approval_requests.filter(closed_at=None).first()
    if asked is None:
        return {}
    try:
        roles = approval.standing(asked, plan, user, now)
        return {"my_roles": roles, "signs": what_is_signed(plan, asked, now=now)}
    except Refused as refused:
        return {"why_not": refused.sentence}


def _exists(template: str) -> bool:
    try:
        get_template(template)
    except TemplateDoesNotExist:
        return False
    return True


@login_required
@require_GET
def live_plan(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Show the plan, in whatever state it is."""
    plan = visible_plan(request, plan_id)
    context = _picture(request, plan)
    # Read after the picture: what has changed since then is told to the page by the feed. The
    # other way round a plan that starts right now would be drawn as running without its charts.
    plan = context["plan"] = visible_plan(request, plan_id)
    context |= {
        "approval_panel": APPROVAL_PANEL if _exists(APPROVAL_PANEL) else "",
        "events": event_rows(plan, of="all"),
        "answers": recent_answers(plan.pk),
        "started": plan.started_at is not None,
        "soaks": kept_outlook(plan),
        "live": str(plan.state) in LIVE_PLAN_STATES,
    }
    if plan.started_at is None:
        context["beside"] = placebo_beside(plan)
        context["weighing"] = weighing_of(plan, context["snapshot"], person(request))
    context |= page_of_tenants(plan, request.GET)
    return render(request, "batches/live_plan.html", context)


@login_required
@require_GET
def parts(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Render again the parts that change while a plan runs, each under its name."""
    context = _picture(request, visible_plan(request, plan_id))
    return render(request, "batches/_parts.html", context)


@login_required
@require_GET
def tenants(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Render one page of the tenant table."""
    plan = visible_plan(request, plan_id)
    context = {"plan": plan, **_acting(request, plan)}
    return render(
        request, "batches/_tenant_rows.html", context | page_of_tenants(plan, request.GET)
    )


@login_required
@require_GET
def event_log(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Render the log: newest first, `of` one loudness, `before` a sequence number."""
    plan = visible_plan(request, plan_id)
    before = request.GET.get("before", "")
    rows = event_rows(
        plan,
        of=request.GET.get("of", "all"),
        before=int(before) if before.isascii() and before.isdigit() else None,
    )
    return render(
        request, "batches/_event_rows.html", {"plan": plan, "events": rows, "of": rows.of}
    )


@login_required
@require_GET
def snapshot_json(request: HttpRequest, plan_id: uuid.UUID) -> JsonResponse:
    """Answer the snapshot: what the page polls where sockets are blocked."""
    return JsonResponse(plan_snapshot(visible_plan(request, plan_id).pk))


@login_required
@require_GET
def charts_json(request: HttpRequest, plan_id: uuid.UUID) -> JsonResponse:
    """Answer the charts of the plan with their points so far."""
    return JsonResponse(plan_charts(visible_plan(request, plan_id)))


def carry_out(
    request: HttpRequest,
    plan_id: uuid.UUID,
    do: Callable[..., object],
    done: str,
    *,
    arguments: Callable[[], dict[str, Any]] = dict,
    **more: Any,
) -> HttpResponse:
    """Carry one use case out and say what came of it: as JSON to scripts, else as a message.

    `arguments` reads further ones from the request and may refuse them.
    """
    visible_plan(request, plan_id)
    scripted = request.headers.get("Accept", "").startswith("application/json")
    by, now = person(request), timezone.now()
    try:
        do(plan_id=plan_id, by=by, now=now, via="page", **arguments(), **more)
    except StepUpRequired:
        raise
    except Refused as refused:
        note_refusal(request, refused, via="page")
        if scripted:
            told = {"refused": True, "sentence": refused.sentence}
            return JsonResponse(told, status=refused.status)
        messages.error(request, refused.sentence)
    else:
        if scripted:
            return JsonResponse({"refused": False, "sentence": done})
        messages.success(request, done)
    return HttpResponseRedirect(reverse("live-plan", args=[plan_id]))


@login_required
@require_POST
def start_plan(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Start an approved plan."""
    return carry_out(request, plan_id, launch.start, "The plan has started.")


@login_required
@require_POST
def pause_plan(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Pause at once."""
    done = "Paused. Nothing new starts; resume in time, or everything is taken back."
    return carry_out(request, plan_id, control.pause, done, reason=request.POST.get("reason", ""))


@login_required
@require_POST
def resume_plan(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Go on after a pause."""
    return carry_out(request, plan_id, control.resume, "The plan goes on.")


@login_required
@require_POST
def promote_batch(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Let the batch at a manual gate begin; the page names the one that it showed."""
    number = request.POST.get("batch", "")
    return carry_out(
        request,
        plan_id,
        control.promote,
        "The next batch may begin.",
        batch_number=int(number) if number.isascii() and number.isdigit() else None,
        step_up=step_up_of(request, now=timezone.now()),
    )


@login_required
@require_POST
def release_hold(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Let a held batch go on."""
    reason = request.POST.get("reason", "")
    return carry_out(request, plan_id, control.release_hold, "The batch goes on.", reason=reason)


@login_required
@require_POST
def roll_back(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Take the plan, its newest batch or named tenants back."""
    return carry_out(
        request,
        plan_id,
        rollback.request_rollback,
        "The rollback runs.",
        reason=request.POST.get("reason", ""),
        scope=request.POST.get("scope") or None,
        tenants=request.POST.getlist("tenant"),
    )


@login_required
@require_POST
def stop_plan(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """End the plan where it stands."""
    done = "Stopped here. Nothing more is upgraded, nothing is taken back."
    return carry_out(
        request, plan_id, stopping.stop_here, done, reason=request.POST.get("reason", "")
    )


@login_required
@require_POST
def let_through(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Let the plan through a freeze."""
    return carry_out(
        request,
        plan_id,
        freezing.override_freeze,
        "The plan was let through; the trail and the report say so.",
        freeze_id=_uuid(request.POST.get("freeze", "")),
        reason=request.POST.get("reason", ""),
        expires_at=_moment(request.POST.get("expires_at", "")),
        step_up=step_up_of(request, now=timezone.now()),
    )


def _moment(written: str) -> datetime | None:
    """Return the time in UTC that a form names; BadInput when it is none."""
    if not written.strip():
        return None
    try:
        moment = parse_datetime(written.strip())
        if moment is not None:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise BadInput([f"expires_at: {written!r} is no date and time; write 2026-11-30T18:00"])


def _uuid(written: str) -> uuid.UUID:
    try:
        return uuid.UUID(written)
    except ValueError as error:
        raise NotFound("There is no such freeze.") from error


@login_required
@require_POST
def settle_tenants(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Say what became of tenants that needed a hand."""
    return carry_out(
        request,
        plan_id,
        settling.settle,
        "Settled.",
        tenant_keys=request.POST.getlist("tenant"),
        outcome=request.POST.get("outcome", ""),
        reason=request.POST.get("reason", ""),
    )


@login_required
@require_POST
def retry_tenants(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Try again to take back every tenant that needs a hand."""
    return carry_out(request, plan_id, settling.retry_needs_hand, "Another try runs.")
