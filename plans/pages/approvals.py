"""The acts on a plan before and after its run that need nothing but people."""

import uuid

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from plans.approvals import approval
from plans.approvals.informed_verdict import approve_seen, reject_seen
from plans.log_in.step_up import step_up_of
from plans.pages.access import person, visible_plan


@login_required
@require_POST
def approve_plan(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Say yes to the content that was shown, with a second factor that was used just now."""
    visible_plan(request, plan_id)
    now = timezone.now()
    plan = approve_seen(
        plan_id=plan_id,
        seen_digest=request.POST.get("digest", ""),
        approver=person(request),
        comment=request.POST.get("comment", ""),
        now=now,
        via="page",
        step_up=step_up_of(request, now=now),
    )
    complete = not plan.approval_requests.filter(closed_at=None).exists()
    what = (
        "plan is approved" if str(plan.state) == "approved" else "change is approved and in force"
    )
    done = f"The {what}." if complete else "Your approval counts."
    messages.success(request, done)
    return redirect("live-plan", plan_id)


@login_required
@require_POST
def reject_plan(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Say no to the content that was shown, and why."""
    visible_plan(request, plan_id)
    plan = reject_seen(
        plan_id=plan_id,
        seen_digest=request.POST.get("digest", ""),
        approver=person(request),
        reason=request.POST.get("reason", ""),
        now=timezone.now(),
        via="page",
    )
    what = "plan" if str(plan.state) == "rejected" else "change"
    messages.success(request, f"The {what} is rejected; its author sees your reason.")
    return redirect("live-plan", plan_id)


@login_required
@require_POST
def cancel_plan(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Give the plan up before it has started."""
    visible_plan(request, plan_id)
    approval.cancel(
        plan_id=plan_id,
        by=person(request),
        reason=request.POST.get("reason", "").strip(),
        now=timezone.now(),
        via="page",
    )
    messages.success(request, "The plan is cancelled.")
    return redirect("live-plan", plan_id)


@login_required
@require_POST
def archive_plan(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Put an ended plan away."""
    visible_plan(request, plan_id)
    approval.archive(plan_id=plan_id, by=person(request), now=timezone.now(), via="page")
    messages.success(request, "The plan is archived.")
    return redirect("live-plan", plan_id)
