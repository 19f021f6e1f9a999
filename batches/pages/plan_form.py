"""The pages around plans that need batches: the list, the form with its preview, the inbox."""

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from batches.drills import schedules as drill_schedules
from batches.live.approval_inbox import decided_by, inbox
from batches.live.first_steps import first_steps
from batches.live.plan_list import PLANS_PER_PAGE, filtered, lines, tiles
from batches.models import TenantUpgrade
from batches.pages.plan_forms import PlanForm, values_of
from batches.pages.preview_words import batch_lines, guardrail_line
from batches.placebo.beside import beside_evidence
from batches.placebo.runs import newest_placebo
from batches.rollout.planning import draft_plan, preview_plan, revise_plan, submit
from plans.approvals.break_glass_reviewers import to_review
from plans.drafting.drafting import latest_policy
from plans.lifecycle import PLAN
from plans.models import Plan, Plugin, User
from plans.pages.access import asked, one_page, person, viewer, visible_plan, visible_plans
from plans.people.permissions import may, require
from plans.policies.policy_words import evidence_words
from plans.refusal import BadInput, NotFound, Refused
from plans.trail.refusals import note_refusal


@login_required
@require_GET
def plan_list(request: HttpRequest) -> HttpResponse:
    """List the plans that the person may see."""
    user = viewer(request)
    plans = visible_plans(user)
    chosen = {name: asked(request, name) for name in ("state", "plugin", "q")}
    context = one_page(request, filtered(plans, chosen), size=PLANS_PER_PAGE, chosen=chosen)
    context |= {
        "lines": lines(list(context["page"])),
        "tiles": tiles(plans),
        "states": PLAN.choices(),
        "plugins": Plugin.objects.values_list("key", flat=True),
        "may_draft": may(user, "draft"),
        "filtering": any(chosen.values()),
        "steps": first_steps(user, timezone.now()),
    }
    return render(request, "batches/plan_list.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def plan_new(request: HttpRequest) -> HttpResponse:
    """Draft a plan, empty or after another one."""
    require(person(request), "draft")
    form = PlanForm(request.POST or None, initial=_initial(request), by=person(request))
    if request.method != "POST":
        return _form_page(request, form)
    return _written(request, form, plan=None)


@login_required
@require_http_methods(["GET", "POST"])
def plan_edit(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Revise a plan that has not started; approvals become void."""
    plan = visible_plan(request, plan_id)
    require(person(request), "draft", plan)
    if not PLAN.allows(str(plan.state), "revise"):
        label = PLAN.states[str(plan.state)].lower()
        messages.error(request, f"This plan is {label}; its content can no longer be changed.")
        return redirect("live-plan", plan_id)
    form = PlanForm(
        request.POST or None, initial=values_of(plan), fixed_name=True, by=person(request)
    )
    if request.method != "POST":
        return _form_page(request, form, plan=plan)
    return _written(request, form, plan=plan)


@login_required
@require_POST
def plan_preview(request: HttpRequest) -> HttpResponse:
    """Render what the form's plan would be; writes nothing."""
    require(person(request), "draft")
    form = PlanForm(request.POST, by=person(request))
    return render(request, "batches/_plan_preview.html", _preview(form, person(request)))


@login_required
@require_POST
def plan_submit(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Hand a draft in."""
    visible_plan(request, plan_id)
    submit(plan_id=plan_id, by=person(request), now=timezone.now(), via="page")
    messages.success(request, "Submitted; the approvers see it now.")
    return redirect("live-plan", plan_id)


@login_required
@require_GET
def approval_inbox(request: HttpRequest) -> HttpResponse:
    """Show what waits for the person, most urgent first, and what they decided."""
    user = viewer(request)
    waiting = inbox(user, now=timezone.now())
    context = {
        "waiting": waiting,
        "decided": decided_by(user),
        "reviews": to_review(user, now=timezone.now()),
        "schedules": drill_schedules.waiting_for(user, now=timezone.now()),
    }
    return render(request, "batches/approval_inbox.html", context)


def _initial(request: HttpRequest) -> dict[str, Any]:
    """Return the values of the plan named by `from`, or what the address line suggests."""
    named = request.GET.get("from", "")
    if not named:
        user = person(request)
        return {
            "release": asked(request, "release"),
            "owner_name": user.get_full_name(),
            "owner_email": user.email,
        }
    try:
        plan_id = uuid.UUID(named)
    except ValueError as error:
        raise NotFound("There is no such plan.") from error
    plan = visible_plan(request, plan_id)
    values = values_of(plan) | {"not_before": None}
    if request.GET.get("tenants") == TenantUpgrade.QUARANTINED:
        rows = plan.tenant_upgrades.quarantined().order_by("position")
        keys = rows.values_list("tenant_key", flat=True)
        values |= {"tenants": "keys", "labels": "", "keys": "\n".join(keys)}
    return values


def _preview(form: PlanForm, by: User) -> dict[str, Any]:
    """Return what the preview shows of the form, or what is still missing."""
    if not form.is_valid():
        wrong = [
            f"{form.fields[name].label or name.replace('_', ' ').capitalize()}: {error}"
            for name, errors in form.errors.items()
            for error in errors
            if name in form.fields and form.data.get(name)
        ]
        return {"unfinished": True, "problems": wrong, "previewed": True}
    preview = preview_plan(draft=form.draft(), by=by, now=timezone.now())
    batches = batch_lines(preview)
    over = preview.forecast.first_over
    row = latest_policy(preview.policy.name) if preview.policy else None
    placebo = newest_placebo(row) if row is not None else None
    return {
        "previewed": True,
        "preview": preview,
        "problems": preview.problems,
        "batches": batches,
        "over": batches[over] if over is not None else None,
        "placebo": placebo,
        "evidence": evidence_words(preview.policy) if preview.policy else (),
        "beside": beside_evidence(preview.policy, name=row.name, digest=row.digest)
        if preview.policy and row is not None
        else None,
        "guardrails": [
            guardrail_line(
                guardrail,
                scope=preview.policy.rollback.scope if preview.policy else "plan",
                placebo=placebo,
            )
            for guardrail in preview.guardrails
        ],
    }


def _form_page(
    request: HttpRequest, form: PlanForm, *, plan: Plan | None = None, **more: Any
) -> HttpResponse:
    context = {"form": form, "plan": plan, "copied": request.GET.get("from", "")}
    return render(request, "batches/plan_form.html", context | more)


def _written(request: HttpRequest, form: PlanForm, *, plan: Plan | None) -> HttpResponse:
    """Save what the form says, and hand it in where asked; else show it again with its problems."""
    act = request.POST.get("act", "save")
    if act == "preview":
        return _form_page(request, form, plan=plan, **_preview(form, person(request)))
    if not form.is_valid():
        return _form_page(request, form, plan=plan)
    user, now = person(request), timezone.now()
    try:
        if plan is None:
            saved = draft_plan(draft=form.draft(), author=user, now=now, via="page")
        else:
            saved = revise_plan(
                plan_id=plan.pk, draft=form.draft(), editor=user, now=now, via="page"
            )
    except BadInput as bad:
        return _form_page(request, form, plan=plan, refused=bad.problems)
    except Refused as refused:
        note_refusal(request, refused, via="page")
        return _form_page(request, form, plan=plan, refused=[refused.sentence])
    return _handed_in(request, saved) if act == "submit" else _saved(request, saved)


def _saved(request: HttpRequest, plan: Plan) -> HttpResponse:
    messages.success(request, "Saved as a draft; submit it when it is ready.")
    return redirect("live-plan", plan.pk)


def _handed_in(request: HttpRequest, plan: Plan) -> HttpResponse:
    """Submit a plan that was saved just now; a refusal leaves it a draft and says so."""
    try:
        submit(plan_id=plan.pk, by=person(request), now=timezone.now(), via="page")
    except Refused as refused:
        note_refusal(request, refused, via="page")
        messages.warning(request, f"Saved as a draft, not submitted: {refused.sentence}")
    else:
        messages.success(request, "Saved and submitted; the approvers see it now.")
    return redirect("live-plan", plan.pk)
