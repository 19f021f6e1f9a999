"""The page that shows how good quotes were: per deployer, measured beside quoted."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from batches.quotes.calibration import calibrations
from plans.pages.access import viewer, visible_plans


@login_required
@require_GET
def calibration_page(request: HttpRequest) -> HttpResponse:
    """Show every deployer with the rollbacks of the plans that the person may see."""
    found = calibrations(visible_plans(viewer(request)))
    return render(request, "batches/calibration.html", {"calibrations": found})
