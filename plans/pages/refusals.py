"""Turn a refusal that a page's view let through into a message or an error page."""

import logging
from collections.abc import Callable
from urllib.parse import urlencode

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme

from plans.database_away import DATABASE_AWAY
from plans.log_in.bound_step_up import ask
from plans.log_in.step_up import StepUpRequired
from plans.pages.suspended_form import suspend
from plans.refusal import NO_ANSWER, NotAllowed, NotFound, Refused
from plans.trail.refusals import note_refusal

logger = logging.getLogger(__name__)


class RefusalMiddleware:
    """Show the sentence of a `Refused` where the person came from, or as a page of its status."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer for refusals and an absent database; everything else stays an error."""
        if isinstance(error, DATABASE_AWAY):
            logger.error("The database did not answer: %s", error)
            return database_away(request)
        note_refusal(request, error, via="page")
        if not isinstance(error, Refused):
            return None
        if isinstance(error, NotFound):
            raise Http404(error.sentence)
        if isinstance(error, StepUpRequired):
            return _step_up(request, error)
        if isinstance(error, NotAllowed):
            return render(request, "403.html", {"sentence": error.sentence}, status=403)
        messages.error(request, error.sentence)
        return HttpResponseRedirect(_origin(request))


def _origin(request: HttpRequest) -> str:
    """Return the page that the person came from."""
    origin = request.META.get("HTTP_REFERER", "")
    ours = url_has_allowed_host_and_scheme(origin, allowed_hosts={request.get_host()})
    return origin if ours else "/"


def _step_up(request: HttpRequest, error: StepUpRequired) -> HttpResponse:
    """Keep what was posted, ask for the second factor, and come back with it."""
    then = {"next": _origin(request)}
    if error.about is not None:
        then["about"] = ask(request, error.about, now=timezone.now())
    where = f"{reverse('step-up')}?{urlencode(then)}"
    name = suspend(request, now=timezone.now())
    if name:
        where = f"{where}&{urlencode({'form': name})}"
    if request.headers.get("Accept", "").startswith("application/json"):
        told = {"refused": True, "sentence": error.sentence, "code": error.code, "go_to": where}
        return JsonResponse(told, status=error.status)
    if not name:
        messages.info(request, f"{error.sentence} Then do again what you wanted to do.")
    return HttpResponseRedirect(where)


def database_away(request: HttpRequest) -> HttpResponse:
    """Say it to a script as every refusal, to a person as a page that needs no database."""
    if request.headers.get("Accept", "").startswith("application/json"):
        told = {"refused": True, "sentence": NO_ANSWER}
        return JsonResponse(told, status=503, headers={"Retry-After": "1"})
    # Without the request: what a page usually shows of the person is in the database too.
    page = render_to_string("503.html", {"sentence": NO_ANSWER})
    return HttpResponse(page, status=503, headers={"Retry-After": "1"})
