"""The questions before acts on batches and tenants, and the acts: in a dialog or as a page."""

import uuid
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from batches.live.act_questions import ACTION_OF, AskedFor, question
from batches.pages.live_plan import carry_out
from batches.rollout import leaving_out
from batches.rollout.retrying import retry
from plans.log_in.step_up import step_up_of
from plans.pages.access import person, visible_plan
from plans.people.permissions import ROLES_OF_ACTION, require
from plans.refusal import NotAllowed, NotFound, Refused

IN_DIALOG = "X-Dialog"


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else None


def _asked(values: Any) -> AskedFor:
    return AskedFor(_number(values.get("batch", "")), tuple(values.getlist("tenant")))


@login_required
@require_GET
def ask(request: HttpRequest, plan_id: uuid.UUID, act: str) -> HttpResponse:
    """Ask before an act, naming whom it is about; a fragment for the page's dialog."""
    plan = visible_plan(request, plan_id)
    in_dialog = IN_DIALOG in request.headers
    action = ACTION_OF.get(act, act)
    try:
        # Whoever may not is not told of whom the act would be about. Unknown acts: the question.
        if action in ROLES_OF_ACTION:
            require(person(request), action, plan)
        asked = question(plan, act, _asked(request.GET))
    except NotFound:
        raise
    except Refused as refused:
        if in_dialog:
            return JsonResponse({"sentence": refused.sentence}, status=refused.status)
        if isinstance(refused, NotAllowed):
            raise
        messages.error(request, refused.sentence)
        return HttpResponseRedirect(reverse("live-plan", args=[plan_id]))
    target = (
        reverse("live-plan-rollback", args=[plan_id])
        if act == "rollback"
        else reverse("live-plan-do", args=[plan_id, act])
    )
    template = "batches/_act_question.html" if in_dialog else "batches/act_question.html"
    context = {"plan": plan, "question": asked, "target": target, "in_dialog": in_dialog}
    return render(request, template, context)


@login_required
@require_POST
def do(request: HttpRequest, plan_id: uuid.UUID, act: str) -> HttpResponse:
    """Carry out an act on batches or tenants."""
    if act not in ACTS:
        raise NotFound("There is no such act.")
    asked = _asked(request.POST)
    use_case, done, arguments = ACTS[act]
    more = {}
    if act in STEPPED_UP:
        more["step_up"] = step_up_of(request, now=timezone.now())
    return carry_out(
        request,
        plan_id,
        use_case,
        done,
        reason=request.POST.get("reason", ""),
        arguments=lambda: arguments(asked),
        **more,
    )


def _tenants(asked: AskedFor) -> dict[str, Any]:
    return {"tenant_keys": asked.tenants}


def _batch(asked: AskedFor) -> dict[str, Any]:
    return {"batch_number": asked.need_batch()}


def _either(asked: AskedFor) -> dict[str, Any]:
    return {"tenant_keys": asked.tenants, "batch_number": asked.batch}


STEPPED_UP = frozenset({"retry"})
"""The acts that may let somebody out of quarantine."""


def _nothing(asked: AskedFor) -> dict[str, Any]:
    return {}


ACTS: dict[str, tuple[Callable[..., object], str, Callable[[AskedFor], dict[str, Any]]]] = {
    "retry": (retry, "They are called again.", _either),
    "exclude": (leaving_out.exclude, "Left out.", _tenants),
    "skip": (leaving_out.skip_batch, "The batch is skipped.", _batch),
    "unskip": (leaving_out.unskip_batch, "The batch is back.", _batch),
    "jump": (leaving_out.jump, "The batches before it are skipped.", _batch),
    "skip-rest": (leaving_out.skip_rest, "Nobody else will be upgraded.", _nothing),
}
