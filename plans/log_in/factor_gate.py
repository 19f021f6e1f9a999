"""The gate behind the log-in: who may act by their roles, does so with a second factor.

Whoever has none yet is led to enrol one, and can until then look at plans, pause them and roll them
back: taking back needs no approval and no second factor, ever.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from allauth.account.authentication import get_authentication_records
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from plans.log_in.second_factors import has_factor, must_have_factor
from plans.log_in.step_up import GOOD_FOR, is_proof, step_up_of
from plans.models import User

# Logging in and out, enrolling, proving oneself.
ENTRANCES = frozenset(
    {
        *("livez", "account_login", "account_logout", "account_reauthenticate"),
        *("account_change_password", "enrol", "step-up", "step-up-resume", "mfa_index"),
        *("mfa_activate_totp", "mfa_add_webauthn", "mfa_list_webauthn"),
        *("openid_connect_login", "openid_connect_callback", "sso-again", "usersessions_list"),
        "api-me",
    }
)
# What an operator needs to take something back, and to see what.
TAKING_BACK = frozenset(
    {
        *("home", "plan-list", "live-plan", "live-plan-parts", "live-plan-tenants"),
        *("live-plan-events", "live-plan-snapshot", "live-plan-charts"),
        *("live-plan-pause", "live-plan-rollback"),
        *("api-plan-pause", "api-plan-rollback", "api-rollback"),
    }
)
# Pages that change how somebody logs in. A password must not be enough to take a factor away.
FACTOR_PAGES = frozenset(
    {
        *("mfa_activate_totp", "mfa_deactivate_totp", "mfa_add_webauthn", "mfa_remove_webauthn"),
        *("mfa_edit_webauthn", "mfa_view_recovery_codes", "mfa_download_recovery_codes"),
        "mfa_generate_recovery_codes",
    }
)
MACHINE_PATHS = ("/api/", "/internal/", "/otlp/")
SENTENCE = (
    "Your roles need a second factor. Until you have one you can look at plans, pause them and"
    " roll them back."
)


class FactorGateMiddleware:
    """Let through what needs no second factor, and lead everybody else to theirs."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: dict[str, Any]
    ) -> HttpResponse | None:
        """Answer in the view's place where the person has to prove themselves first."""
        user = request.user
        name = request.resolver_match.view_name if request.resolver_match else ""
        if not isinstance(user, User):
            return None
        if name in FACTOR_PAGES:
            # Asked for in any case: also where factors are a choice, one guards the others.
            return _guarded(request, user, now=timezone.now())
        if not settings.REQUIRE_MFA or _used_one(request, user):
            return None
        if has_factor(user):
            return None if _is_open(name, kwargs) else _lead(request, "step-up")
        if not must_have_factor(user, at=timezone.now()):
            return None
        request.must_enrol = True  # type: ignore[attr-defined]
        return None if _is_open(name, kwargs) else _lead(request, "enrol")


def _is_open(name: str, kwargs: dict[str, Any]) -> bool:
    asks_to_roll_back = name == "live-plan-ask" and kwargs.get("act") == "rollback"
    return name in ENTRANCES or name in TAKING_BACK or asks_to_roll_back


def _used_one(request: HttpRequest, user: User) -> bool:
    """Tell whether a second factor was used, or enrolled, in this session, however long ago."""
    records = get_authentication_records(request, user)
    return any(record.get("method") == "mfa" for record in records)


def _guarded(request: HttpRequest, user: User, *, now: datetime) -> HttpResponse | None:
    """Ask for the factor that the person has, or else for the password, before factors change."""
    records = get_authentication_records(request, user)
    if has_factor(user):
        enrolled_now = any(record.get("enrolled") and _is_fresh(record, now) for record in records)
        proven = any(is_proof(record, now=now) for record in records)
        if (proven and step_up_of(request, now=now) is not None) or enrolled_now:
            return None
        return _lead(request, "step-up")
    if any(_is_fresh(record, now) for record in records):
        return None
    if user.has_usable_password():
        return _lead(request, "account_reauthenticate")
    # Single sign-on alone: they log in there once more.
    return _lead(request, "sso-again")


def _is_fresh(record: dict[str, Any], now: datetime) -> bool:
    age: float = now.timestamp() - float(record.get("at", 0))
    return age <= GOOD_FOR.total_seconds()


def _lead(request: HttpRequest, name: str) -> HttpResponse:
    """Send a page's reader there and back again; tell a machine, and who was about to act, why."""
    where = reverse(name)
    if request.path.startswith(MACHINE_PATHS) or _wants_json(request):
        code = "step_up_required" if name == "step-up" else "enrol_factor"
        sentence = "Use your second factor first." if name == "step-up" else SENTENCE
        body = {
            "type": f"/api/docs/#problem-{code}",
            "title": "Forbidden",
            "status": 403,
            "detail": f"{sentence} {settings.CONSOLE_URL}{where}",
            "code": code,
            "errors": [],
            "refused": True,
            "sentence": sentence,
        }
        return JsonResponse(body, status=403, content_type="application/problem+json")
    if request.method not in {"GET", "HEAD"}:
        if name == "enrol":
            context = {"sentence": SENTENCE, "enrol": True}
            return render(request, "403.html", context, status=403)
        # The page on which the form stood; the act itself is asked for again.
        return HttpResponseRedirect(where)
    return HttpResponseRedirect(f"{where}?{urlencode({'next': request.get_full_path()})}")


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept", "").startswith("application/json")
