"""The pages of access: who may do what on a day, and roles that wait for a second person."""

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from plans.log_in.step_up import stepping_up
from plans.models import CONSOLE_ROLES, RoleBinding, RoleRequest, User
from plans.pages.access import asked, person
from plans.people.access_review import KINDS, access_review, as_csv, asked_time
from plans.people.permissions import may, require
from plans.people.role_confirming import (
    confirm_role,
    has_opened,
    open_requests_for,
    refuse_role,
    warning_of,
)
from plans.people.role_records import shown
from plans.reach import selector_words
from plans.refusal import BadInput


def _row(waiting: RoleRequest, may_confirm: bool, user: User) -> dict[str, Any]:
    whose, tenants = waiting.user.get_full_name(), selector_words(waiting.selector)
    own, warning = waiting.asked_by_id == user.pk, warning_of(waiting)
    approves = waiting.kind == RoleBinding.APPROVAL
    role = waiting.role if approves else dict(CONSOLE_ROLES)[waiting.role]
    then = f"may then approve as {role}" if approves else f"holds the console role {role} then,"
    return {
        "request": waiting,
        "may_confirm": may_confirm,
        "own": own,
        "role": role,
        "tenants": tenants,
        "why_not": _why_not(waiting, user),
        "confirm": f"confirm-{waiting.pk}",
        "refuse": f"refuse-{waiting.pk}",
        "warning": warning,
        "confirm_question": f"{whose} {then} for {tenants}. {warning}".strip(),
        "refuse_question": f"{whose} does not become {role}.",
        "refuse_title": "Take the request back?" if own else "Refuse this role?",
        "refuse_label": "Take it back" if own else "Refuse it",
    }


def _why_not(waiting: RoleRequest, user: User) -> str:
    if waiting.user_id == user.pk:
        return "it is for you"
    if has_opened(user, waiting.user):
        return "you have opened a way into this account"
    return "asked before you administered"


@login_required
@require_GET
def review_page(request: HttpRequest) -> HttpResponse:
    """Show who could do what for which tenants, now or on a day."""
    user = person(request)
    require(user, "review_access")
    now = timezone.now()
    chosen = {name: asked(request, name) for name in ("at", "q", "kind")}
    context: dict[str, Any] = {
        "chosen": chosen,
        "kinds": KINDS,
        "waiting": [_row(one, mine, user) for one, mine in open_requests_for(user, now=now)],
        "may_administer": may(user, "administer"),
    }
    try:
        review = access_review(asked_time(chosen["at"], now=now))
    except BadInput as bad:
        return render(request, "plans/access_review.html", context | {"problems": bad.problems})
    words = chosen["q"].lower()
    lines = [
        line
        for line in review.held
        if (not chosen["kind"] or line.kind == chosen["kind"])
        and words in f"{line.name} {line.email} {line.held} {line.tenants}".lower()
    ]
    context |= {
        "review": review,
        "lines": lines,
        "is_now": review.at == now,
        "day": chosen["at"][: len("2026-01-31")],
    }
    return render(request, "plans/access_review.html", context)


@login_required
@require_GET
def review_csv(request: HttpRequest) -> HttpResponse:
    """Hand out the whole review as CSV."""
    require(person(request), "review_access")
    review = access_review(asked_time(asked(request, "at"), now=timezone.now()))
    response = HttpResponse(as_csv(review), content_type="text/csv; charset=utf-8")
    name = f"access-{review.at:%Y%m%dT%H%M%SZ}.csv"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "private, no-store"
    return response


@login_required
@require_POST
def role_confirm(request: HttpRequest, request_id: uuid.UUID) -> HttpResponse:
    """Confirm a role as the second administrator."""
    by = person(request)
    now = timezone.now()
    with stepping_up(request, now=now):
        binding = confirm_role(request_id=request_id, by=by, now=now, via="page")
    messages.success(
        request,
        f"{binding.user.get_full_name()} holds the {binding.get_kind_display().lower()}"
        f" {shown(binding.role)} now.",
    )
    return redirect("access-review")


@login_required
@require_POST
def role_refuse(request: HttpRequest, request_id: uuid.UUID) -> HttpResponse:
    """Refuse a role, or take one's own request back."""
    why = request.POST.get("reason", "")
    refuse_role(request_id=request_id, why=why, by=person(request), now=timezone.now(), via="page")
    messages.success(request, "The role is not given.")
    return redirect("access-review")
