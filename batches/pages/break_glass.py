"""The pages of acts without the approvers: the question before one, the list, the review."""

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from batches.break_glass.acting_alone import ACTS, DONE, act_now, break_glass
from batches.break_glass.review import review
from batches.pages.break_glass_forms import BreakGlassForm
from plans.approvals.break_glass_reviewers import may_review
from plans.log_in.step_up import step_up_of
from plans.models import BreakGlass, Plan, User
from plans.pages.access import one_page, person, viewer, visible_plan
from plans.people.permissions import require
from plans.refusal import BadInput, NotAllowed, NotFound, Refused

PER_PAGE = 50


@login_required
@require_http_methods(["GET", "POST"])
def break_glass_page(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Ask before an act without the approvers, and do it."""
    plan = visible_plan(request, plan_id)
    user = person(request)
    require(user, "break_glass", plan)
    act = (request.POST or request.GET).get("act", "")
    if act not in ACTS:
        raise NotFound("There is no such act.")
    first = {"act": act, "batch": request.GET.get("batch")}
    form = BreakGlassForm(request.POST or None, initial=first)
    if request.method == "POST" and form.is_valid() and _broken(request, plan, form):
        return redirect("live-plan", plan_id)
    return render(request, "batches/break_glass.html", _question(plan, act, form, user))


def _question(plan: Plan, act: str, form: BreakGlassForm, user: User) -> dict[str, Any]:
    context: dict[str, Any] = {"plan": plan, "act": act, "form": form, "doing": ACTS[act]}
    try:
        context["now"] = act_now(plan, act, by=user, now=timezone.now())
    except Refused as refused:
        context["refused"] = refused.sentence
    return context


def _broken(request: HttpRequest, plan: Plan, form: BreakGlassForm) -> bool:
    now = timezone.now()
    given = form.cleaned_data
    try:
        break_glass(
            plan_id=plan.pk,
            act=given["act"],
            by=person(request),
            reason=given["reason"],
            now=now,
            via="page",
            step_up=step_up_of(request, now=now),
            batch_number=given["batch"],
        )
    except NotAllowed:
        raise
    except BadInput as bad:
        for problem in bad.problems:
            form.add_error(None, problem)
        return False
    except Refused as refused:
        form.add_error(None, refused.sentence)
        return False
    messages.warning(
        request,
        "Done without the approvers. All of them are told; somebody else reviews it within a day.",
    )
    return True


@login_required
@require_GET
def break_glass_list(request: HttpRequest) -> HttpResponse:
    """List every act without the approvers that this person may see, those to review first."""
    user = viewer(request)
    now = timezone.now()
    rows = (
        BreakGlass.objects.visible_to(user)
        .select_related("plan__plugin", "plan__release", "plan__author", "by", "reviewed_by")
        .order_by("-at")
    )
    open_ones = rows.unreviewed().order_by("review_due")
    context = one_page(request, rows.exclude(reviewed_at=None), size=PER_PAGE, chosen={})
    context |= {
        "waiting": [
            {
                "broken": one,
                "done": DONE[one.act],
                "overdue": one.is_overdue(now),
                "may_review": may_review(user, one, now=now),
            }
            for one in open_ones
        ],
        "reviewed": [{"broken": one, "done": DONE[one.act]} for one in context["page"]],
        "verdicts": BreakGlass.VERDICTS,
    }
    return render(request, "batches/break_glass_list.html", context)


@login_required
@require_POST
def break_glass_review(request: HttpRequest, break_glass_id: uuid.UUID) -> HttpResponse:
    """Say whether it was right."""
    user = viewer(request)
    seen = BreakGlass.objects.visible_to(user).filter(pk=break_glass_id)
    if not seen.exists():
        raise NotFound("There is no such act.")
    try:
        review(
            break_glass_id=break_glass_id,
            by=user,
            verdict=request.POST.get("verdict", ""),
            comment=request.POST.get("comment", ""),
            now=timezone.now(),
            via="page",
        )
    except NotAllowed:
        raise
    except Refused as refused:
        messages.error(request, refused.sentence)
    else:
        messages.success(request, "Reviewed; the trail and the report say so.")
    return redirect("break-glass-list")
