"""Enrolling a first second factor, and proving oneself once more before an act that needs it."""

from typing import Any
from urllib.parse import urlencode

from allauth.mfa.models import Authenticator
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from plans.log_in.bound_step_up import Asked, asked, begin, note
from plans.log_in.factor_gate import SENTENCE
from plans.log_in.forms import StepUpCodeForm, StepUpKeyForm
from plans.log_in.second_factors import CODES, has_factor, must_have_factor
from plans.models import User
from plans.pages import suspended_form
from plans.pages.access import person


@login_required
@require_safe
@never_cache
def enrol(request: HttpRequest) -> HttpResponse:
    """Explain why a second factor is needed and offer the two kinds."""
    user = person(request)
    then = _next(request)
    if has_factor(user):
        return HttpResponseRedirect(then)
    needed = must_have_factor(user, at=timezone.now())
    context = {"needed": needed, "sentence": SENTENCE, "next": then}
    return render(request, "account/enrol.html", context)


@login_required
@require_http_methods(["GET", "POST"])
@never_cache
def step_up(request: HttpRequest) -> HttpResponse:
    """Ask for the second factor; afterwards go on where the person was."""
    user = person(request)
    if not has_factor(user):
        return HttpResponseRedirect(f"{reverse('enrol')}?{urlencode({'next': _next(request)})}")
    now = timezone.now()
    name = request.POST.get("about") or request.GET.get("about") or ""
    question = asked(request, name, now=now)
    posted = _posted_form(request, user, question)
    if posted is not None and posted.is_valid():
        request.step_up_for = question  # type: ignore[attr-defined]
        posted.save()
        if question is not None:
            note(request, question, posted.factor, answer=posted.answer, now=now)
        return _go_on(request)
    kinds = set(Authenticator.objects.filter(user=user).values_list("type", flat=True))
    context: dict[str, Any] = {
        "next": _next(request),
        "waiting": _waiting(request),
        "about": question,
    }
    if kinds & set(CODES):
        is_code = isinstance(posted, StepUpCodeForm)
        context["form"] = posted if is_code else StepUpCodeForm(user=user)
    if Authenticator.Type.WEBAUTHN in kinds:
        is_key = isinstance(posted, StepUpKeyForm)
        context["key_form"] = posted if is_key else StepUpKeyForm(user=user, about=question)
        context["key_options"] = {"request_options": begin(user, question)}
    return render(request, "account/step_up.html", context)


@login_required
@require_safe
@never_cache
def resume(request: HttpRequest) -> HttpResponse:
    """Send the form that waited, as its own request with a token of its own."""
    waiting = _waiting(request)
    if waiting is None:
        return redirect("home")
    if not waiting.shown:
        suspended_form.note_shown(request)
    return render(request, "account/step_up_resume.html", {"waiting": waiting})


def _posted_form(
    request: HttpRequest, user: User, question: Asked | None
) -> StepUpCodeForm | StepUpKeyForm | None:
    if request.method != "POST":
        return None
    if "credential" in request.POST:
        return StepUpKeyForm(user=user, about=question, data=request.POST)
    return StepUpCodeForm(user=user, data=request.POST)


def _go_on(request: HttpRequest) -> HttpResponse:
    waiting = _waiting(request)
    if waiting is not None and not waiting.shown:
        named = urlencode({"form": waiting.name})
        return HttpResponseRedirect(f"{reverse('step-up-resume')}?{named}")
    return HttpResponseRedirect(_next(request))


def _waiting(request: HttpRequest) -> suspended_form.SuspendedForm | None:
    name = request.POST.get("form") or request.GET.get("form") or ""
    return suspended_form.suspended(request, name, now=timezone.now())


def _next(request: HttpRequest) -> str:
    """Return the page that the person came from, if it is one of ours."""
    wanted = request.POST.get("next") or request.GET.get("next") or "/"
    ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if ours else "/"
