"""The pages of freezes: what holds now, what will, what did; declare one, lift one."""

import uuid
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from plans.models import Freeze
from plans.openings.freezing import declare_freeze, lift_freeze, named_of, scope_words
from plans.pages.access import one_page, person, viewer, visible_plans
from plans.pages.freeze_forms import FreezeForm
from plans.people.permissions import may, require
from plans.people.visible_rows import keys_seen
from plans.refusal import BadInput, Refused

FREEZES_PER_PAGE = 50
TONES = {"current": "frozen", "upcoming": "pending", "past": "archived", "lifted": "cancelled"}


def _row(freeze: Freeze, now: datetime, seen: frozenset[str] | None) -> dict[str, Any]:
    freeze.tenants = named_of(freeze, seen)
    stage = freeze.stage(now)
    return {
        "freeze": freeze,
        "stage": stage,
        "tone": TONES[stage],
        "scope": scope_words(freeze),
        "overriders": [role.replace("_", " ") for role in freeze.overriders],
        "dialog": f"lift-{freeze.pk}",
        "question": f"'{freeze.name}' ends at once for {scope_words(freeze)}: plans that wait for"
        " it go on as soon as their windows are open.",
    }


@login_required
@require_GET
def freeze_list(request: HttpRequest) -> HttpResponse:
    """List what holds and will hold, then what is over."""
    user = viewer(request)
    now = timezone.now()
    freezes = (
        Freeze.objects.visible_to(user)
        .select_related("plugin", "declared_by", "lifted_by")
        .annotate(let_through=Count("overrides", filter=Q(overrides__plan__in=visible_plans(user))))
    )
    seen = keys_seen(user)
    standing = freezes.standing(now).order_by("begins_at", "pk")
    over = freezes.filter(Q(ends_at__lte=now) | Q(lifted_at__isnull=False)).order_by("-begins_at")
    context = one_page(request, over, size=FREEZES_PER_PAGE, chosen={})
    context |= {
        "standing": [_row(freeze, now, seen) for freeze in standing],
        "over": [_row(freeze, now, seen) for freeze in context["page"]],
        "may_freeze": may(user, "freeze"),
    }
    return render(request, "plans/freeze_list.html", context)


@login_required
@require_http_methods(["GET", "POST"])
def freeze_new(request: HttpRequest) -> HttpResponse:
    """Declare a freeze."""
    user = person(request)
    require(user, "freeze")
    form = FreezeForm(request.POST or None)
    if request.method == "POST" and form.is_valid() and _declared(request, form):
        return redirect("freeze-list")
    return render(request, "plans/freeze_new.html", {"form": form})


def _declared(request: HttpRequest, form: FreezeForm) -> bool:
    """Declare what the form says; put what is wrong beside it."""
    try:
        freeze = declare_freeze(
            **form.cleaned_data, by=person(request), now=timezone.now(), via="page"
        )
    except BadInput as bad:
        for problem in bad.problems:
            field, colon, message = problem.partition(": ")
            known = bool(colon) and field in form.fields
            form.add_error(field if known else None, message if known else problem)
        return False
    held = "Nothing new is called" if freeze.begins_at <= timezone.now() else "It will hold"
    messages.success(request, f"'{freeze.name}' is declared. {held}: {scope_words(freeze)}.")
    return True


@login_required
@require_POST
def freeze_lift(request: HttpRequest, freeze_id: uuid.UUID) -> HttpResponse:
    """Lift a freeze."""
    user = viewer(request)
    try:
        freeze = lift_freeze(
            freeze_id=freeze_id,
            why=request.POST.get("reason", ""),
            by=user,
            now=timezone.now(),
            via="page",
        )
    except Refused as refused:
        if refused.status not in {409, 422}:
            raise
        messages.error(request, refused.sentence)
    else:
        messages.success(request, f"'{freeze.name}' is lifted.")
    return redirect("freeze-list")
