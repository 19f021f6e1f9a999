"""The pages of drills: what was rehearsed and how it went, run one now, keep a schedule."""

import uuid
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from batches.drills import schedules as drill_schedules
from batches.drills.rehearsing import begin_rehearsal
from batches.models import DrillSchedule, RollbackDrill
from batches.models.drill_record import fault_words
from batches.pages.drill_forms import DrillForm, ScheduleForm
from plans.log_in.step_up import step_up_of
from plans.pages.access import asked, one_page, person, viewer
from plans.people.permissions import may, require
from plans.refusal import BadInput, NotAllowed, NotFound, Refused
from plans.trail.refusals import note_refusal

DRILLS_PER_PAGE = 25
OUTCOMES = (("passed", "Passed"), ("failed", "Failed"), ("cut_short", "Cut short"))


@login_required
@require_GET
def drill_list(request: HttpRequest) -> HttpResponse:
    """List the drills of the plans that the person may see, and the schedules."""
    user = viewer(request)
    chosen = {name: asked(request, name) for name in ("outcome", "inject")}
    drills = RollbackDrill.objects.visible_to(user).select_related(
        "plan__plugin", "plan__release", "schedule"
    )
    if chosen["outcome"] in dict(OUTCOMES):
        drills = drills.filter(outcome=chosen["outcome"])
    if chosen["inject"] in dict(RollbackDrill.INJECTS):
        drills = drills.filter(inject=chosen["inject"])
    context = one_page(request, drills, size=DRILLS_PER_PAGE, chosen=chosen)
    context |= {
        "drills": list(context["page"]),
        "schedules": [
            (
                row,
                drill_schedules.missing_roles(row),
                drill_schedules.may_agree(user, row, at=timezone.now()),
            )
            for row in drill_schedules.schedules(user)
        ],
        "outcomes": OUTCOMES,
        "faults": [(word, fault_words(word)) for word, _label in RollbackDrill.INJECTS],
        "may_drill": may(user, "draft"),
        "may_start": may(user, "start"),
        "filtering": any(chosen.values()),
    }
    return render(request, "batches/drill_list.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def drill_new(request: HttpRequest) -> HttpResponse:
    """Hand in one drill."""
    user = person(request)
    require(user, "draft")
    form = DrillForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return render(request, "batches/drill_new.html", {"form": form})
    try:
        drill = begin_rehearsal(wanted=form.wanted(), by=user, now=timezone.now(), via="page")
    except Refused as refused:
        note_refusal(request, refused, via="page")
        context = {"form": form, "problems": _problems(refused)}
        return render(request, "batches/drill_new.html", context)
    messages.success(request, "The drill is handed in; it begins when its approvers have agreed.")
    return redirect("live-plan", drill.plan_id)


@login_required
@require_http_methods(["GET", "POST"])
def schedule_new(request: HttpRequest) -> HttpResponse:
    """Make a schedule."""
    user = person(request)
    require(user, "draft")
    form = ScheduleForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        return render(request, "batches/drill_new.html", {"form": form, "schedule": True})
    try:
        drill_schedules.make_schedule(given=form.given(), by=user, now=timezone.now(), via="page")
    except Refused as refused:
        note_refusal(request, refused, via="page")
        context = {"form": form, "schedule": True, "problems": _problems(refused)}
        return render(request, "batches/drill_new.html", context)
    messages.success(request, "The schedule is kept; it runs when its approvers have agreed.")
    return redirect("drill-list")


@login_required
@require_POST
def schedule_approve(request: HttpRequest, schedule_id: uuid.UUID) -> HttpResponse:
    """Agree to every run of a schedule."""
    done = "Agreed. Your yes holds for every run until the schedule is switched off."
    comment = request.POST.get("reason", "")
    proved = step_up_of(request, now=timezone.now())
    return _act(
        request,
        schedule_id,
        drill_schedules.approve_schedule,
        done,
        comment=comment,
        step_up=proved,
    )


@login_required
@require_POST
def schedule_switch(request: HttpRequest, schedule_id: uuid.UUID) -> HttpResponse:
    """Switch a schedule on or off."""
    on = request.POST.get("on") == "1"
    done = f"The schedule is {'on' if on else 'off'}."
    return _act(request, schedule_id, drill_schedules.switch, done, on=on)


@login_required
@require_POST
def schedule_run(request: HttpRequest, schedule_id: uuid.UUID) -> HttpResponse:
    """Run a schedule once, now."""
    return _act(request, schedule_id, drill_schedules.run_now, "The drill begins.")


def _act(
    request: HttpRequest,
    schedule_id: uuid.UUID,
    do: Callable[..., object],
    done: str,
    **arguments: Any,
) -> HttpResponse:
    """Carry one use case out and say what came of it."""
    user = viewer(request)
    if not DrillSchedule.objects.visible_to(user).filter(pk=schedule_id).exists():
        raise NotFound("There is no such schedule.")
    try:
        do(schedule_id=schedule_id, by=user, now=timezone.now(), via="page", **arguments)
    except NotAllowed:
        raise
    except Refused as refused:
        note_refusal(request, refused, via="page")
        messages.error(request, "; ".join(_problems(refused)))
    else:
        messages.success(request, done)
    return redirect("drill-list")


def _problems(refused: Refused) -> tuple[str, ...]:
    return tuple(refused.problems) if isinstance(refused, BadInput) else (refused.sentence,)
