"""The page that changes a running plan, beside what the change would do."""

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from batches.adjust.apply import Adjusted, adjust
from batches.adjust.preview import preview_adjustment
from batches.adjust.proposal import ADJUSTABLE, probe_what_is_added
from batches.pages.adjust_forms import AdjustForm
from plans.models import Adjustment, Plan
from plans.pages.access import person, visible_plan
from plans.people.permissions import require
from plans.refusal import BadInput


@login_required
@require_http_methods(["GET", "POST"])
def adjust_plan(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Show the values that may change, and change them."""
    plan = visible_plan(request, plan_id)
    require(person(request), "adjust", plan)
    if str(plan.state) not in ADJUSTABLE:
        label = plan.lifecycle.states[str(plan.state)].lower()
        messages.error(request, f"This plan is {label}; only a running or paused one is adjusted.")
        return redirect("live-plan", plan_id)
    form = AdjustForm(plan, request.POST or None)
    if request.method != "POST":
        return _page(request, plan, form)
    if request.POST.get("act") == "preview":
        return _page(request, plan, form, **_preview(plan, form))
    if not form.is_valid():
        return _page(request, plan, form)
    try:
        done = adjust(
            plan_id=plan.pk,
            wanted=form.wanted(),
            by=person(request),
            reason=form.cleaned_data["reason"],
            now=timezone.now(),
            via="page",
            expiry=form.expiry(),
            split=form.cleaned_data["split"],
        )
    except BadInput as bad:
        return _page(request, plan, form, refused=bad.problems)
    messages.success(request, _said(done))
    return redirect("live-plan", plan_id)


@login_required
@require_POST
def preview_plan_adjustment(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Render what the form's change would do; writes nothing."""
    plan = visible_plan(request, plan_id)
    require(person(request), "adjust", plan)
    context = _preview(plan, AdjustForm(plan, request.POST))
    return render(request, "batches/_adjust_preview.html", {"plan": plan} | context)


def _preview(plan: Plan, form: AdjustForm) -> dict[str, Any]:
    form.is_valid()
    # The reason is asked for at the end; nobody is to be told at the first key stroke.
    wrong = [
        f"{form.fields[name].label or name.capitalize()}: {error}"
        for name, errors in form.errors.items()
        for error in errors
        if name != "reason"
    ]
    if wrong:
        return {"previewed": True, "problems": wrong}
    if not form.has_changes():
        return {"previewed": False}
    wanted, now = form.wanted(), timezone.now()
    # Once only: the page asks for a preview at each key stroke.
    probe_what_is_added(plan, wanted, now=now, via="page", again=False)
    preview = preview_adjustment(
        plan=plan,
        wanted=wanted,
        now=now,
        expiry=form.expiry(),
        split=form.cleaned_data["split"],
    )
    return {"previewed": True, "preview": preview, "problems": preview.problems}


def _page(request: HttpRequest, plan: Plan, form: AdjustForm, **more: Any) -> HttpResponse:
    waiting = plan.adjustments.filter(state=Adjustment.WAITING).first()
    context = {"plan": plan, "form": form, "waiting": waiting}
    return render(request, "batches/adjust.html", context | more)


def _said(done: Adjusted) -> str:
    said = []
    if done.applied is not None:
        said.append("In force from the next look on.")
    if done.waiting is not None and done.waiting.request is not None:
        roles = ", ".join(done.waiting.request.roles)
        said.append(f"What is looser waits for {roles}; nothing of it changes before.")
    return " ".join(said)
