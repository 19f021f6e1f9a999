"""The page of a plan's signed approvals: who agreed to what, how, until when, and what used it."""

import json
import uuid
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from plans.approvals.grant_claims import GrantRefused
from plans.approvals.grant_signing import SealedGrant, opened
from plans.console_keys import public_key
from plans.models import Grant
from plans.pages.access import visible_plan

TONES = {"used": "approved", "void": "cancelled", "expired": "expired", "open": "awaiting_approval"}


@login_required
@require_GET
def plan_grants(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """List the grants, each checked against its signature now."""
    plan = visible_plan(request, plan_id)
    now = timezone.now()
    rows = plan.grants.select_related("approver")
    lines = [_line(grant, now) for grant in rows]
    return render(request, "plans/grant_list.html", {"plan": plan, "lines": lines})


def _line(grant: Grant, now: Any) -> dict[str, Any]:
    stage = grant.stage(now)
    line: dict[str, Any] = {"grant": grant, "stage": stage, "tone": TONES[stage]}
    try:
        claims = opened(SealedGrant(grant.payload, grant.sig, grant.kid), public_key)
        line |= {"claims": claims, "quorum": claims.quorum.replace("of", " of ")}
    except GrantRefused as refused:
        line["refused"] = refused.sentence
    return line


@login_required
@require_GET
def plan_grants_json(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Hand the grants out as `grant_verify` takes them."""
    plan = visible_plan(request, plan_id)
    grants = [grant.to_json() for grant in plan.grants.all()]
    response = HttpResponse(json.dumps(grants, indent=2), content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="grants-{plan.pk}.json"'
    return response
