"""The page of the metric sources: which Kpis they tell, and how each is now."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from batches.live.sources_shown import latest_pipeline_events, sources_shown
from batches.sources.breaker import FAILURES
from plans.pages.access import viewer
from plans.refusal import BadInput


@login_required
@require_GET
def source_page(request: HttpRequest) -> HttpResponse:
    """Show every source of the dictionary, or what is wrong with the file."""
    user = viewer(request)
    try:
        shown = sources_shown(timezone.now())
        problems: tuple[str, ...] = ()
    except BadInput as broken:
        shown, problems = [], broken.problems
    told = {
        "sources": shown,
        "problems": problems,
        "news": latest_pipeline_events(user),
        "failures": FAILURES,
    }
    return render(request, "batches/source_list.html", told)
