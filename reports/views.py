"""The pages of reports, their download, and the metrics."""

import hmac
import uuid
from ipaddress import ip_address
from pathlib import Path

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET
from prometheus_client import CONTENT_TYPE_LATEST

from plans.models import Plan
from plans.pages.access import asked, person, visible_plan
from plans.people.access_review import access_review, asked_time
from plans.people.permissions import require
from plans.refusal import NotFound, Refused
from plans.trail.client_address import is_of_this_machine
from reports import handing_out, telemetry, verify_trail
from reports.access_pdf import access_pdf
from reports.models import UpgradeReport

PAGE_SIZE = 25
PROXIES_SAY = ("X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "X-Real-IP", "Via")


@login_required
@require_GET
def report_list(request: HttpRequest) -> HttpResponse:
    """List the reports of the plans that the person may see, the newest ending first."""
    asking = person(request)
    require(asking, "view")
    reports = UpgradeReport.objects.visible_to(asking).order_by("-ending", "pk")
    shown = reports.select_related("plan__plugin", "plan__release")
    page = Paginator(shown, PAGE_SIZE).get_page(request.GET.get("page"))
    return render(request, "reports/report_list.html", {"page": page})


@login_required
@require_GET
def latest_report(request: HttpRequest, plan_id: uuid.UUID) -> HttpResponse:
    """Download the report of the plan's last ending, or say why it is not there yet."""
    plan = visible_plan(request, plan_id)
    try:
        report = handing_out.report_of(plan)
        return download(report, plan)
    except Refused as refused:
        context = {"plan": plan, "sentence": refused.sentence, "code": refused.code}
        answer = render(request, "reports/not_ready.html", context, status=refused.status)
        if refused.status == handing_out.InTheMaking.status:
            answer["Retry-After"] = "2"
        return answer


@login_required
@require_GET
def one_report(request: HttpRequest, report_id: uuid.UUID) -> HttpResponse:
    """Download one issued report, also an earlier one of its plan."""
    seen = UpgradeReport.objects.visible_to(person(request))
    report = seen.select_related("plan").filter(pk=report_id).first()
    if report is None or not report.ready:
        raise NotFound("There is no such report.")
    plan = report.plan
    try:
        return download(report, plan)
    except handing_out.NotAsIssued as refused:
        context = {"plan": plan, "sentence": refused.sentence, "code": refused.code}
        return render(request, "reports/not_ready.html", context, status=refused.status)


def download(report: UpgradeReport, plan: Plan) -> HttpResponse:
    """Return the file with its name and digest."""
    answer = HttpResponse(handing_out.content(report), content_type="application/pdf")
    name = handing_out.download_name(report, plan.external_id)
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["ETag"] = f'"{report.sha256}"'
    answer["X-Content-SHA256"] = report.sha256
    answer["Cache-Control"] = "private, no-store"
    return answer


@login_required
@require_GET
def verifier(request: HttpRequest) -> HttpResponse:
    """Hand out the program that checks an export of the trail without this console."""
    answer = HttpResponse(
        Path(verify_trail.__file__).read_bytes(), content_type="text/x-python; charset=utf-8"
    )
    answer["Content-Disposition"] = 'attachment; filename="verify_trail.py"'
    return answer


@login_required
@require_GET
def access_review_pdf(request: HttpRequest) -> HttpResponse:
    """Download who could do what for which tenants, now or on a day."""
    asking, now = person(request), timezone.now()
    require(asking, "review_access")
    review = access_review(asked_time(asked(request, "at"), now=now))
    pdf = access_pdf(review, asked_by=asking.get_full_name(), now=now)
    answer = HttpResponse(pdf, content_type="application/pdf")
    name = f"access-{review.at:%Y%m%dT%H%M%SZ}.pdf"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["Cache-Control"] = "private, no-store"
    return answer


@require_GET
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer the console's own numbers to whoever may scrape them."""
    if refusal := _why_no_scrape(request):
        return HttpResponseForbidden(refusal, content_type="text/plain")
    return HttpResponse(telemetry.exposition(timezone.now()), content_type=CONTENT_TYPE_LATEST)


def _why_no_scrape(request: HttpRequest) -> str:
    """Return why this request gets no numbers, '' when it does.

    Once there is a token, it takes the token. Without one a console that nobody reaches from
    elsewhere answers this machine. Where others reach it, a proxy may stand before it that says
    nothing of itself, and everybody would seem to come from here.
    """
    if token := settings.METRICS_TOKEN:
        given = request.headers.get("Authorization", "")
        right = hmac.compare_digest(given.encode(), f"Bearer {token}".encode())
        return "" if right else "Send the metrics token as 'Authorization: Bearer ...'."
    alone = is_of_this_machine(settings.CONSOLE_URL) and not settings.TRUSTED_PROXIES
    proxied = any(request.headers.get(name) for name in PROXIES_SAY)
    if alone and not proxied and _from_here(request):
        return ""
    return (
        "Nobody is told these numbers until UPGRADECONSOLE_METRICS_TOKEN is set; then send it as"
        " 'Authorization: Bearer ...'."
    )


def _from_here(request: HttpRequest) -> bool:
    try:
        return ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False
