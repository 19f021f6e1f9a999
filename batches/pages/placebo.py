"""The page of a policy's placebo backtest, and the panel of it beside the policy."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from batches.models import PlaceboRun
from batches.placebo.beside import Beside, beside_evidence
from batches.placebo.runs import (
    MOST_ROLLOUTS,
    USUAL_ROLLOUTS,
    ask_placebo,
    may_measure,
    newest_placebo,
)
from plans.drafting.drafting import latest_policy
from plans.models import Policy
from plans.pages.access import asked, person, viewer
from plans.policies.policy_yaml import parse_policy_file
from plans.refusal import BadInput, NotFound, Refused

RUNS_SHOWN = 20


def _policy(name: str, digest: str = "") -> Policy:
    texts = Policy.objects.filter(name=name, digest=digest)
    row = texts.first() if digest else latest_policy(name)
    if row is None:
        raise NotFound("There is no such policy.")
    return row


def _beside(row: Policy) -> Beside | None:
    policy = parse_policy_file(row.text).policies[row.name]
    return beside_evidence(policy, name=row.name, digest=row.digest)


@login_required
@require_http_methods(["GET", "POST"])
def placebo_page(request: HttpRequest, name: str) -> HttpResponse:
    """Show how often the policy would roll back with nothing released; have it measured."""
    user = viewer(request)
    row = _policy(name)
    if request.method == "POST":
        _measure(request, name)
        return redirect("policy-placebo", name)
    runs = PlaceboRun.objects.filter(policy__name=name).select_related("policy", "by")
    context: dict[str, Any] = {
        "row": row,
        "newest": newest_placebo(row),
        "beside": _beside(row),
        "runs": runs.order_by("-at", "-pk")[:RUNS_SHOWN],
        "may_measure": may_measure(user),
        "rollouts": USUAL_ROLLOUTS,
        "most": MOST_ROLLOUTS,
    }
    return render(request, "batches/placebo.html", context)


def _measure(request: HttpRequest, name: str) -> None:
    written = request.POST.get("rollouts", "")
    rollouts = int(written) if written.isascii() and written.isdecimal() else 0
    try:
        ask_placebo(policy=name, rollouts=rollouts, by=person(request), now=timezone.now())
    except BadInput as bad:
        messages.error(request, "; ".join(bad.problems))
    except NotFound:
        raise
    except Refused as refused:
        if refused.status == 403:
            raise
        messages.error(request, refused.sentence)
    else:
        messages.success(
            request, "It is being measured, in two minutes at most; load this page again then."
        )


@login_required
@require_GET
def placebo_panel(request: HttpRequest, name: str) -> HttpResponse:
    """Render the newest backtest of one text of the policy."""
    viewer(request)
    row = _policy(name, asked(request, "digest"))
    context = {"row": row, "run": newest_placebo(row), "beside": _beside(row)}
    return render(request, "batches/_placebo.html", context)
