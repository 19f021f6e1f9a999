"""Acts on selected rows: a page says what will happen, then the one use case is called."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils import timezone

from plans.admin.rights import AnyModelAdmin, administrator
from plans.log_in.step_up import StepUp, StepUpRequired, step_up_of, stepping_up
from plans.refusal import Refused
from plans.trail.refusals import note_refusal

MOST_AT_ONCE = 50

Performer = Callable[[AnyModelAdmin, HttpRequest, QuerySet[Any]], HttpResponseBase | None]


@dataclass(frozen=True, slots=True)
class Act:
    """One act: what its button says, what its page warns of, and the use case it calls."""

    name: str
    label: str
    meaning: str
    run: Callable[..., object]
    reason_needed: bool = False
    steps_up: bool = False
    """Whether the session has to prove the person, once nothing else refuses the act."""
    warns: Callable[[Any, HttpRequest], str] | None = None
    """What its page says of one row beforehand, empty for nothing."""
    signs: bool = False
    """Whether `run` takes, after row, person, reason and time, what the session proves.

    An act that is signed asks by itself for a proof that is for it alone.
    """


def as_action(act: Act) -> Performer:
    """Return the act as an admin action with a confirmation page."""

    @admin.action(description=act.label)
    def perform(
        model_admin: AnyModelAdmin, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponseBase | None:
        rows = list(queryset[: MOST_AT_ONCE + 1])
        if len(rows) > MOST_AT_ONCE:
            messages.error(request, f"Choose at most {MOST_AT_ONCE} at once.")
            return None
        reason = request.POST.get("reason", "").strip()
        confirmed = request.POST.get("confirmed") == act.name
        if not confirmed or (act.reason_needed and not reason):
            return _confirmation(act, model_admin, request, rows, asked_before=confirmed)
        refusals = [(row, _perform_on(act, request, row, reason)) for row in rows]
        # Told afterwards: when a factor is asked for, all of it is posted once more.
        for row, refusal in refusals:
            if refusal is not None:
                _tell(request, row, refusal)
        return None

    perform.__name__ = act.name
    return perform


def _perform_on(act: Act, request: HttpRequest, row: Any, reason: str) -> Refused | None:
    """Do it to one row, or return why it is refused."""
    now = timezone.now()
    more: list[StepUp | None] = [step_up_of(request, now=now)] if act.signs else []
    try:
        with stepping_up(request, now=now) if act.steps_up else nullcontext():
            act.run(row, administrator(request), reason, now, *more)
    except StepUpRequired:
        # What was posted waits, and is posted again with the proof.
        raise
    except Refused as refusal:
        return refusal
    messages.success(request, f"{row}: done ({act.label}).")
    return None


def _tell(request: HttpRequest, row: Any, refusal: Refused) -> None:
    note_refusal(request, refusal, via="admin")
    possible = f" Possible now: {', '.join(refusal.possible)}." if refusal.possible else ""
    messages.error(request, f"{row}: {refusal.sentence}{possible}")


def _confirmation(
    act: Act,
    model_admin: AnyModelAdmin,
    request: HttpRequest,
    rows: list[Any],
    *,
    asked_before: bool,
) -> TemplateResponse:
    return TemplateResponse(
        request,
        "admin/confirm_act.html",
        {
            **model_admin.admin_site.each_context(request),
            "title": act.label,
            "act": act,
            "rows": [(row, act.warns(row, request) if act.warns else "") for row in rows],
            "opts": model_admin.opts,
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "reason_missing": asked_before,
        },
    )
